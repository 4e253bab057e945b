"""Programs out of Debian's packages: one file unpacked into the cache, or a package installed with all it needs.

Debian keeps one version of a package at a time, so none is pinned: the folder in the cache names the version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.rig import progress
from chaos.rig.caching import BuildFailed, cache_folder, digest, last_lines, locked


@dataclass(frozen=True)
class DebianMember:
    """A file out of a package, which needs no installation and no root, but a Debian with package lists."""

    package: str
    member: str
    """Its path in the package; a pattern where the path has the name of the architecture in it."""

    @property
    def key(self) -> str:
        return digest("debian", self.package, self.member)

    def make(self, target: Path, say: progress.Line) -> str:
        """Downloads and unpacks the package and takes the file; returns the package's version."""
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise BuildFailed("it comes from a Debian package, and there is no apt-get here")
        with tempfile.TemporaryDirectory() as folder:
            # Root downloads as root: apt's own user may not write to the folder.
            download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", self.package]
            _with_fresh_lists(download, say, self.package, cwd=Path(folder))
            (archive,) = Path(folder).glob("*.deb")
            said = subprocess.run(
                ["dpkg-deb", "--field", archive, "Version"], capture_output=True, text=True, check=False
            )
            _run(["dpkg-deb", "--extract", str(archive), f"{folder}/content"], say, self.package)
            found = list(Path(folder, "content").glob(self.member))
            if said.returncode != 0 or len(found) != 1:
                raise BuildFailed(f"{archive.name} has not one {self.member}, but {len(found)}")
            shutil.copyfile(found[0], target)
        target.chmod(0o755)
        return said.stdout.strip()


def install(packages: Sequence[str], say: progress.Line) -> None:
    """Installs packages with what they depend on, which only root may; raises `BuildFailed`."""
    names = " ".join(packages)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        raise BuildFailed(f"it comes with Debian's {names}, and there is no apt-get here")
    if os.geteuid() != 0:
        raise BuildFailed(f"only root may install it: sudo {' '.join(command)}")
    _with_fresh_lists(command, say, names)


def _with_fresh_lists(command: list[str], say: progress.Line, name: str, *, cwd: Path | None = None) -> None:
    """Runs apt, and again after an update of its lists: a fresh machine has none, and old ones name what is gone."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    # apt lets only one at a time have its lists, and fails the other.
    with locked(folder / "apt.lock", lambda: say(f"{name}: another run is using apt")):
        try:
            _run(command, say, name, cwd=cwd)
        except BuildFailed:
            _run(["apt-get", "update"], say, name)
            _run(command, say, name, cwd=cwd)


def _run(command: list[str], say: progress.Line, name: str, *, cwd: Path | None = None) -> None:
    started = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line.strip())
            # A line of apt's names where it downloads from, which is no news to anybody.
            doing = re.sub(r"\w+://\S+ ", "", lines[-1])
            say(f"{name}: {time.monotonic() - started:.0f} s, {doing}")
    if child.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:2])} failed: {last_lines(lines)}")
