"""What fails at Redis, as lines of the log that a grep finds: `redis timeout`, `redis oom`.

A Redis that is away fails hundreds of calls a second. The first failure of a kind is told at once, those that follow
within `INTERVAL` are counted, and the next line of the kind says how many there were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

INTERVAL: Final = 10.0
"""Seconds between two lines of one kind."""


class FailureLog:
    """Tells of failed calls by their kind (`answers.KINDS`)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def failed(self, kind: str) -> None:
        """A call failed."""
        now = self._clock()
        calls = self._untold.get(kind, 0) + 1
        if kind in self._told and now < self._told[kind] + INTERVAL:
            self._untold[kind] = calls
            return
        self._told[kind] = now
        self._untold[kind] = 0
        log.warning("redis %s", kind, calls=calls)
