"""Asking in the background how a dependency is: while its breaker is closed at a fixed interval or not at all, while
it is open as often as its policy says.

Each dependency has one such task, so that however many calls fail at once, one probe at a time is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from gateway.resilience.breakers import Breaker, Outcome

IDLE: Final = 0.25
"""Seconds between looks at a closed breaker that is not asked about."""


class Finding(NamedTuple):
    """What a probe found."""

    outcome: Outcome
    reason: str = ""
    """Why it failed, for people."""
    wait: float = 0.0
    """Seconds for which the dependency asks to be left alone."""


async def keep_probing(
    breaker: Breaker,
    probe: Callable[[], Awaitable[Finding]],
    *,
    interval: float | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Probe for ever. `probe` is bounded in time, and raises nothing that it expects.

    With an `interval` in seconds a closed breaker is fed, too, so that it notices an outage that nobody's calls meet.
    """
    while True:
        if not breaker.closed:
            wait = breaker.retry_after()
            if wait > 0:
                await sleep(wait)
            else:
                with breaker.probing() as under_way:
                    under_way.outcome, under_way.reason, under_way.wait = await probe()
        elif interval is None:
            await sleep(IDLE)
        else:
            breaker.record(*await probe())
            await sleep(interval)
