"""Storms of hundreds of alerts and thousands of windows: buffers, requests and the rate of intake keep their bounds."""

from __future__ import annotations

import itertools
import time
from statistics import median

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import flood
from tests.integration.sight import body, fires, settled
from tests.integration.windows import (
    is_storm,
    member_counts,
    open_windows,
    quick,
    watching_buffer,
)
from tests.rig.fixtures import StartGateway, StartRedis

FULL_BUFFER = 100
FULL_WINDOW = 1000


@pytest.mark.parametrize("webhooks", [1, 300])
@pytest.mark.parametrize("alerts", [250, 1200])
async def test_a_storm_as_fast_as_it_can_be_posted_fills_no_buffer_beyond_its_size(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    alerts: int,
    webhooks: int,
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick(hold="4s", inactivity="4s"))
    sent = [fires(namespace, f"p{number}") for number in range(alerts)]
    if webhooks > alerts:  # some come twice
        sent += sent[: webhooks - alerts]
    expected = {f"p{number}": 1 for number in range(alerts)}
    expected |= {f"p{number}": 2 for number in range(len(sent) - alerts)}
    size = len(sent) // webhooks
    bodies = [body(*sent[start : start + size]) for start in range(0, len(sent), size)]
    assert len(bodies) == webhooks

    with watching_buffer(redis_server, namespace) as fullest:
        books = await flood([gateway.url], bodies, at_once=webhooks)
        await settled(gateway)
    aggregated = cluster.requests(namespace)

    assert books.accepted == books.attempts == webhooks
    assert all(is_storm(request) for request in aggregated)
    members = sorted((member_counts(request) for request in aggregated), key=len)
    assert [len(one) for one in members] == ([alerts - FULL_WINDOW] if alerts > FULL_WINDOW else []) + [
        min(alerts, FULL_WINDOW)
    ]
    assert {pod: count for one in members for pod, count in one.items()} == expected
    # What fills a buffer within one call to Redis is never seen; what is left of hundreds stays until the end.
    assert alerts % FULL_BUFFER <= fullest.most <= FULL_BUFFER
    assert fullest.looks > 100
    assert gateway.metric("gateway_storm_buffer_overflow_total") == alerts // FULL_BUFFER
    created = gateway.metric("gateway_crds_created_total", source="storm")
    assert created == len(aggregated)
    assert gateway.metric("gateway_alerts_deduplicated_total") == len(sent) - created


async def test_five_thousand_open_windows_leave_intake_more_than_half_of_its_rate(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    settings = quick(hold="10m", inactivity="10m", max_window="1h")
    flooded = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    usual = start_gateway(redis=start_redis(), cluster=cluster, settings=settings)
    numbers = itertools.count()

    async def rate(gateway: GatewayProcess, groups: int) -> float:
        """Alerts a second: 1,000 new ones of so many new groups, ten in a webhook."""
        first = next(numbers) * 1000
        sent = [
            fires(namespace, f"pod-{first + number:05}", name=f"Alert{first + number % groups:05}")
            for number in range(1000)
        ]
        bodies = [body(*sent[start : start + 10]) for start in range(0, 1000, 10)]
        began = time.monotonic()
        books = await flood([gateway.url], bodies, at_once=20)
        assert books.accepted == books.attempts == 100
        return 1000 / (time.monotonic() - began)

    async def beside_the_usual(groups: int) -> float:
        """The rate with so many new groups, as a share of the usual one; turn by turn, since machines have moods."""
        rounds = [(await rate(flooded, groups), await rate(usual, 20)) for _ in range(5)]
        return median(one for one, _ in rounds) / median(other for _, other in rounds)

    for gateway in (flooded, usual):  # the first of all are slower
        await rate(gateway, 20)
    opening = await beside_the_usual(1000)
    assert open_windows(redis_server) == 5020
    with_them = await beside_the_usual(20)
    print(f"\nintake beside the usual: {opening:.2f} opening windows, {with_them:.2f} with 5,000 open")

    assert opening > 0.5
    assert with_them > 0.5
    await eventually(
        lambda: flooded.metric("gateway_storm_windows_open") == 5120, "the windows to be counted"
    )
    assert flooded.ready()
    assert cluster.requests(namespace) == []
