"""Redis holds nothing: what arrives as a storm in one webhook becomes one request before the answer."""

from __future__ import annotations

import asyncio

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api, Json
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import PATIENT, body, fires, send, send_one, settled, words
from tests.integration.windows import (
    holdings,
    is_storm,
    once,
    pods,
    quick,
    source_of,
    stands,
    storms,
    until_over,
    window_of,
    windows_in,
)
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

OURS = "remediationrequests"
NO_REDIS = "redis://127.0.0.1:1/0"
FULL = {"maxmemory": "1", "maxmemory-policy": "noeviction"}


def request_names(verdicts: list[Json]) -> set[str]:
    return {verdict["request"]["name"] for verdict in verdicts}


async def test_with_redis_down_new_alerts_of_one_webhook_are_one_request_before_the_answer(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**quick(), **PATIENT})
    redis.kill()

    # Five of one group, two of another, in one webhook.
    status, verdicts = send(
        gateway, *pods(namespace, 0, 1, 2, 3, 4), *pods(namespace, 10, 11, name="NodeDown")
    )
    assert status == 201
    assert words(verdicts[5:]) == {"created": 2}
    assert words(verdicts[:5]) == {"created": 1, "duplicate": 4}
    requests = cluster.requests(namespace)
    (storm,) = (request for request in requests if is_storm(request))
    assert request_names(verdicts[:5]) == {storm["metadata"]["name"]}
    assert source_of(storm) == "storm_bypass"
    # They go on there, one by one and all at once, without Redis and with it.
    assert send_one(gateway, fires(namespace, "p0"))["outcome"] == "duplicate"
    assert words(send(gateway, *pods(namespace, 0, 1, 2, 3, 4))[1]) == {"duplicate": 5}
    redis.restart()
    await eventually(lambda: gateway.metric("gateway_storm_windows_open") == 0 and gateway.ready(), "Redis")
    assert words(send(gateway, *pods(namespace, 0, 1, 2, 3, 4))[1]) == {"duplicate": 5}
    await stands(
        cluster,
        namespace,
        storms=[{f"p{n}": 3 for n in (1, 2, 3, 4)} | {"p0": 4}],
        own=[("p10", 1), ("p11", 1)],
    )
    await settled(gateway)

    # On a slow machine the breaker may have noticed before the webhook did, and is the reason then.
    assert gateway.metric("gateway_storm_buffer_bypass_total") == 5
    assert gateway.metric("gateway_storm_buffer_bypass_total", reason="redis_oom") == 0
    assert gateway.metric("gateway_crds_created_total", source="storm_bypass") == 1
    assert gateway.metric("gateway_crds_created_total") == 3
    assert (
        gateway.metric("gateway_alerts_deduplicated_total")
        == gateway.metric("gateway_alerts_received_total") - 3
    )


async def test_with_redis_full_new_alerts_of_one_webhook_are_one_request_before_the_answer(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**quick(), **PATIENT})
    with redis.client() as client:
        for option, value in FULL.items():
            client.config_set(option, value)

        status, verdicts = send(gateway, *pods(namespace, 0, 1, 2, 3, 4))
        assert status == 201
        (storm,) = cluster.requests(namespace)
        assert request_names(verdicts) == {storm["metadata"]["name"]}
        # Two more are no storm of their own, and nobody holds them.
        assert words(send(gateway, *pods(namespace, 5, 6))[1]) == {"created": 2}
        client.config_set("maxmemory", 0)
    # There is room again: windows, too.
    windows_in(send(gateway, *pods(namespace, 7, 8, 9))[1])
    own = [("p5", 1), ("p6", 1)]
    await stands(cluster, namespace, storms=[once(0, 1, 2, 3, 4), once(7, 8, 9)], own=own)
    await settled(gateway)

    assert source_of(storm) == "storm_bypass"
    assert gateway.metric("gateway_storm_buffer_bypass_total", reason="redis_oom") == 5
    assert gateway.metric("gateway_dedup_fallback_total", reason="redis_oom") == 7


async def test_a_storm_under_way_when_redis_loses_everything_holds_each_alert_once(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    settings = {**quick(hold="6s", inactivity="6s"), **PATIENT}
    gateway = start_gateway(redis=redis, cluster=cluster, settings=settings)

    # A storm; Redis goes, two of its members fire again, and Redis comes back empty before the end.
    (window,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2, 3, 4))[1])
    redis.kill()
    status, _ = send(gateway, *pods(namespace, 0, 1))
    assert status in (201, 202)
    redis.restart()
    await settled(gateway)

    aggregated, own = holdings(cluster, namespace)
    held = sorted([*own, *(entry for members in aggregated for entry in members.items())])
    assert held == [("p0", 2), ("p1", 2), ("p2", 1), ("p3", 1), ("p4", 1)]
    assert {window_of(request) for request in storms(cluster, namespace)} == {window}


@pytest.mark.parametrize("written", [False, True])
async def test_the_retry_after_a_503_finds_the_same_request_and_counts_once(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
    written: bool,
) -> None:
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=NO_REDIS, cluster=proxy, settings={**quick(), **PATIENT}, wait="ready")
    content = body(*pods(namespace, 0, 1, 2, 3, 4))
    gone = [Rule(Fault.FREEZE), Rule(Fault.RESET, path=OURS)]

    # Kubernetes is gone as well: from the beginning, or right after it wrote the request.
    if written:
        proxy.set_rules([Rule(Fault.FREEZE), Rule(Fault.HANG, verbs=("create",), resource=OURS)])
        first = asyncio.create_task(asyncio.to_thread(gateway.post, PATH, content, timeout=20))
        await eventually(lambda: proxy.count(Fault.HANG), "the request to be written")
        proxy.set_rules(gone)
        assert (await first)[0] == 503
    proxy.set_rules(gone)
    assert gateway.post(PATH, content, timeout=20)[0] == 503
    before = {request["metadata"]["name"] for request in storms(cluster, namespace)}
    assert len(before) == written
    # It is back, and the sender tries again.
    proxy.clear()
    await eventually(
        lambda: gateway.post(PATH, content, timeout=20)[0] in (201, 202), "the retry to be taken", seconds=20
    )
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 3, 4)])
    assert before <= {request["metadata"]["name"]}
    # The same bytes after a 2xx are new occurrences.
    assert gateway.post(PATH, content)[0] == 202
    await stands(cluster, namespace, storms=[dict.fromkeys(once(0, 1, 2, 3, 4), 2)])
    await settled(gateway)

    assert source_of(request) == "storm_bypass"
    assert gateway.metric("gateway_crds_created_total", source="storm_bypass") == 1
    assert gateway.metric("gateway_alerts_deduplicated_total") == 9


async def test_replicas_without_redis_name_the_storm_of_one_webhook_alike(
    start_gateway: StartGateway, cluster: Api, namespace: str
) -> None:
    settings = {**quick(), **PATIENT}
    one, other = (
        start_gateway(redis=NO_REDIS, cluster=cluster, settings=settings, wait="ready") for _ in range(2)
    )

    # Alertmanager's peers send the same body, each to another replica.
    first = send(one, *pods(namespace, 0, 1, 2))
    second = send(other, *pods(namespace, 0, 1, 2))
    assert (first[0], second[0]) == (201, 202)
    assert request_names(first[1]) == request_names(second[1])
    (request,) = await stands(cluster, namespace, storms=[dict.fromkeys(once(0, 1, 2), 2)])
    # It is closed: the next storm of the same bytes is another one.
    cluster.set_phase(namespace, request["metadata"]["name"], "Completed")
    await until_over(one, first[1][0]["fingerprint"])
    status, third = send(one, *pods(namespace, 0, 1, 2))
    assert status == 201
    assert request_names(third).isdisjoint(request_names(first[1]))
    await stands(cluster, namespace, storms=[once(0, 1, 2), dict.fromkeys(once(0, 1, 2), 2)])
