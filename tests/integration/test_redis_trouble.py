"""Redis is killed, silent or emptied: alerts go to Kubernetes directly, and every count stays exact."""

from __future__ import annotations

import asyncio
import json
import time

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH, flood
from tests.integration.sight import (
    PATIENT,
    UNHURRIED,
    adds_up,
    ask,
    body,
    fires,
    send,
    send_one,
    settled,
    words,
)
from tests.integration.test_counting import check_marks
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

OURS = "remediationrequests"
NO_REDIS = "redis://127.0.0.1:1/0"
SHORT_LEASE = {"queue": {"lease": "3s"}}
"""A paused Redis performs late what it was asked before: it leases items to callers that no longer listen."""


async def test_with_redis_killed_alerts_are_created_and_counted_directly(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**PATIENT, **UNHURRIED})
    assert send_one(gateway, fires(namespace))["outcome"] == "created"

    redis.kill()
    status, (new,) = send(gateway, fires(namespace, "other"))
    assert (status, new["outcome"]) == (201, "created")
    known = [send_one(gateway, fires(namespace)) for _ in range(3)]
    assert words(known) == {"duplicate": 3}
    assert [verdict["occurrenceCount"] for verdict in known] == [2, 3, 4]
    await eventually(lambda: degraded(gateway.get("/readyz")), "readiness to name Redis")
    redis.restart()
    await eventually(lambda: not degraded(gateway.get("/readyz")), "Redis to be found again", seconds=15)
    for pod in ("payment-7d4b", "other"):
        assert send_one(gateway, fires(namespace, pod))["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [2, 5])
    await settled(gateway)

    assert gateway.metric("gateway_dedup_fallback_total") == 4
    assert gateway.metric("gateway_redis_operation_errors_total") > 0
    check_marks(cluster.requests(namespace))


def degraded(answer: tuple[int, bytes]) -> bool:
    """Ready all the same, but the component Redis is not well."""
    status, text = answer
    assert status == 200, text
    return not json.loads(text)["components"]["redis"]["ok"]


async def test_a_silent_redis_delays_alerts_by_no_more_than_its_time_out(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**PATIENT, **SHORT_LEASE})
    assert send_one(gateway, fires(namespace))["outcome"] == "created"
    # A slow machine may have sent that one the direct way, too.
    before = gateway.metric("gateway_dedup_fallback_total")

    redis.pause()
    slowest = 0.0
    for pod, expected in (("other", "created"), ("other", "duplicate"), ("payment-7d4b", "duplicate")):
        began = time.monotonic()
        assert send_one(gateway, fires(namespace, pod))["outcome"] == expected
        slowest = max(slowest, time.monotonic() - began)
    redis.resume()
    await adds_up(cluster, namespace, [2, 2])
    await settled(gateway)

    assert slowest < 4.5  # less than the 5 s of `PATIENT`, and than a machine that stands still for a while
    assert gateway.metric("gateway_dedup_fallback_total") - before == 3


async def test_over_two_replicas_redis_may_come_and_go_under_load(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    replicas = [start_gateway(redis=redis, cluster=cluster, settings=SHORT_LEASE) for _ in range(2)]
    bodies = [body(fires(namespace, f"pod-{number % 10}")) for number in range(1500)]

    load = asyncio.create_task(flood([replica.url for replica in replicas], bodies, at_once=16))
    await asyncio.sleep(0.5)
    redis.kill()
    await asyncio.sleep(0.7)
    await asyncio.to_thread(redis.restart)
    await asyncio.sleep(0.5)
    redis.pause()
    await asyncio.sleep(0.5)
    redis.resume()
    books = await load
    await adds_up(cluster, namespace, [150] * 10)
    await settled(*replicas)

    assert books.accepted == 1500
    check_marks(cluster.requests(namespace))


async def test_with_both_gone_the_answer_is_503_soon_and_the_retry_counts_once(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis()
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis, cluster=proxy, settings=PATIENT)
    assert send_one(gateway, fires(namespace))["outcome"] == "created"
    again, new = body(fires(namespace)), body(fires(namespace, "new"))

    redis.kill()
    proxy.set_rules([Rule(Fault.RESET)])
    for content in (again, new):
        began = time.monotonic()
        refused = ask(gateway, content)
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert time.monotonic() - began < 8
    assert gateway.get("/healthz")[0] == 200
    assert gateway.metric("gateway_requests_total", code="503", method="POST") == 2
    assert gateway.metric("gateway_alerts_received_total") == 1
    proxy.cut_watches()
    await eventually(lambda: gateway.get("/readyz")[0] == 503, "it to say that it is not ready", seconds=20)

    proxy.clear()
    await eventually(gateway.ready, "it to be ready again", seconds=15)
    assert gateway.post(PATH, again)[0] == 202
    assert gateway.post(PATH, new)[0] == 201
    await adds_up(cluster, namespace, [1, 2])
    redis.restart()
    await settled(gateway)
    await adds_up(cluster, namespace, [1, 2])
    check_marks(cluster.requests(namespace))


async def test_with_both_silent_the_answer_is_503_before_the_request_times_out(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis()
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis, cluster=proxy)
    content = body(fires(namespace))

    redis.pause()
    proxy.set_rules([Rule(Fault.SWALLOWED)])
    began = time.monotonic()
    refused = ask(gateway, content)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert time.monotonic() - began < 12

    proxy.clear()
    redis.resume()
    await eventually(
        lambda: gateway.post(PATH, content)[0] in (201, 202), "the retry to be taken", seconds=20
    )
    await adds_up(cluster, namespace, [1])
    await settled(gateway)
    await adds_up(cluster, namespace, [1])


async def test_what_was_taken_of_a_refused_webhook_is_not_counted_again_when_it_comes_back(
    start_gateway: StartGateway, start_fault_proxy: StartFaultProxy, cluster: Api, namespace: str
) -> None:
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=NO_REDIS, cluster=proxy, settings=PATIENT, wait="ready")
    missing = f"{namespace}-other"
    cluster.create_namespace(missing)
    try:
        proxy.set_rules([Rule(Fault.RESET, path=f"/namespaces/{missing}/", write=True)])
        content = body(fires(namespace), fires(missing), fires(namespace, "third"))
        for _ in range(2):
            assert ask(gateway, content).status == 503
        await adds_up(cluster, namespace, [1, 1])

        proxy.clear()
        assert ask(gateway, content).status == 201
        await adds_up(cluster, missing, [1])
        await adds_up(cluster, namespace, [1, 1])
        # The same bytes after a 2xx are new occurrences.
        assert ask(gateway, content).status == 202
        await adds_up(cluster, namespace, [2, 2])
        await adds_up(cluster, missing, [2])
    finally:
        cluster.remove_namespace(missing)


async def test_emptying_redis_again_and_again_under_load_loses_and_doubles_nothing(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=UNHURRIED) for _ in range(2)]
    bodies = [body(fires(namespace, f"pod-{number % 20}")) for number in range(2000)]

    load = asyncio.create_task(flood([replica.url for replica in replicas], bodies, at_once=16))
    with redis_server.client() as client:
        while not load.done():
            await asyncio.sleep(0.4)
            client.flushall()
    books = await load
    await adds_up(cluster, namespace, [100] * 20)
    await settled(*replicas)

    assert books.accepted == books.attempts == 2000
    assert sum(replica.metric("gateway_crds_created_total") for replica in replicas) == 20
    check_marks(cluster.requests(namespace))


async def test_requests_that_redis_forgot_are_made_by_the_repair(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(Fault.THROTTLED, write=True, resource=OURS, retry_after=1)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=UNHURRIED)

    for _ in range(2):
        for number in range(4):
            assert send_one(gateway, fires(namespace, f"pod-{number}"))["outcome"] == "queued"
    with redis_server.client() as client:
        client.flushall()
        # Before that, a write that was under way at the flush may still be as good as any other.
        await eventually(
            lambda: len(client.keys("gw:{0}:r:*")) == 4,
            "the repair to tell Redis again",
            seconds=40,
            every=0.1,
        )
    proxy.clear()
    await adds_up(cluster, namespace, [2] * 4)
    await settled(gateway)

    assert gateway.metric("gateway_crds_created_total", source="recovery") == 4
    assert gateway.metric("gateway_crds_created_total", source="immediate") == 0
    assert gateway.metric("gateway_alerts_deduplicated_total", reason="duplicate") == 4
