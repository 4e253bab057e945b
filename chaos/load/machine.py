"""What this machine and its programs are, and what a process has used: for figures that mean something elsewhere."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def described(shared: str) -> dict[str, Any]:
    """The machine; `shared` says what runs on its cores beside the gateways."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _found(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo")) or platform.machine(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * _PAGE,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "locust": version("locust"),
        "load_average_before": round(os.getloadavg()[0], 2),
        "shared": shared,
    }


def commit() -> tuple[str, bool]:
    """The commit that this tree is at, empty where there is none, and whether something was changed since."""
    head = _git("rev-parse", "--short", "HEAD")
    return head, bool(_git("status", "--porcelain", "--untracked-files=no"))


def used(pid: int) -> dict[str, Any] | None:
    """CPU time, memory, files and threads of a process; None where it is none any more."""
    folder = Path("/proc") / str(pid)
    try:
        # The second field is the name, in parentheses, and may hold anything.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        return {
            "cpu_seconds": (int(fields[11]) + int(fields[12])) / _TICKS,
            "rss_bytes": int(fields[21]) * _PAGE,
            "fds": sum(1 for _ in (folder / "fd").iterdir()),
            "threads": int(fields[17]),
        }
    except OSError:
        return None


def _git(*arguments: str) -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    return ""


def _found(pattern: str, path: Path) -> str:
    with suppress(OSError):
        match = re.search(pattern, path.read_text(encoding="utf-8"))
        return match[1].strip() if match else ""
    return ""
