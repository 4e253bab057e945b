"""Which tokens do not count any more: in memory, in Redis, and in a file of this gateway's.

Redis carries a revocation to every replica; memory and the file hold it when Redis is lost. The three are merged every
two seconds, and each gets what another one has, until the token would have expired anyhow. Nothing is taken from a
list because another one does not have it: who loses Redis loses no revocation.

Before a list could be read once, from Redis or the file, no token counts. An entry that cannot be read stands for its
token, for good; a line of the file that does not even tell which token it means puts all of them in doubt, so none
counts until it is mended.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import GatewayError, StoreError
from gateway.telemetry.metrics import Metrics
from gateway.web.auth.files import Version, version
from gateway.web.ports import TokenRegister

log = structlog.get_logger(__name__)

PAUSE: Final = 2.0
"""Seconds between two looks: a revocation counts everywhere within five."""
HEAD: Final = (
    "# revoked tokens: id, expiry and time of the revocation in seconds since 1970; kept by the gateway\n"
)

ISSUED: Final = re.compile(r"(\d{1,12}) (\d{1,12}) (.+)")
"""The text of an issued token: expiry, time of issue, name."""
_ENTRY: Final = re.compile(r"(\d{1,12}) (\d{1,12})(?: .*)?")
_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")

Entries = dict[str, str]
"""Id → `<expiry> <time of the revocation>`, as it stands in Redis and in the file; unreadable ones as they are."""


class Standing(Enum):
    """What the list says of a token."""

    CLEAR = auto()
    REVOKED = auto()
    UNKNOWN = auto()


class UnreadableListError(GatewayError):
    """A file of revocations has a line that names no token."""


class Revocations:
    """The list, as this process knows it."""

    def __init__(
        self,
        path: Path,
        register: TokenRegister,
        metrics: Metrics,
        *,
        wall: Callable[[], float] = time.time,
        pause: float = PAUSE,
    ) -> None:
        """`wall` is the time of the world, in seconds; `pause` in seconds."""
        self._path = path
        self._register = register
        self._wall = wall
        self._pause = pause
        self._generations = metrics.token_generations
        self._began = wall()
        self._entries: Entries = {}
        self._read = False
        self._seen: Version | None = None
        self._in_file: Entries | None = None
        """What stands in the file, None where there is none."""
        self._faults: dict[str, str] = {}
        self._generated: set[str] = set()

    def standing(self, ids: Iterable[str]) -> Standing:
        """What is known of a token that may be revoked under these ids."""
        if not self._read or "unreadable" in self._faults:
            return Standing.UNKNOWN
        for one in ids:
            if one in self._entries:
                return Standing.REVOKED
        return Standing.CLEAR

    def warnings(self) -> Sequence[str]:
        """What is wrong with the list now."""
        lines = list(self._faults.values())
        if not self._read:
            lines.append("no list of revoked tokens could be read yet, so no jwt is accepted")
        return lines

    async def run(self) -> None:
        """Keep the list, in memory, in Redis and in the file."""
        while True:
            await self.merge()
            await asyncio.sleep(self._pause)

    async def merge(self) -> None:
        """Bring the three together, as far as each can be reached."""
        await asyncio.to_thread(self._read_file)
        await self._merge_redis()
        current = self._current(self._entries)
        self._entries = current
        if self._read and self._in_file != current and "unreadable" not in self._faults:
            await asyncio.to_thread(self._write_file, current)

    def _read_file(self) -> None:
        try:
            found = version(self._path)
            if found == self._seen:
                return
            entries = read_entries(self._path.read_text("utf-8", "replace"))
        except FileNotFoundError:
            self._seen = self._in_file = None
            self._faults.pop("unreadable", None)
            return
        except OSError as error:
            self._fault("unreadable", f"{self._path} cannot be read: {error.strerror}")
            return
        except UnreadableListError as error:
            self._fault("unreadable", f"no jwt is accepted: {self._path}: {error}")
            return
        self._faults.pop("unreadable", None)
        self._seen, self._in_file = found, entries
        merge_into(self._entries, entries)
        self._read = True

    async def _merge_redis(self) -> None:
        try:
            stored = await self._register.revoked()
            merge_into(self._entries, stored)
            self._read = True
            missing = {one: text for one, text in self._current(self._entries).items() if one not in stored}
            if missing:
                await self._register.revoke(
                    missing, until=max(_until(text, self._wall()) for text in missing.values())
                )
            await self._count_issued(stored)
        except StoreError as error:
            # Memory and the file go on; what is revoked meanwhile somewhere else comes with Redis's return.
            self._fault("redis", f"revoked tokens cannot be read from Redis: {error}")
        else:
            self._faults.pop("redis", None)

    async def _count_issued(self, revoked: Mapping[str, str]) -> None:
        """Count tokens that were issued since this process began: the command that issues one has no metrics. What has
        expired is taken out of Redis, too.
        """
        issued = await self._register.issued()
        for one, text in issued.items():
            made_at = ISSUED.match(text)
            if one not in self._generated and made_at and int(made_at[2]) >= int(self._began):
                self._generations.inc()
                self._generated.add(one)
        self._generated &= issued.keys()
        over = (revoked.keys() - self._current(revoked)) | (issued.keys() - self._current(issued))
        await self._register.forget(sorted(over))

    def _current(self, entries: Mapping[str, str]) -> Entries:
        """The entries whose token could still be shown; an hour more, for clocks that differ."""
        now = self._wall() - 3600
        return {one: text for one, text in entries.items() if _until(text, self._wall()) > now}

    def _write_file(self, entries: Mapping[str, str]) -> None:
        try:
            self._in_file = add_to_file(self._path, entries, keep=self._current)
            merge_into(self._entries, self._in_file)  # somebody may have added to it since it was read
            self._seen = version(self._path)
        except (OSError, UnreadableListError) as error:
            self._fault("unwritable", f"revoked tokens cannot be kept in {self._path}: {error}")
        else:
            self._faults.pop("unwritable", None)

    def _fault(self, kind: str, text: str) -> None:
        if kind not in self._faults:
            log.warning("list of revoked tokens", fault=kind, detail=text)
        self._faults[kind] = text


def entry(expires: float, now: float) -> str:
    """The text of an entry: until when the token would count, and since when it does not. Also of an issued token."""
    return f"{int(expires)} {int(now)}"


def read_entries(text: str) -> Entries:
    """The entries of a file. Raises `UnreadableListError` where a line does not tell which token it means."""
    entries: Entries = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        one, _, rest = line.partition(" ")
        if _ID.fullmatch(one) is None:
            raise UnreadableListError(f"line {number} names no token")
        merge_into(entries, {one: rest.strip()})
    return entries


def merge_into(entries: Entries, others: Mapping[str, str]) -> None:
    """Add what the others have; of two texts for one token the one that holds longer stays."""
    for one, text in others.items():
        known = entries.get(one)
        if known is None or _until(known, 0) < _until(text, 0):
            entries[one] = text


def add_to_file(
    path: Path, entries: Mapping[str, str], *, keep: Callable[[Mapping[str, str]], Entries] = dict
) -> Entries:
    """Merge entries into a file that others write, too, and return all of it; what `keep` leaves out goes.

    The file is replaced as a whole, and on disk when this returns. Raises `OSError` and `UnreadableListError`.
    """
    with _locked(path):
        try:
            merged = read_entries(path.read_text("utf-8", "replace"))
        except FileNotFoundError:
            merged = {}
        merge_into(merged, entries)
        merged = keep(merged)
        fresh = path.with_name(f"{path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(HEAD + "".join(f"{one} {text}\n" for one, text in sorted(merged.items())))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return merged


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _until(text: str, now: float) -> float:
    """When the token of an entry expires; one that cannot be read holds on and on."""
    found = _ENTRY.fullmatch(text)
    return float(found[1]) if found else now + 10 * 365 * 86_400.0
