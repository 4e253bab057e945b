"""Injected faults at the Kubernetes API: the caller meets what a real one would show, and the server what it would."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.errors import KubeConflict, KubeError, KubeThrottled, KubeUnavailable
from gateway.kube.connection import Call, Connection
from gateway.kube.observing import Verb
from gateway.resilience.breakers import Outcome
from gateway.resilience.faults import Fault, FaultMode, FaultPoint, FaultTarget
from tests.unit.kube.test_connection_breaker import Told, connected


class Point(FaultPoint):
    """Strikes every call; `performed` says whether it is performed."""

    def __init__(self) -> None:
        self.performed = False
        super().__init__(
            FaultTarget.KUBERNETES,
            clock=time.monotonic,
            struck=lambda *_: None,
            chance=lambda: 0.0 if self.performed else 0.999,
        )

    def use(self, mode: FaultMode, *, performed: bool = False, delay: float = 0.0) -> None:
        self.performed = performed
        self.inject(Fault(target=FaultTarget.KUBERNETES, mode=mode, pct=100, ttl=60, delay=delay))


async def failing(line: Connection, verb: Verb, path: str = "/200") -> KubeError | None:
    try:
        await line.call(Call(verb, "POST", path, body=b"{}"))
    except KubeError as error:
        return error
    return None


@pytest.mark.parametrize("performed", [False, True])
@pytest.mark.parametrize(("mode", "status"), [(FaultMode.TIMEOUT, 0), (FaultMode.ERROR, 500)])
async def test_a_call_that_failed_may_have_been_performed(
    mode: FaultMode, status: int, tmp_path: Path, *, performed: bool
) -> None:
    point, breaker = Point(), Told()
    call = 0.5 if mode is FaultMode.TIMEOUT else 20.0
    async with connected(breaker, tmp_path, faults=point, call=call) as (line, server):
        point.use(mode, performed=performed)
        error = await failing(line, Verb.CREATE)
        assert type(error) is KubeUnavailable
        assert error.status == status
        assert len(server.asked) == performed
    assert breaker.told == [Outcome.FAILURE]


@pytest.mark.parametrize("said", [422, 409, 429])
async def test_what_the_server_said_to_a_call_that_is_struck_is_not_heard(said: int, tmp_path: Path) -> None:
    """A rehearsed write that the API server finds invalid told the breaker that all was well."""
    point, breaker = Point(), Told()
    async with connected(breaker, tmp_path, faults=point) as (line, server):
        point.use(FaultMode.ERROR, performed=True)
        error = await failing(line, Verb.CREATE, f"/{said}")
        assert type(error) is KubeUnavailable
        assert error.status == 500
        assert len(server.asked) == 1
    assert breaker.told == [Outcome.FAILURE]


async def test_throttled_is_told_with_when_to_come_back_and_nothing_is_sent(tmp_path: Path) -> None:
    point, breaker = Point(), Told()
    async with connected(breaker, tmp_path, faults=point) as (line, server):
        point.use(FaultMode.THROTTLED)
        error = await failing(line, Verb.CREATE)
        assert isinstance(error, KubeThrottled)
        assert (error.status, error.retry_after) == (429, 1)
        assert server.asked == []
    assert breaker.told == [Outcome.THROTTLED]


@pytest.mark.parametrize("verb", [Verb.PATCH, Verb.DELETE, Verb.CREATE, Verb.GET, Verb.LIST])
async def test_a_conflict_meets_updates_and_deletions_only(verb: Verb, tmp_path: Path) -> None:
    point, breaker = Point(), Told()
    async with connected(breaker, tmp_path, faults=point) as (line, server):
        point.use(FaultMode.CONFLICT)
        error = await failing(line, verb)
        meets = verb in (Verb.PATCH, Verb.DELETE)
        assert isinstance(error, KubeConflict) is meets
        assert len(server.asked) == (not meets)
    assert breaker.told in ([Outcome.SUCCESS], [Outcome.ANSWERED])


async def test_a_late_answer_is_an_answer_while_it_is_in_time_and_none_after_it(tmp_path: Path) -> None:
    point, breaker = Point(), Told()
    async with connected(breaker, tmp_path, faults=point, call=1.0) as (line, server):
        point.use(FaultMode.LATENCY, delay=0.1)
        began = time.monotonic()
        assert await failing(line, Verb.CREATE) is None
        assert time.monotonic() - began >= 0.1
        point.use(FaultMode.LATENCY, delay=60)
        assert isinstance(await failing(line, Verb.CREATE), KubeUnavailable)
        assert time.monotonic() - began < 30
        assert len(server.asked) == 2
    assert breaker.told == [Outcome.SUCCESS, Outcome.FAILURE]
