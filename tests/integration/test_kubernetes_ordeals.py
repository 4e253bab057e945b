"""The Kubernetes API is killed, stuck, forgetful and silent under load: nothing is lost, nothing is counted twice.

In full length the watches are silent until they count as dead.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.cluster import Cluster
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.kubernetes_sight import watching
from tests.integration.lengths import seconds
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import fires, send_one
from tests.integration.windows import total
from tests.rig.fixtures import StartFaultProxy, StartGateway

OURS = "remediationrequests"
ETCD = seconds(12, 30)
FREEZE = seconds(8, 120)
PATIENT = {**SETTINGS, "redis": {"timeout": "250ms"}}
"""Redis is well here: with less, two pauses of a busy machine in a row would be a 503, as Kubernetes is away."""
INACTIVITY = 100.0
"""Seconds after which a silent watch counts as dead."""


async def test_an_api_server_that_is_killed_and_comes_back_over_the_same_data(
    start_gateway: StartGateway,
    start_cluster: Callable[[], Cluster],
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    plane = start_cluster()
    plane.api.create_namespace("prod-api")
    gateways = [start_gateway(redis=redis_server, cluster=plane, settings=PATIENT) for _ in range(2)]

    async with (
        watching(*gateways) as sight,
        ordeal(gateways, plane.api, "prod-api", tmp_path, rate=25) as test,
    ):
        began = time.monotonic()
        plane.server.kill()
        await sight.open_everywhere(seconds=15)
        await asyncio.sleep(4)
        await asyncio.to_thread(plane.restart_server)
        back = time.monotonic()
        await sight.closed_everywhere()
        await sight.all_written()
        written = time.monotonic() - back
        await asyncio.sleep(2)
        opened, closed, deepest = sight.opened(began), sight.closed(back), sight.deepest(began)
    test.tell("API server killed", opened=opened, closed=closed, written=written)

    assert opened is not None
    assert opened < 10
    assert closed is not None
    assert closed < 15
    assert written < 30
    assert 0 < deepest < 1000
    assert test.load.refused == 0
    assert test.load.slowest < 5
    assert all(
        one.metric("gateway_recovery_duration_seconds_count", component="k8s_api") >= 1 for one in gateways
    )


async def test_an_etcd_that_stops_answering_and_goes_on_where_it_was(
    start_gateway: StartGateway,
    start_cluster: Callable[[], Cluster],
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    """The API server takes calls and does not answer them; what it was asked to write it may write later."""
    plane = start_cluster()
    plane.api.create_namespace("prod-api")
    gateways = [start_gateway(redis=redis_server, cluster=plane, settings=PATIENT) for _ in range(2)]

    async with (
        watching(*gateways) as sight,
        ordeal(gateways, plane.api, "prod-api", tmp_path, rate=25) as test,
    ):
        began = time.monotonic()
        plane.etcd.pause()
        await asyncio.sleep(ETCD)
        plane.etcd.resume()
        back = time.monotonic()
        await sight.closed_everywhere(seconds=40)
        await sight.all_written()
        written = time.monotonic() - back
        await asyncio.sleep(2)
        opened, closed, deepest = sight.opened(began), sight.closed(back), sight.deepest(began)
    test.tell(f"etcd paused for {ETCD:g} s", opened=opened, closed=closed, written=written)

    assert written < 30
    assert 0 < deepest < 1000
    assert test.load.refused == 0
    assert test.load.slowest < 5


async def test_every_tenth_answer_is_lost_after_the_write(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    proxy = start_fault_proxy(cluster, seed=7)
    gateways = [start_gateway(redis=redis_server, cluster=proxy, settings=PATIENT) for _ in range(2)]

    async with watching(*gateways) as sight, ordeal(gateways, cluster, namespace, tmp_path) as test:
        began = time.monotonic()
        proxy.set_rules([Rule(Fault.ANSWER_LOST, share=0.1, write=True, resource=OURS)])
        await asyncio.sleep(10)
        proxy.clear()
        await sight.closed_everywhere()
        opened = sight.opened(began)
    lost = proxy.count("answer lost")
    test.tell(f"{lost} answers lost", opened=opened)

    assert lost > 5
    assert total(gateways, "gateway_retries_total", component="k8s_api") > 0
    assert test.load.refused == 0


@pytest.mark.timeout(300 + FREEZE)
async def test_watches_that_fall_silent_cost_nothing_and_are_replaced_when_they_are_dead(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    """A request is closed while nobody can see it; that is seen when the watches go on, or are new ones."""
    proxy = start_fault_proxy(cluster)
    gateways = [start_gateway(redis=redis_server, cluster=proxy, settings=PATIENT) for _ in range(2)]
    await eventually(lambda: proxy.count("open watches") == 4, "both to watch requests and namespaces")
    aside = send_one(gateways[0], fires(namespace, "aside"))

    def seen_open() -> list[bool]:
        """By each gateway, without a look at the API."""
        told = [json.loads(one.get(f"/v1/alerts/{aside['fingerprint']}")[1]) for one in gateways]
        return [any(request["open"] for request in one.get("requests", ())) for one in told]

    async with ordeal(gateways, cluster, namespace, tmp_path, rate=25) as test:
        await eventually(lambda: seen_open() == [True, True], "the request to be seen")
        proxy.set_rules([Rule(Fault.FREEZE, times=4)])  # those that are open now, and none that come later
        began = time.monotonic()
        (name,) = (
            request["metadata"]["name"]
            for request in cluster.requests(namespace)
            if request["spec"]["signalLabels"].get("pod") == "aside"
        )
        cluster.set_phase(namespace, name, "Completed")
        await asyncio.sleep(min(FREEZE, INACTIVITY * 0.7))
        assert seen_open() == [True, True]
        if FREEZE < INACTIVITY:
            proxy.clear()
        await eventually(lambda: seen_open() == [False, False], "the end to be seen", seconds=INACTIVITY)
        seen = time.monotonic() - began
    test.tell("watches frozen", seen=seen)

    assert seen < INACTIVITY + 10
    assert proxy.count("freeze") == 4
    assert test.load.refused == 0


@pytest.mark.parametrize("fault", [Fault.SWALLOWED, Fault.HANG])
async def test_an_api_that_never_answers_opens_the_breaker_and_keeps_nobody_waiting(
    fault: Fault,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    """With Redis there, alerts are queued at once; what hangs is performed all the same, and must count once."""
    proxy = start_fault_proxy(cluster)
    gateways = [start_gateway(redis=redis_server, cluster=proxy, settings=PATIENT) for _ in range(2)]

    async with (
        watching(*gateways) as sight,
        ordeal(gateways, cluster, namespace, tmp_path, rate=25) as test,
    ):
        began = time.monotonic()
        proxy.set_rules([Rule(fault, resource=OURS)])
        await sight.open_everywhere(seconds=20)
        await asyncio.sleep(3)
        proxy.clear()
        back = time.monotonic()
        await sight.closed_everywhere()
        await sight.all_written()
        written = time.monotonic() - back
        opened, closed, deepest = sight.opened(began), sight.closed(back), sight.deepest(began)
    test.tell(fault.value, opened=opened, closed=closed, written=written)

    assert opened is not None
    assert opened < 16  # a call is given ten seconds
    assert closed is not None
    assert closed < 15
    assert written < 30
    assert 0 < deepest < 1000
    assert test.load.refused == 0
    assert test.load.slowest < 5
