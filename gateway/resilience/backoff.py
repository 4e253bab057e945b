"""How long to wait before the next attempt.

The wait generators are those of the `backoff` package; its decorators are not used, because the state of a
retry belongs to the work queue, where it survives the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import backoff


def expo(first: float, longest: float, *, jitter: bool = False) -> Iterator[float]:
    """Delays in seconds without end: `first`, doubled each time, never above `longest`.

    With `jitter` each is drawn evenly from 0 to that value ("full jitter"), so that many clients that failed
    together do not come back together.
    """
    waits = backoff.expo(base=2, factor=first, max_value=longest)
    next(waits)  # the generator's first value only starts it
    for wait in waits:
        yield backoff.full_jitter(wait) if jitter else float(wait)


RETRY_DELAYS: Final = tuple(islice(expo(1.0, 16.0), 5))
"""Seconds before a write to Kubernetes is tried again after 429 or 5xx; the last one is for ever."""

CONFLICT_DELAYS: Final = tuple(islice(expo(0.1, 0.4), 3))
"""Seconds before an update is computed again after a conflict; then the work queue takes over."""


def retry_delay(attempt: int, *, retry_after: float | None = None) -> float:
    """Seconds to wait after the failed attempt number `attempt` (1 is the first).

    What the server asked for (`Retry-After`, in seconds) has precedence, up to five minutes.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.0), 300.0)
    return RETRY_DELAYS[min(max(attempt, 1), len(RETRY_DELAYS)) - 1]


def conflict_delay(conflicts: int, now: float, *, patient: bool) -> float | None:
    """Seconds before a write that met so many conflicts before is tried again; None where it has to be left.

    A `patient` caller has no queue to come back from: it goes on for as long as it has time, at moments that differ
    between writers, so that two of them do not meet again and again. (`now` is any clock in seconds; its digits stand
    for chance, so that a simulation can repeat it.)
    """
    if conflicts < len(CONFLICT_DELAYS):
        return CONFLICT_DELAYS[conflicts]
    if not patient:
        return None
    return CONFLICT_DELAYS[-1] * (0.1 + 0.9 * (now * 1009.0 % 1.0))
