"""A wall clock that steps under running processes, by libfaketime: what NTP, a migration or a typing error does.

Only the wall clock: the monotonic one runs on, as it does when a real clock is set.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from chaos.rig import tools

_SHARED = Path("/dev/shm")


class FakeClock:
    """The clock of all processes that are started with `env`, right until it is stepped.

    Programs that bring their own malloc may hang with it before they begin: Debian's Redis does, that of the wheel
    does not. Static ones, as Go makes them, do not notice it. In a Python process all waits are right, of threads and
    of event loops, but `time.sleep` fails: libfaketime 0.9.10 counts on a monotonic clock that it fakes.
    """

    def __init__(self, folder: Path) -> None:
        """Raises `ToolMissing`."""
        self._file = folder / "faketime"
        self._library = tools.find("libfaketime")
        self.offset = 0.0
        """How far it is ahead of the real one, in seconds."""
        self._write()

    @property
    def env(self) -> Mapping[str, str]:
        """What a process needs in its environment, beside its own."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # Every look at the clock reads the file: a step is there at once, in all processes.
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # The times of files are not the clock's business.
            "NO_FAKE_STAT": "1",
            # Heeded from 0.9.11 on; what older ones leave behind, `sweep` removes.
            "FAKETIME_DISABLE_SHM": "1",
        }

    def step(self, seconds: float) -> None:
        """Sets the clock forward, or back for a negative number."""
        self.offset += seconds
        self._write()

    def reset(self) -> None:
        """Sets it right again."""
        self.step(-self.offset)

    def _write(self) -> None:
        # In one move: whoever reads half a number has another time.
        unfinished = self._file.with_suffix(".unfinished")
        unfinished.write_text(f"{self.offset:+.6f}\n")
        unfinished.replace(self._file)


def sweep() -> None:
    """Removes what libfaketime left in shared memory for processes that were killed, of whatever test run."""
    for path in _SHARED.glob("*faketime_s*_*"):
        owner = re.search(r"faketime_(?:shm|sem)_(\d+)$", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            with contextlib.suppress(OSError):
                path.unlink()
