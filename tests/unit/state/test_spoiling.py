"""Injected faults at Redis: the caller meets what a real one would show, on a real server that is well."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.rig.redis_server import RedisServer
from gateway.errors import StoreRefused, StoreUnsure
from gateway.resilience.breakers import Breaker, Outcome, Policy
from gateway.resilience.faults import Fault, FaultMode, FaultPoint, FaultTarget
from gateway.state.client import Client

POLICY = Policy(failure_rate=0.5, window=10.0, min_calls=3, open_for=2.0)
NOTE = ("gw:{0}:note:x",)


class Point(FaultPoint):
    """Strikes every call; `performed` says whether it is performed."""

    def __init__(self) -> None:
        self.performed = False
        super().__init__(
            FaultTarget.REDIS,
            clock=time.monotonic,
            struck=lambda *_: None,
            chance=lambda: 0.0 if self.performed else 0.999,
        )

    def use(self, mode: FaultMode, *, performed: bool = False, delay: float = 0.0) -> None:
        self.performed = performed
        self.inject(Fault(target=FaultTarget.REDIS, mode=mode, pct=100, ttl=60, delay=delay))


@asynccontextmanager
async def client_of(
    server: RedisServer, point: Point, breaker: Breaker | None = None
) -> AsyncIterator[Client]:
    client = Client(server.url, timeout=1.0, pool_size=2, faults=point, breaker=breaker)
    await client.command("DEL", "count")
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("performed", [False, True])
@pytest.mark.parametrize(("mode", "kind"), [(FaultMode.TIMEOUT, "timeout"), (FaultMode.ERROR, "connection")])
async def test_a_call_without_an_answer_is_unsure_whether_it_was_performed_or_not(
    redis_server: RedisServer, mode: FaultMode, kind: str, *, performed: bool
) -> None:
    point = Point()
    async with client_of(redis_server, point) as client:
        point.use(mode, performed=performed)
        with pytest.raises(StoreUnsure) as caught:
            await client.command("INCR", "count")
        point.end()
        assert caught.value.kind == kind
        assert await client.command("GET", "count") == (b"1" if performed else None)
        assert client.active_connections == 0


async def test_what_redis_said_to_a_call_that_is_struck_is_not_heard(redis_server: RedisServer) -> None:
    point = Point()
    async with client_of(redis_server, point) as client:
        await client.command("RPUSH", "count", "a list")
        point.use(FaultMode.ERROR, performed=True)
        with pytest.raises(StoreUnsure) as caught:
            await client.command("INCR", "count")
        assert caught.value.kind == "connection"


async def test_a_late_answer_is_an_answer_while_it_is_in_time_and_none_after_it(
    redis_server: RedisServer,
) -> None:
    point = Point()
    async with client_of(redis_server, point) as client:
        point.use(FaultMode.LATENCY, delay=0.05)
        began = time.monotonic()
        assert await client.command("INCR", "count") == 1
        assert time.monotonic() - began >= 0.05
        point.use(FaultMode.LATENCY, delay=30)
        with pytest.raises(StoreUnsure) as caught:
            await client.command("INCR", "count")
        assert caught.value.kind == "timeout"
        point.end()
        assert await client.command("GET", "count") == b"2"


async def test_a_full_redis_refuses_what_stores_something_new_and_takes_the_rest(
    redis_server: RedisServer,
) -> None:
    point = Point()
    async with client_of(redis_server, point) as client:
        point.use(FaultMode.OOM)
        assert await client.command("INCR", "count") == 1
        with pytest.raises(StoreRefused) as caught:
            await client.script("note", NOTE, "run", 1000)
        assert caught.value.kind == "oom"
        active = point.active()
        assert active is not None
        assert (active.calls, active.struck) == (2, 1)


async def test_the_breaker_opens_stays_open_while_probes_are_struck_and_closes_at_the_end(
    redis_server: RedisServer,
) -> None:
    point = Point()
    breaker = Breaker("redis", POLICY, clock=time.monotonic)
    async with client_of(redis_server, point, breaker) as client:
        point.use(FaultMode.ERROR)
        for _ in range(3):
            with pytest.raises(StoreUnsure):
                await client.command("PING")
        assert not breaker.closed
        assert "injected" in breaker.reason
        assert (await client.probe()).outcome is Outcome.FAILURE
        point.end()
        assert (await client.probe()).outcome is Outcome.SUCCESS
