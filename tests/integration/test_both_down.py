"""Neither Redis nor the Kubernetes API is there: 503 in bounded time, no crash, and all exact once they are back."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from chaos.faults.process import FaultProxyProcess
from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.kubernetes_sight import watching
from tests.integration.lengths import FULL
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import ask, body, fires
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

EVERY = [*itertools.product(("redis", "kubernetes"), (Fault.RESET, Fault.SWALLOWED, Fault.HANG))]
LONGEST = 10.0
"""Seconds after which every webhook is answered: `server.request_timeout`."""


class Dependencies:
    """Both of them, to be taken away and brought back by name."""

    def __init__(self, redis: RedisServer, proxy: FaultProxyProcess, fault: Fault = Fault.RESET) -> None:
        self._redis = redis
        self._proxy = proxy
        self._fault = fault

    async def lose(self, name: str) -> None:
        if name == "redis":
            self._redis.kill()
        else:
            self._proxy.set_rules([Rule(self._fault)])
            self._proxy.cut_watches()

    async def bring_back(self, name: str) -> None:
        if name == "redis":
            await asyncio.to_thread(self._redis.start)
        else:
            self._proxy.clear()


async def refusals(gateways: list[GatewayProcess], namespace: str, *, seconds: float) -> list[float]:
    """Ask each gateway again and again; how long each 503 took, and every one of them says when to come back."""
    found: list[float] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for number, one in enumerate(gateways):
            began = time.monotonic()
            # Resolved alerts count nothing, so the books need not know of them.
            over = {
                **fires(namespace, f"asked-{number}"),
                "status": "resolved",
                "endsAt": "2026-01-31T09:30:00Z",
            }
            answer = await asyncio.to_thread(ask, one, body(over))
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
            found.append(time.monotonic() - began)
        await asyncio.sleep(0.3)
    return found


@pytest.mark.parametrize("first", ["redis", "kubernetes"])
async def test_both_are_down_from_the_start_and_come_one_after_the_other(
    first: str,
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    redis = start_redis()
    redis.kill()
    proxy = start_fault_proxy(cluster, [Rule(Fault.RESET)])
    both = Dependencies(redis, proxy)
    second = "kubernetes" if first == "redis" else "redis"
    gateways = [start_gateway(redis=redis, cluster=proxy, settings=SETTINGS, wait="alive") for _ in range(2)]

    async with (
        watching(*gateways) as sight,
        ordeal(gateways, cluster, namespace, tmp_path, rate=6) as test,
    ):
        asked = await refusals(gateways, namespace, seconds=5)
        assert set(test.load.statuses) == {503}
        await both.bring_back(first)
        began = time.monotonic()
        await eventually(lambda: test.load.accepted > 0, "alerts to be taken", seconds=20)
        taken = time.monotonic() - began
        await asyncio.sleep(4)
        await both.bring_back(second)
        back = time.monotonic()
        await test.closed_everywhere()
        await sight.closed_everywhere()
        await sight.all_written()
        written = time.monotonic() - back
    test.tell(f"{first} first", refused=max(asked), taken=taken, written=written)

    assert max(asked) < 2
    assert test.load.slowest < LONGEST + 2
    assert taken < 15
    assert written < 30
    for one in gateways:
        assert one.alive
        assert "Traceback" not in one.log()


@pytest.mark.parametrize(("first", "fault"), EVERY if FULL else [EVERY[1], EVERY[-1]])
async def test_one_falls_after_the_other_under_load_and_the_first_to_fall_returns_first(
    first: str,
    fault: Fault,
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    redis = start_redis()
    proxy = start_fault_proxy(cluster)
    both = Dependencies(redis, proxy, fault)
    second = "kubernetes" if first == "redis" else "redis"
    gateways = [start_gateway(redis=redis, cluster=proxy, settings=SETTINGS) for _ in range(2)]

    async with (
        watching(*gateways) as sight,
        ordeal(gateways, cluster, namespace, tmp_path, rate=6) as test,
    ):
        await test.closed_everywhere()
        began = time.monotonic()
        await both.lose(first)
        await asyncio.sleep(3)
        await both.lose(second)
        await sight.open_everywhere(seconds=30)
        await test.open_everywhere()
        both_open = time.monotonic() - began
        asked = await refusals(gateways, namespace, seconds=3)
        await both.bring_back(first)
        await asyncio.sleep(3)
        await both.bring_back(second)
        back = time.monotonic()
        await test.closed_everywhere()
        await sight.closed_everywhere()
        await sight.all_written()
        written = time.monotonic() - back
    test.tell(f"{first} first, {fault.value}", opened=both_open, refused=max(asked), written=written)

    assert both_open < 25
    assert max(asked) < 1
    assert test.load.slowest < LONGEST + 2
    assert test.load.statuses[503] > 0
    assert written < 30
    for one in gateways:
        assert one.alive
        assert "Traceback" not in one.log()
