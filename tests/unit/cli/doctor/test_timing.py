"""Checks end in time, and latencies are what was measured."""

from __future__ import annotations

import asyncio

from gateway.cli.doctor.timing import limited, measured, overdue
from gateway.resilience.diagnosis import Diagnosis, Grade

LATE = overdue("redis", "latency", "redis:6379", 0.02)
FINE = Diagnosis("redis", "latency", "redis:6379", Grade.OK, "1 ms")


async def test_a_check_that_hangs_is_wrong_when_its_time_is_up() -> None:
    async def hang() -> list[Diagnosis]:
        await asyncio.Event().wait()
        return []

    assert await limited(hang(), LATE, 0.02) == [LATE]
    assert LATE.grade is Grade.WRONG
    assert "0.02 s" in LATE.found


async def test_a_check_that_ends_says_what_it_found() -> None:
    async def look() -> list[Diagnosis]:
        return [FINE]

    assert await limited(look(), LATE, 5) == [FINE]


async def test_a_few_slow_answers_show_in_the_high_percentile_only() -> None:
    count = 0

    async def ask() -> None:
        nonlocal count
        count += 1
        await asyncio.sleep(0.1 if count == 3 else 0)

    latency = await measured(ask, times=50, seconds=5)
    assert (count, latency.asked) == (50, 50)
    assert latency.high >= 0.09
    assert latency.median < 0.05
    assert "of 50" in str(latency)


async def test_measuring_ends_in_time_and_asks_once_at_least() -> None:
    latency = await measured(lambda: asyncio.sleep(0.01), times=50, seconds=0)
    assert latency.asked == 1
    assert latency.median == latency.high >= 0.009
