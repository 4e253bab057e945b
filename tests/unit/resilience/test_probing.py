"""Probes go on in the background: at an interval while all is well, as often as the policy says while it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.resilience.breakers import Breaker, Outcome, Policy, State
from gateway.resilience.probing import Finding, keep_probing

POLICY = Policy(failure_rate=0.5, window=10.0, min_calls=4, open_for=2.0, proofs=2, proof_pause=0.1)
WELL, BROKEN = Finding(Outcome.SUCCESS), Finding(Outcome.FAILURE, "broken")


class Time:
    """A clock that moves only by sleeping, until it is `over`."""

    def __init__(self, over: float) -> None:
        self.now = 0.0
        self._over = over

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.now > self._over:
            raise asyncio.CancelledError


async def probes(
    time: Time, breaker: Breaker, findings: Sequence[Finding], *, interval: float | None
) -> list[float]:
    """When each probe was made; the last finding goes on for ever."""
    at: list[float] = []

    async def probe() -> Finding:
        at.append(round(time.now, 3))
        return findings[min(len(at), len(findings)) - 1]

    with pytest.raises(asyncio.CancelledError):
        await keep_probing(breaker, probe, interval=interval, sleep=time.sleep)
    return at


async def test_an_open_breaker_is_probed_after_its_time_and_closed_by_its_proofs() -> None:
    time = Time(over=20)
    breaker = Breaker("some", POLICY, clock=time)
    for _ in range(4):
        breaker.record(Outcome.FAILURE)
    at = await probes(time, breaker, [BROKEN, WELL, BROKEN, WELL], interval=None)
    assert at == [2.0, 4.0, 4.1, 6.1, 6.2]
    assert breaker.closed


async def test_a_closed_one_is_left_alone_without_an_interval() -> None:
    time = Time(over=5)
    assert await probes(time, Breaker("some", POLICY, clock=time), [WELL], interval=None) == []


async def test_with_an_interval_an_outage_is_found_where_nobody_calls() -> None:
    time = Time(over=4)
    breaker = Breaker("some", POLICY, clock=time)
    at = await probes(time, breaker, [WELL, BROKEN], interval=0.5)
    assert at == [0.0, 0.5, 1.0, 1.5, 3.5]
    assert breaker.state is State.OPEN
    assert breaker.reason == "broken"


async def test_who_asks_to_be_left_alone_is_asked_ever_more_rarely() -> None:
    time = Time(over=100)
    breaker = Breaker("some", replace(POLICY, throttled=2, open_for=5.0), clock=time)
    for _ in range(2):
        breaker.record(Outcome.THROTTLED)
    busy = Finding(Outcome.THROTTLED, "429")

    assert await probes(time, breaker, [busy], interval=None) == [
        5.0,
        12.5,
        *(22.5 + 10 * n for n in range(8)),
    ]


async def test_who_says_for_how_long_is_left_alone_for_ten_seconds_at_most() -> None:
    time = Time(over=60)
    breaker = Breaker("some", replace(POLICY, throttled=2, open_for=5.0), clock=time)
    for _ in range(2):
        breaker.record(Outcome.THROTTLED, "429", 10.0)
    found = [Finding(Outcome.THROTTLED, "429", wait) for wait in (10.0, 300.0)]

    at = await probes(time, breaker, [*found, BROKEN, WELL], interval=None)

    assert at == [10.0, 20.0, 30.0, 35.0, 35.1]
