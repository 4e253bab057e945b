"""Exact counts while the API performs writes and their answers are lost.

The run with a thousand duplicates is made three times; `LOST_ANSWER_RUNS=10` makes more, each with other draws.
"""

from __future__ import annotations

import json
import os

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH, flood
from tests.integration.rivals import rival_writer
from tests.integration.sight import (
    PATIENT,
    UNHURRIED,
    adds_up,
    body,
    counts,
    fires,
    kubectl_counts,
    settled,
)
from tests.integration.test_counting import check_marks
from tests.integration.windows import total
from tests.rig.fixtures import StartFaultProxy, StartGateway

OURS = "remediationrequests"
LOST = Rule(Fault.ANSWER_LOST, share=0.2, verbs=("create", "patch"), resource=OURS)
NO_REDIS = "redis://127.0.0.1:1/0"
LAGGING = Rule(Fault.DELAY, share=0.3, verbs=("patch",), resource=OURS, seconds=0.03, jitter=0.02)
"""Some counts arrive late, so that the rival's write is there first: a conflict."""
OFTEN = {**UNHURRIED, "dedup": {"write_interval": "50ms"}, "queue": {"lease": "3s"}}
"""Many writes, so that many answers can be lost; and what a lost reply of Redis leaves claimed is free again soon."""
RUNS = int(os.environ.get("LOST_ANSWER_RUNS") or 3)


def lost(verb: str) -> Rule:
    """One write is performed, and its connection cut."""
    return Rule(Fault.ANSWER_LOST, verbs=(verb,), resource=OURS, times=1)


def silent(verb: str) -> Rule:
    """One write is performed and never answered: the gateway gives it up after ten seconds."""
    return Rule(Fault.HANG, verbs=(verb,), resource=OURS, times=1)


async def test_a_first_alert_whose_answers_are_lost_and_ten_duplicates_make_eleven(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [lost("create"), lost("patch"), LOST])
    # The request is there before the duplicates are, so that they need another write than it did.
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings={**PATIENT, **OFTEN})

    status, answer = gateway.post(PATH, body(fires(namespace)))
    first = json.loads(answer)["alerts"][0]
    with rival_writer(cluster, namespace):
        books = await flood([gateway.url], [body(fires(namespace))] * 10, at_once=10)
        await adds_up(cluster, namespace, [11])
        await settled(gateway)

    assert status in (201, 202)
    assert books.accepted == books.attempts == 10
    assert kubectl_counts(cluster, namespace) == "11"
    assert cluster.requests(namespace)[0]["metadata"]["name"] == first["request"]["name"]
    assert proxy.count("answer lost") >= 2


@pytest.mark.parametrize("run", range(RUNS))
async def test_a_thousand_duplicates_over_two_replicas_with_a_fifth_of_all_answers_lost(
    run: int,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [LAGGING, lost("create"), lost("patch"), LOST], seed=run)
    replicas = [start_gateway(redis=redis_server, cluster=proxy, settings=OFTEN) for _ in range(2)]

    def conflicts() -> float:
        return total(replicas, "gateway_crd_update_conflicts_total")

    wave = 0
    with rival_writer(cluster, namespace):
        # In ten waves: one would be so few writes that hardly an answer could be lost. In more, until the rival was
        # quicker once.
        while wave < 10 or not conflicts():
            wave += 1
            assert wave <= 60, "the rival is never quicker"
            books = await flood([replica.url for replica in replicas], [body(fires(namespace))] * 100)
            assert books.accepted == books.attempts == 100
            await adds_up(cluster, namespace, [100 * wave], seconds=60)
        await settled(*replicas)

    writes = total(replicas, "gateway_k8s_api_requests_total", verb="patch")
    print(
        f"run {run}: {proxy.count('answer lost')} answers lost, {conflicts():g} conflicts, {writes:g} patches"
    )
    assert kubectl_counts(cluster, namespace) == str(100 * wave)
    assert proxy.count("answer lost") > 2
    assert conflicts() > 0
    check_marks(cluster.requests(namespace))


async def test_a_write_that_is_never_answered_counts_once(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster, [silent("create"), silent("patch")])
    replicas = [start_gateway(redis=redis_server, cluster=proxy, settings=OFTEN) for _ in range(2)]

    # The first problem's request is silent when it is made, the other one's when it is counted on.
    bodies = [body(fires(namespace, f"pod-{number % 2}")) for number in range(200)]
    for half in (bodies[:100], bodies[100:]):
        books = await flood([replica.url for replica in replicas], half)
        assert books.accepted == books.attempts == 100
        # What comes later than both requests are there has to be counted on.
        await eventually(lambda: len(counts(cluster, namespace)) == 2, "both requests", seconds=40, every=0.1)
    await adds_up(cluster, namespace, [100, 100])
    await settled(*replicas)

    assert proxy.count("hang") == 2
    assert counts_by_kubectl(cluster, namespace) == [100, 100]
    check_marks(cluster.requests(namespace))


async def test_without_redis_lost_answers_count_once_too_even_when_the_sender_sends_again(
    start_gateway: StartGateway, start_fault_proxy: StartFaultProxy, cluster: Api, namespace: str
) -> None:
    proxy = start_fault_proxy(cluster, [silent("patch"), LOST], seed=3)
    replicas = [start_gateway(redis=NO_REDIS, cluster=proxy, wait="ready") for _ in range(2)]
    bodies = [body(fires(namespace, f"pod-{number % 5}")) for number in range(200)]

    books = await flood([replica.url for replica in replicas], bodies, at_once=10)
    await adds_up(cluster, namespace, [40] * 5)
    await settled(*replicas)

    assert books.accepted == 200
    assert proxy.count("answer lost") > 5
    assert counts_by_kubectl(cluster, namespace) == [40] * 5
    check_marks(cluster.requests(namespace))


def counts_by_kubectl(cluster: Api, namespace: str) -> list[int]:
    return sorted(int(word) for word in kubectl_counts(cluster, namespace).split())
