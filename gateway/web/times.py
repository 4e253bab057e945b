"""The time of receipt, as the whole gateway writes times: UTC, fixed width, nanoseconds."""

from __future__ import annotations

import time
from collections.abc import Callable


class Stamp:
    """The current time as `2026-01-31T09:00:00.000000000Z`; the calendar is computed once a second."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`clock_ns` is the wall clock, nanoseconds since 1970."""
        self._clock_ns = clock_ns
        self._second = -1
        self._prefix = ""

    def __call__(self) -> str:
        second, nanoseconds = divmod(self._clock_ns(), 1_000_000_000)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{nanoseconds:09d}Z"
