"""Limits of time for checks, and how long a question takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.resilience.diagnosis import Diagnosis, Grade


async def limited(
    examination: Awaitable[Sequence[Diagnosis]], late: Diagnosis, seconds: float
) -> list[Diagnosis]:
    """What the examination found; `late` where it did not end in time."""
    try:
        async with asyncio.timeout(seconds):
            return list(await examination)
    except TimeoutError:
        return [late]


def overdue(part: str, check: str, where: str, seconds: float) -> Diagnosis:
    """What to say of a check that took too long."""
    remedy = "see whether it hangs, and whether the network drops packets"
    return Diagnosis(part, check, where, Grade.WRONG, f"no result within {seconds:g} s", remedy)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long questions took, in seconds."""

    asked: int
    median: float
    high: float
    """The 99th percentile: of fewer than a hundred the slowest one."""

    def __str__(self) -> str:
        return f"p50 {1000 * self.median:.1f} ms, p99 {1000 * self.high:.1f} ms of {self.asked}"


async def measured(ask: Callable[[], Awaitable[object]], *, times: int, seconds: float) -> Latency:
    """Ask so many times, one after the other, or as often as fits in `seconds`; at least once. Raises what `ask`
    raises.
    """
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < times:
        start = time.perf_counter()
        await ask()
        end = time.perf_counter()
        taken.append(end - start)
        if end - began >= seconds:
            break
    taken.sort()
    return Latency(len(taken), taken[len(taken) // 2], taken[min(len(taken) - 1, int(0.99 * len(taken)))])
