from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.loop_lag import RecentMaximum, watch_loop


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 100)), min_size=1))
def test_the_maximum_is_that_of_the_samples_within_the_span(steps: list[tuple[float, float]]) -> None:
    recent = RecentMaximum(10.0)
    now, taken = 0.0, []
    for step, value in steps:
        now += step
        taken.append((now, value))
        assert recent.add(now, value) == max(value for time, value in taken if time >= now - 10.0)


async def test_a_sleep_that_ends_late_is_reported_until_the_span_is_over() -> None:
    now = 0.0
    late = iter([0.0, 0.75, 0.0, 0.0])
    reports: list[float] = []

    async def sleep(delay: float) -> None:
        nonlocal now
        try:
            now += delay + next(late)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await watch_loop(reports.append, interval=1.0, span=1.5, clock=lambda: now, sleep=sleep)
    assert reports == [0.0, 0.75, 0.75, 0.0]
