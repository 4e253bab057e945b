"""Whether the event loop keeps up: how late a task wakes that asked to sleep for a known time.

A loop that is late answers late, and makes healthy dependencies look slow. What is told is the worst delay of
a recent while rather than the last one, so that a scrape every 15 seconds does not miss a short stall.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class RecentMaximum:
    """The largest of the samples taken within the last `span` seconds, at a constant cost each."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._falling: deque[tuple[float, float]] = deque()
        """(time, value): a sample stays until a later one is as large, so the first is the maximum."""

    def add(self, now: float, value: float) -> float:
        """Take a sample; the maximum with it."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        while self._falling[0][0] < now - self._span:
            self._falling.popleft()
        return self._falling[0][1]


async def watch_loop(
    report: Callable[[float], object],
    *,
    interval: float = 0.25,
    span: float = 15.0,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Measure for ever: every `interval` seconds `report` the longest delay of the last `span` seconds.

    `clock` is monotonic, in seconds, and finer than a millisecond (`time.perf_counter`).
    """
    recent = RecentMaximum(span)
    while True:
        before = clock()
        await sleep(interval)
        now = clock()
        report(recent.add(now, max(0.0, now - before - interval)))
