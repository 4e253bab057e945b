"""One line of progress: rewritten in place on a terminal, printed now and then where the output goes to a file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

Line = Callable[[str], None]
"""Takes what is being done now; short, without a line end."""


def silent(text: str) -> None:
    """For callers that show nothing."""


class Progress:
    """A `Line` on a stream. `done` leaves a last word standing."""

    def __init__(self, stream: TextIO = sys.stderr, *, every: float = 10.0) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._every = every
        self._next = 0.0

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.1 if self._live else self._every)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text[:width]}")
        else:
            self._stream.write(f"  {text}\n")
        self._stream.flush()

    def done(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._stream.flush()
        self._next = 0.0
