"""Redis under Sentinels: the master is lost under load, with and without what it had not replicated yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.waiting import eventually
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import UNHURRIED, fires, send_one
from tests.rig.fixtures import StartGateway, StartSentinel

DETECTED, OPENED, RECOVERED = 3.0, 5.0, 30.0
SLACK = 2.0
"""Seconds that a machine with other work may take longer than what is promised of the gateway."""


def replicas_of(start_gateway: StartGateway, redis: Any, cluster: Api, **more: Any) -> list[Any]:
    settings: Mapping[str, Any] = {**SETTINGS, **more}
    return [start_gateway(redis=redis, cluster=cluster, settings=settings) for _ in range(2)]


async def test_a_killed_master_is_noticed_passed_by_and_replaced_without_a_lost_alert(
    start_gateway: StartGateway, start_sentinel: StartSentinel, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    # No failover before both gateways must have met the loss, on a machine that stands still for a while, too.
    group = start_sentinel(down_after_ms=4000)
    gateways = replicas_of(start_gateway, group, cluster)

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        lost = await asyncio.to_thread(group.kill_master)
        await test.open_everywhere()
        await asyncio.to_thread(group.wait_for_failover, lost)
        replaced = time.monotonic() - began
        await test.closed_everywhere()
        await asyncio.sleep(1)
    detected, opened = test.sight.detected(began), test.sight.opened(began)
    recovered = test.sight.closed(began)
    test.tell("master killed", detected=detected, opened=opened, replaced=replaced, recovered=recovered)

    assert detected is not None
    assert detected < DETECTED + SLACK
    assert opened is not None
    assert opened < OPENED + SLACK
    assert recovered is not None
    assert recovered < RECOVERED
    assert test.load.refused < 0.05
    assert all(one.metric("gateway_redis_reconnect_success_total") > 0 for one in gateways)
    assert all(one.metric("gateway_dedup_fallback_total") > 0 for one in gateways)


@pytest.mark.parametrize("paused", [False, True], ids=["killed", "cut off and back"])
async def test_a_failover_to_the_past_neither_loses_nor_doubles(
    paused: bool,
    start_gateway: StartGateway,
    start_sentinel: StartSentinel,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    """The master's last writes reach no replica: they are gone with it, or come back with it and are thrown away."""
    group = start_sentinel()
    gateways = replicas_of(start_gateway, group, cluster)

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        master = await asyncio.to_thread(group.master)
        replicas = [server for server in group.servers if server is not master]
        began = time.monotonic()
        for replica in replicas:
            replica.pause()
        with master.client() as client:
            client.client_kill_filter(_type="replica")
            before = client.info("stats")["total_commands_processed"]
            await asyncio.sleep(0.7)
            await eventually(
                lambda: client.info("stats")["total_commands_processed"] - before > 20,
                "writes that are not replicated",
                every=0.1,
            )
        if paused:
            master.pause()
        else:
            master.kill()
        for replica in replicas:
            replica.resume()
        await asyncio.to_thread(group.wait_for_failover, master)
        if paused:
            master.resume()
        else:
            await asyncio.to_thread(master.start)
        await test.closed_everywhere()
        await asyncio.sleep(2)
    test.tell("failover to the past", opened=test.sight.opened(began), recovered=test.sight.closed(began))


async def test_a_gateway_starts_before_the_sentinels_and_finds_the_master_when_they_come(
    start_gateway: StartGateway, start_sentinel: StartSentinel, cluster: Api, namespace: str
) -> None:
    group = start_sentinel(replicas=1)
    for sentinel in group.sentinels:
        sentinel.kill()
    gateway = start_gateway(redis=group, cluster=cluster, settings=UNHURRIED, wait="ready")
    assert send_one(gateway, fires(namespace))["outcome"] in ("created", "queued")
    assert gateway.metric("gateway_dedup_fallback_total") == 1

    for sentinel in group.sentinels:
        await asyncio.to_thread(sentinel.start)
    deadline = time.monotonic() + 15
    while gateway.metric("gateway_circuit_breaker_state", component="redis") != 0 or not _served(group):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    assert gateway.metric("gateway_dedup_fallback_total") == 1


def _served(group: Any) -> bool:
    """Whether the master has data of the gateway."""
    with group.master().client() as client:
        return bool(client.dbsize())
