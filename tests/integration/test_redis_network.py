"""The network between the gateway and Redis is slow, cut, or eats what is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.toxiproxy import Proxy
from tests.integration.lengths import seconds
from tests.integration.ordeals import SETTINGS, ordeal
from tests.rig.fixtures import StartGateway, StartToxiproxy

POOL = 8
RECOVERED = 15.0
PARTITION = seconds(12, 90)


def url(proxy: Proxy) -> str:
    return f"redis://{proxy.address}/0"


def settings() -> dict[str, Any]:
    return {**SETTINGS, "redis": {"timeout": "50ms", "pool_size": POOL}}


def connections(gateways: list[GatewayProcess]) -> float:
    return max(one.metric("gateway_redis_pool_active_connections") for one in gateways)


def slow(proxy: Proxy) -> None:
    proxy.add("latency", latency=500, jitter=100)


def reset(proxy: Proxy) -> None:
    proxy.add("reset_peer", timeout=0)
    proxy.disable()  # the connections that are open know nothing of a new toxic of this kind
    proxy.enable()


def closing_slowly(proxy: Proxy) -> None:
    proxy.add("slow_close", delay=1000)
    proxy.add("limit_data", bytes=2000)


def cut_after_some_answers(proxy: Proxy) -> None:
    proxy.add("limit_data", bytes=4000)


def cut_after_some_requests(proxy: Proxy) -> None:
    proxy.add("limit_data", stream="upstream", bytes=8000)


@pytest.mark.parametrize(
    ("fault", "opens"),
    [
        (slow, True),
        (reset, True),
        (closing_slowly, False),
        (cut_after_some_answers, False),
        (cut_after_some_requests, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_bad_network_costs_neither_alerts_nor_connections(
    fault: Callable[[Proxy], None],
    opens: bool,
    start_gateway: StartGateway,
    start_toxiproxy: StartToxiproxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    proxy = start_toxiproxy().proxy(redis_server.port)
    gateways = [start_gateway(redis=url(proxy), cluster=cluster, settings=settings()) for _ in range(2)]
    most = 0.0

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        await asyncio.to_thread(fault, proxy)
        while time.monotonic() < began + 6:
            most = max(most, await asyncio.to_thread(connections, gateways))
            await asyncio.sleep(0.1)
        if opens:
            await test.open_everywhere()  # it still is, where the machine did not stand still
        cleared = time.monotonic()
        await asyncio.to_thread(proxy.clear)
        await test.closed_everywhere()
        await asyncio.sleep(1)
        await test.closed_everywhere()  # connections that were closing may have failed once more
    opened, recovered = test.sight.opened(began), test.sight.closed(cleared)
    test.tell(fault.__name__, detected=test.sight.detected(began), opened=opened, recovered=recovered)

    assert test.sight.detected(began) is not None
    assert (opened is not None and opened < 5) or not opens
    assert recovered is not None
    assert recovered < RECOVERED
    assert most < POOL
    assert test.load.refused < 0.05
    assert all(one.metric("gateway_redis_pool_max_size") == POOL for one in gateways)


async def test_a_partition_is_noticed_and_its_end_too(
    start_gateway: StartGateway,
    start_toxiproxy: StartToxiproxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    """Nothing is refused and nothing comes back: only time tells."""
    proxy = start_toxiproxy().proxy(redis_server.port)
    gateways = [start_gateway(redis=url(proxy), cluster=cluster, settings=settings()) for _ in range(2)]
    most = 0.0

    async with ordeal(gateways, cluster, namespace, tmp_path, rate=20) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        await asyncio.to_thread(proxy.add, "timeout", timeout=0)
        await asyncio.to_thread(lambda: proxy.add("timeout", stream="upstream", timeout=0))
        while time.monotonic() < began + PARTITION:
            most = max(most, await asyncio.to_thread(connections, gateways))
            await asyncio.sleep(0.1)
        cleared = time.monotonic()
        await asyncio.to_thread(proxy.clear)
        await test.closed_everywhere()
        await asyncio.sleep(1)
        await test.closed_everywhere()  # connections that were closing may have failed once more
    opened, recovered = test.sight.opened(began), test.sight.closed(cleared)
    test.tell(
        f"partition of {PARTITION:g} s",
        detected=test.sight.detected(began),
        opened=opened,
        recovered=recovered,
    )

    assert opened is not None
    assert opened < 5
    assert recovered is not None
    assert recovered < RECOVERED
    assert most < POOL
    assert test.load.refused < 0.05
    assert all(one.metric("gateway_redis_operation_errors_total", error="timeout") > 0 for one in gateways)
