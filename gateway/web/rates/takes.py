"""What was taken within a recent while: when, and how much."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

PIECES: Final = 64
"""Takes of one window that are told apart. Where more are allowed, those within a 64th of the span count as one, as
late as the last of them: a window is never thought emptier than it is, and memory is bounded.
"""


class Takes:
    """Takes of the last `span` seconds. `now` never falls from call to call."""

    __slots__ = ("_began", "_grain", "_pieces", "_span", "_sum")

    def __init__(self, span: float, *, grain: float = 0.0) -> None:
        """Both in seconds; takes within `grain` of each other may count as one."""
        self._span = span
        self._grain = grain
        self._pieces: deque[tuple[float, int]] = deque()
        """(when the last of them was, how many)."""
        self._sum = 0
        self._began = 0.0
        """When the first of the latest piece was."""

    @staticmethod
    def grain(span: float, most: int) -> float:
        """How finely takes have to be told apart where `most` of them are allowed."""
        return span / PIECES if most > PIECES else 0.0

    def add(self, now: float, count: int = 1) -> None:
        """Take `count` now."""
        self._sum += count
        if self._pieces and now - self._began < self._grain:
            self._pieces[-1] = (now, self._pieces[-1][1] + count)
        else:
            self._pieces.append((now, count))
            self._began = now

    def used(self, now: float) -> int:
        """How much was taken within the span that ends now."""
        while self._pieces and now - self._pieces[0][0] >= self._span:
            self._sum -= self._pieces.popleft()[1]
        return self._sum

    def ages(self, now: float) -> list[int]:
        """How many ms ago what was taken, and how much, and so on; never older than it is."""
        self.used(now)
        return [number for at, count in self._pieces for number in (int((now - at) * 1000), count)]

    def replace(self, ages: Sequence[int], now: float) -> None:
        """Become what `ages` says, as far as it is within the span."""
        found = sorted((now - age / 1000, count) for age, count in zip(ages[::2], ages[1::2], strict=True))
        self._pieces = deque(found)
        self._sum = sum(count for _, count in found)
        self._began = found[-1][0] if found else 0.0

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """The pieces, the oldest first."""
        return iter(self._pieces)
