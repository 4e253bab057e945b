"""What became of a request is told by `kubectl describe`, on a real API server and on the embedded one."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from pathlib import Path

from chaos.rig import tools
from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually, wait_until
from gateway.dev.cluster import EmbeddedCluster
from tests.integration.sight import count_of, fires, send, send_one, settled
from tests.integration.test_kubernetes_access import Grants, component, grants
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway, require

__all__ = ["grants"]
STORM = {**STEADY, "storm": {"hold": "1s", "inactivity": "1s", "max_window": "3s"}}
IMMEDIATE = {"storm": {"rules": [{"matchers": ['alertname!=""'], "mode": "immediate"}]}}


def reasons(cluster: Api, namespace: str) -> Counter[str]:
    items = cluster.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return Counter(one["reason"] for one in items)


def described(kubeconfig: Path, *which: str) -> str:
    words = ["--kubeconfig", str(kubeconfig), "describe", "rr", *which]
    done = subprocess.run(
        [str(tools.find("kubectl")), *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


async def test_a_storm_is_told_from_its_opening_to_its_end(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    require("kubectl")
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=STORM)
    send(gateway, *(fires(namespace, f"pod-{number}", name="Stormy") for number in range(4)))
    await eventually(
        lambda: reasons(cluster, namespace) == {"Created": 1, "StormClosed": 1}, "both events", seconds=20
    )
    (request,) = cluster.requests(namespace)
    shown = described(cluster.kubeconfig, request["metadata"]["name"], "-n", namespace)
    assert "opened by storm for 4 alerts Stormy" in shown
    assert "closed with 4 members" in shown
    assert shown.count("alert-gateway") >= 2


async def test_each_generation_has_its_event_and_duplicates_have_none(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=IMMEDIATE)
    for _ in range(5):
        send_one(gateway, fires(namespace, "pod-1"))
    await settled(gateway)
    (request,) = cluster.requests(namespace)
    await eventually(lambda: reasons(cluster, namespace) == {"Created": 1}, "the event")
    cluster.set_phase(namespace, request["metadata"]["name"], "Completed")
    await eventually(
        lambda: send_one(gateway, fires(namespace, "pod-1")) and len(cluster.requests(namespace)) == 2,
        "its successor",
        every=0.3,
    )
    await eventually(lambda: reasons(cluster, namespace) == {"Created": 2}, "the successor's event")


async def test_the_embedded_api_tells_them_too(
    start_gateway: StartGateway, redis_server: RedisServer
) -> None:
    require("kubectl")
    async with EmbeddedCluster() as own:

        def told() -> str:
            gateway = start_gateway(redis=redis_server, cluster=own.kubeconfig, settings=IMMEDIATE)
            send_one(gateway, fires("nowhere", "pod-1"))
            wait_until(lambda: gateway.metric("gateway_k8s_events_total", result="written") == 1, "the event")
            return described(own.kubeconfig, "--all-namespaces")

        shown = await asyncio.to_thread(told)
    assert "opened by immediate for" in shown


async def test_none_are_written_where_nobody_wants_them(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = {**IMMEDIATE, "kubernetes": {"events": False}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    send_one(gateway, fires(namespace, "pod-1"))
    await settled(gateway)
    assert gateway.metric("gateway_k8s_api_requests_total", verb="event") == 0
    assert reasons(cluster, namespace) == {}


async def test_without_the_permission_alerts_are_taken_and_nothing_is_amiss(
    grants: Grants, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    grants.everywhere("get", "list", "watch", "create", "patch")
    settings = {**IMMEDIATE, **STEADY}
    watched = f"{GROUP_PATH}/remediationrequests?limit=1", "/api/v1/namespaces?limit=1"
    await eventually(lambda: all(grants.access.send("GET", path)[0] == 200 for path in watched), "the grants")
    gateway = start_gateway(redis=redis_server, cluster=grants.access, settings=settings)
    for number in range(10):
        send_one(gateway, fires(namespace, f"pod-{number}"))
    await settled(gateway)
    await eventually(
        lambda: gateway.metric("gateway_k8s_events_total", result="forbidden") == 10, "all to be left out"
    )
    assert sum(count_of(one) for one in cluster.requests(namespace)) == 10
    assert component(gateway, "permissions") == {"ok": True, "detail": ""}
    assert gateway.metric("gateway_k8s_api_requests_total", verb="event") == 1
    assert '"level": "warning"' not in gateway.log()
