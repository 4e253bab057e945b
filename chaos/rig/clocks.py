"""A clock that a test turns by hand."""

from __future__ import annotations


class Clock:
    """Seconds that pass only when `now` is set."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
