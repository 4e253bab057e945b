"""Where made programs are kept, and that each is made once: by one of several runs, while the others wait."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from chaos.rig import progress


class BuildFailed(Exception):
    """A program could not be made; the message has the end of what the builder said."""


class Recipe(Protocol):
    """How one file is made.

    A change of whatever decides the result is another key, so that an old file is never taken for a new one.
    """

    @property
    def key(self) -> str:
        """A digest of all that decides what comes out, so far as it is known before."""

    def make(self, target: Path, say: progress.Line) -> str:
        """Makes the file. Returns its version where that is known only now, else nothing.

        Raises `BuildFailed` or `OSError`.
        """


def cache_folder() -> Path:
    """Where built programs are kept: outside the tree, shared by all checkouts of one user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "alert-gateway" / "tools"


def cached(name: str, recipe: Recipe) -> Path | None:
    """Where the program is if it was made, of several versions the one made last."""
    folder = _folder(name, recipe)
    made = [folder / name, *folder.parent.glob(f"{folder.name}-*/{name}")]
    return max((path for path in made if path.exists()), key=lambda path: path.stat().st_mtime, default=None)


def make(name: str, recipe: Recipe, say: progress.Line) -> Path:
    """Makes the program unless it is there, and returns where. Of several at once, one builds, the others wait.

    Raises `BuildFailed`.
    """
    if found := cached(name, recipe):
        return found
    folder = _folder(name, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", lambda: say(f"{name}: another run is making it")):
        if found := cached(name, recipe):
            return found
        unfinished = folder / f"{name}.unfinished" / name
        unfinished.parent.mkdir(exist_ok=True)
        try:
            version = recipe.make(unfinished, say)
            place = folder.with_name(f"{folder.name}-{_as_name(version)}") if version else folder
            place.mkdir(exist_ok=True)
            return unfinished.rename(place / name)
        except OSError as error:
            raise BuildFailed(f"{name}: {error}") from error
        finally:
            shutil.rmtree(unfinished.parent, ignore_errors=True)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock on a file; calls `waiting` if another process has it and waits."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*parts: str | bytes) -> str:
    """One of the parts and of the kind of this machine."""
    whole = hashlib.sha256(f"{platform.system()}-{platform.machine()}".encode())
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def last_lines(lines: Sequence[str]) -> str:
    """The end of what a builder said, on one line."""
    return " / ".join(line for line in lines[-5:] if line)


def _folder(name: str, recipe: Recipe) -> Path:
    return cache_folder() / f"{name}-{recipe.key[:16]}"


def _as_name(version: str) -> str:
    """A version as part of a path: no `:`, at which LD_PRELOAD would cut it."""
    return re.sub(r"[^\w.+~-]", "_", version)
