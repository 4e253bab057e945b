"""The Kubernetes API throttles, fails, conflicts, is silent or away: accepted alerts wait, and then exist."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import (
    PATIENT,
    adds_up,
    ask,
    body,
    counts,
    fires,
    idle,
    requests_of,
    send,
    send_one,
    settled,
    status_of,
    words,
)
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartFaultProxy, StartGateway

OURS = "remediationrequests"
BACKOFF = "gateway_k8s_api_retry_backoff_seconds"
QUEUE = "gateway_k8s_api_request_queue_depth"
DOWN = Rule(Fault.UNAVAILABLE, write=True, resource=OURS)


def delays(gateway: GatewayProcess) -> list[float]:
    """The delays that the histogram observed, told apart by its buckets: each bucket's bound is one of them."""
    found, below = [], 0.0
    for bound in ("0.1", "0.2", "0.5", "1.0", "2.0", "4.0", "8.0", "16.0", "32.0", "60.0"):
        upto = gateway.metric(f"{BACKOFF}_bucket", le=bound)
        found += [float(bound)] * round(upto - below)
        below = upto
    return found


async def test_throttled_writes_wait_one_two_and_four_seconds_and_then_exist(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(Fault.THROTTLED, verbs=("create",), resource=OURS, times=3)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)

    status, (verdict,) = send(gateway, fires(namespace))
    assert (status, verdict["outcome"]) == (202, "queued")
    for _ in range(4):
        assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    await adds_up(cluster, namespace, [5])
    await settled(gateway)  # the request may be seen before the gateway has the answer

    assert cluster.requests(namespace)[0]["metadata"]["name"] == verdict["request"]["name"]
    assert delays(gateway) == [1.0, 2.0, 4.0]
    assert gateway.metric("gateway_k8s_api_errors_total", status="429") == 3
    assert gateway.metric("gateway_k8s_api_requests_total", verb="create", code="201") == 1


async def test_retry_after_is_obeyed(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    rule = Rule(Fault.THROTTLED, verbs=("create",), resource=OURS, times=1, retry_after=3)
    proxy = start_fault_proxy(cluster, [rule])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)

    began = time.monotonic()
    assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    await adds_up(cluster, namespace, [1])

    assert time.monotonic() - began >= 3
    assert gateway.metric(f"{BACKOFF}_sum") == 3
    assert proxy.count("throttled") == 1


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.UNAVAILABLE, Fault.RESET])
async def test_a_failing_api_delays_a_request_but_loses_nothing(
    fault: Fault,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(fault, write=True, resource=OURS, times=2)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)

    status, verdicts = send(gateway, fires(namespace), fires(namespace))
    assert status == 202
    assert words(verdicts) == {"queued": 2}
    await adds_up(cluster, namespace, [2])

    assert delays(gateway) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("conflicts", "expected", "updates"), [(2, [0.1, 0.2], 1), (5, [0.1, 0.1, 0.2, 0.5, 1.0], 2)]
)
async def test_conflicts_are_tried_again_after_100_200_and_400_ms_and_then_from_the_queue(
    conflicts: int,
    expected: list[float],
    updates: int,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(
        cluster, [Rule(Fault.CONFLICT, verbs=("patch",), resource=OURS, times=conflicts)]
    )
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings={**PATIENT, **STEADY})

    assert send_one(gateway, fires(namespace))["outcome"] == "created"
    send_one(gateway, fires(namespace))
    await adds_up(cluster, namespace, [2])
    await settled(gateway)

    assert sorted(delays(gateway)) == expected  # 400 ms are in the bucket up to half a second
    # Both metrics count updates; the one that went back to the queue is another one when it returns.
    assert gateway.metric("gateway_crd_update_conflicts_total") == updates
    assert gateway.metric("gateway_crd_update_retry_success_total") == 1


async def test_a_frozen_watch_changes_nothing_for_what_this_replica_wrote_itself(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(Fault.FREEZE)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=PATIENT)

    outcomes = [send_one(gateway, fires(namespace))["outcome"] for _ in range(6)]
    await adds_up(cluster, namespace, [6])
    await settled(gateway)

    assert outcomes == ["created"] + ["duplicate"] * 5


async def test_while_writes_fail_and_the_watch_is_frozen_alerts_are_queued_under_their_names(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)
    proxy.set_rules([Rule(Fault.FREEZE), DOWN])

    named = []
    for number in range(5):
        status, (verdict,) = send(gateway, fires(namespace, f"pod-{number}"))
        assert (status, verdict["outcome"]) == (202, "queued")
        named.append(verdict["request"]["name"])
    again = [send_one(gateway, fires(namespace, f"pod-{number}")) for number in range(5)]
    assert words(again) == {"queued": 5}
    await eventually(lambda: gateway.metric(QUEUE) == 5, "a queue of five")
    ready, text = gateway.get("/readyz")
    assert ready == 200
    assert not json.loads(text)["components"]["writes"]["ok"]

    proxy.clear()
    await adds_up(cluster, namespace, [2] * 5)
    await eventually(lambda: gateway.metric(QUEUE) == 0, "an empty queue")
    assert sorted(named) == sorted(request["metadata"]["name"] for request in cluster.requests(namespace))


async def test_a_full_queue_refuses_new_alerts_and_takes_duplicates(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [DOWN])
    settings = {**PATIENT, **STEADY, "queue": {"max_depth": 3}}
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=settings)
    queued = [fires(namespace, f"pod-{number}") for number in range(5)]
    new = fires(namespace, "one-too-many")

    # The depth was not reached before this webhook, so it is taken whole.
    assert send(gateway, *queued)[0] == 202
    await eventually(lambda: full(gateway, 5), "a queue that is known to be full")
    refused = ask(gateway, body(new))
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert send(gateway, queued[0])[0] == 202
    mixed = body(queued[1], new)
    assert ask(gateway, mixed).status == 503

    proxy.clear()
    await eventually(lambda: not status_of(gateway)["queue"]["failing"], "writes to pass again", seconds=20)
    await adds_up(cluster, namespace, [1, 1, 1, 2, 2])
    # What the sender was refused it sends again: the part that was taken before is not counted twice.
    assert gateway.post(PATH, mixed)[0] == 201
    await adds_up(cluster, namespace, [1, 1, 1, 1, 2, 2])
    await settled(gateway)
    assert counts(cluster, namespace) == [1, 1, 1, 1, 2, 2]


def full(gateway: GatewayProcess, depth: int) -> bool:
    queue = status_of(gateway)["queue"]
    return bool(queue["failing"]) and queue["depth"] >= depth


async def test_a_gateway_that_starts_without_the_api_takes_alerts_and_writes_them_when_it_comes(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(Fault.RESET)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY, wait="ready")

    outcomes = [send_one(gateway, fires(namespace))["outcome"] for _ in range(3)]
    proxy.clear()
    returned = time.monotonic()
    await adds_up(cluster, namespace, [3])
    await settled(gateway)

    assert outcomes == ["queued"] * 3
    assert time.monotonic() - returned < 17  # within 15 s of the return, and a little for looking


async def test_a_fallen_api_server_is_missed_by_nobody_who_sends_alerts(
    start_gateway: StartGateway, redis_server: RedisServer, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    gateway = start_gateway(redis=redis_server, cluster=plane, settings=STEADY)
    plane.api.create_namespace("prod-api")
    send_one(gateway, fires("prod-api"))
    await adds_up(plane.api, "prod-api", [1])
    await settled(gateway)  # it has the answer, too, and so knows the request

    plane.server.kill()
    duplicate = send_one(gateway, fires("prod-api"))
    new = send_one(gateway, fires("prod-api", "other"))
    plane.restart_server()
    requests = await requests_of(plane.api, "prod-api", 2)
    await adds_up(plane.api, "prod-api", [1, 2])
    await eventually(lambda: idle(gateway), "everything to be confirmed", seconds=30)

    assert (duplicate["outcome"], new["outcome"]) == ("duplicate", "queued")
    assert new["request"]["name"] in {request["metadata"]["name"] for request in requests}
