"""How many calls of a recent while failed, at a constant cost each, however many there are."""

from __future__ import annotations

from collections import deque
from typing import Final

PIECES: Final = 20
"""A call is forgotten when it is as old as the window, or up to a twentieth of that earlier."""


class SlidingWindow:
    """Counts calls and failures of the last `span` seconds."""

    def __init__(self, span: float) -> None:
        """`span` in seconds."""
        self._span = span
        self._pieces: deque[list[float]] = deque()
        """[begin, calls, failures] each."""
        self._calls = 0
        self._failures = 0

    def add(self, now: float, *, failed: bool) -> None:
        """Count one call that ended at `now`, which never falls."""
        self._forget(now)
        if not self._pieces or now - self._pieces[-1][0] >= self._span / PIECES:
            self._pieces.append([now, 0, 0])
        piece = self._pieces[-1]
        piece[1] += 1
        piece[2] += failed
        self._calls += 1
        self._failures += failed

    def counts(self, now: float) -> tuple[int, int]:
        """Calls and failures of the last `span` seconds."""
        self._forget(now)
        return self._calls, self._failures

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self._calls = self._failures = 0

    def _forget(self, now: float) -> None:
        while self._pieces and self._pieces[0][0] <= now - self._span:
            _, calls, failures = self._pieces.popleft()
            self._calls -= int(calls)
            self._failures -= int(failures)
