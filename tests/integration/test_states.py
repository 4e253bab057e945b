"""Open, closed, deleted, resolved: which request an alert counts on, and when a new one is made."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api, Json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.sight import (
    PATIENT,
    adds_up,
    count_of,
    fires,
    generation,
    is_open,
    predecessor,
    requests_of,
    resolved,
    resolved_at,
    send,
    send_one,
    settled,
)
from tests.integration.test_counting import check_marks
from tests.rig.fixtures import StartFaultProxy, StartGateway

TERMINAL = ["Completed", "Failed", "Cancelled", "TimedOut", "Skipped"]


@pytest.fixture
def gateway(start_gateway: StartGateway, redis_server: RedisServer, cluster: Api) -> GatewayProcess:
    return start_gateway(redis=redis_server, cluster=cluster, settings=PATIENT)


def name_of(verdict: Json) -> str:
    return str(verdict["request"]["name"])


async def test_each_terminal_phase_leads_to_a_next_request_that_names_the_one_before(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    firsts = {phase: send_one(gateway, fires(namespace, phase.lower())) for phase in TERMINAL}
    await requests_of(cluster, namespace, len(TERMINAL))
    for phase, first in firsts.items():
        cluster.set_phase(namespace, name_of(first), phase)
        send_one(gateway, fires(namespace, phase.lower()))  # at once, whatever the watch has shown by now
    requests = await requests_of(cluster, namespace, 2 * len(TERMINAL))
    await settled(gateway)

    by_name = {request["metadata"]["name"]: request for request in requests}
    nexts = [request for request in requests if generation(request) == 2]
    assert {predecessor(request) for request in nexts} == {name_of(first) for first in firsts.values()}
    assert all(count_of(request) == 1 for request in cluster.requests(namespace))
    for request in nexts:
        before = by_name[str(predecessor(request))]
        assert before["spec"]["signalFingerprint"] == request["spec"]["signalFingerprint"]
        assert not is_open(before)
        assert is_open(request)
        assert request["metadata"]["name"] == before["metadata"]["name"][:-1] + "2"
    check_marks(requests)


async def test_a_phase_on_the_way_closes_nothing(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    first = send_one(gateway, fires(namespace))
    await requests_of(cluster, namespace, 1)
    for phase in ("Pending", "Processing", "Executing"):
        cluster.set_phase(namespace, name_of(first), phase)
        assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [4])
    await settled(gateway)


async def test_a_deleted_request_has_a_successor_that_does_not_name_it(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    first = send_one(gateway, fires(namespace))
    send_one(gateway, fires(namespace))
    await adds_up(cluster, namespace, [2])

    cluster.delete_request(namespace, name_of(first))
    send_one(gateway, fires(namespace))
    (second,) = await requests_of(cluster, namespace, 1)
    await settled(gateway)

    assert generation(second) == 2
    assert predecessor(second) is None
    assert count_of(second) == 1


async def test_a_chain_of_requests_goes_on_across_closing_and_deleting(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    names = []
    for expected in (1, 2, 3):
        names.append(name_of(send_one(gateway, fires(namespace))))
        requests = await requests_of(cluster, namespace, expected)
        assert [generation(request) for request in requests] == list(range(1, expected + 1))
        cluster.set_phase(namespace, requests[-1]["metadata"]["name"], "Completed")
    cluster.delete_request(namespace, cluster.requests(namespace)[0]["metadata"]["name"])
    send_one(gateway, fires(namespace))
    await eventually(lambda: len([r for r in cluster.requests(namespace) if is_open(r)]) == 1, "an open one")
    await settled(gateway)

    assert [count_of(request) for request in cluster.requests(namespace)] == [1, 1, 1]
    newest = max(cluster.requests(namespace), key=generation)
    assert generation(newest) == 4
    assert predecessor(newest) in {request["metadata"]["name"] for request in cluster.requests(namespace)}


@pytest.mark.parametrize("deleted", [False, True], ids=["closed", "deleted"])
async def test_what_happened_while_the_watch_was_frozen_is_noticed_at_the_next_write(
    deleted: bool,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis_server, cluster=proxy)
    first = send_one(gateway, fires(namespace))
    send_one(gateway, fires(namespace))
    await adds_up(cluster, namespace, [2])
    await settled(gateway)

    proxy.set_rules([Rule(Fault.FREEZE)])
    if deleted:
        cluster.delete_request(namespace, name_of(first))
    else:
        cluster.set_phase(namespace, name_of(first), "Completed")
    # It cannot know yet, so the answer may call them duplicates; what counts is where they are counted.
    for _ in range(3):
        assert send(gateway, fires(namespace))[0] in (201, 202)
    await adds_up(cluster, namespace, [3] if deleted else [2, 3])
    await settled(gateway)
    proxy.clear()

    newest = max(cluster.requests(namespace), key=generation)
    assert (generation(newest), count_of(newest)) == (2, 3)
    assert predecessor(newest) == (None if deleted else name_of(first))
    await eventually(lambda: send_one(gateway, fires(namespace))["outcome"] == "duplicate", "a duplicate")
    check_marks(cluster.requests(namespace))


async def test_a_resolved_alert_marks_the_open_request_and_firing_anew_clears_the_mark(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    send_one(gateway, fires(namespace))
    status, (over,) = send(gateway, resolved(fires(namespace), ends_at="2026-01-31T09:30:00Z"))
    assert (status, over["outcome"]) == (202, "resolved")
    await eventually(lambda: marks_of(cluster, namespace) == ["2026-01-31T09:30:00.000000000Z"], "the mark")
    assert count_of(cluster.requests(namespace)[0]) == 1

    again = send_one(gateway, fires(namespace, starts_at="2026-01-31T10:00:00Z"))
    assert again["outcome"] == "duplicate"
    await eventually(lambda: marks_of(cluster, namespace) == [None], "the mark to go")
    await adds_up(cluster, namespace, [2])
    assert gateway.metric("gateway_alerts_resolved_total") == 1


def marks_of(cluster: Api, namespace: str) -> list[str | None]:
    """The times at which the requests' alerts ended, as they are marked."""
    return [resolved_at(request) for request in cluster.requests(namespace)]


async def test_a_stale_snapshot_counts_on_an_open_request_and_leaves_the_mark(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    send_one(gateway, fires(namespace))
    send(gateway, resolved(fires(namespace)))
    await eventually(lambda: marks_of(cluster, namespace)[0], "the mark")

    stale = send_one(gateway, fires(namespace))
    assert stale["outcome"] == "duplicate"
    older = send_one(gateway, fires(namespace, starts_at="2026-01-31T08:00:00Z"))
    assert older["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [3])
    await settled(gateway)

    assert marks_of(cluster, namespace) == ["2026-01-31T09:30:00.000000000Z"]


@pytest.mark.parametrize("forgotten", [False, True], ids=["redis knows", "redis was emptied"])
async def test_a_stale_snapshot_without_an_open_request_opens_nothing(
    forgotten: bool,
    gateway: GatewayProcess,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    first = send_one(gateway, fires(namespace))
    send(gateway, resolved(fires(namespace)))
    await eventually(lambda: marks_of(cluster, namespace)[0], "the mark")
    cluster.set_phase(namespace, name_of(first), "Completed")
    await eventually(lambda: not known_as_open(gateway, first), "the end of the request to be known")
    if forgotten:
        with redis_server.client() as client:
            client.flushall()

    status, (stale,) = send(gateway, fires(namespace))
    assert (status, stale["outcome"]) == (202, "resolved")
    await settled(gateway)
    assert len(cluster.requests(namespace)) == 1
    assert gateway.metric("gateway_alerts_resolved_total") == 2

    # A newer episode, and one that says no time, do open one.
    assert send_one(gateway, fires(namespace, starts_at="2026-01-31T11:00:00Z"))["outcome"] == "created"
    await requests_of(cluster, namespace, 2)


async def test_an_alert_that_says_no_time_is_never_stale(
    gateway: GatewayProcess, cluster: Api, namespace: str
) -> None:
    undated = {key: value for key, value in fires(namespace).items() if key not in ("startsAt", "endsAt")}
    first = send_one(gateway, undated)
    # An episode that ended is known, and it began later than any time of receipt.
    late = fires(namespace, starts_at="2100-01-01T00:00:00Z")
    send(gateway, resolved(late, ends_at="2100-01-01T01:00:00Z"))
    await eventually(lambda: marks_of(cluster, namespace)[0], "the mark")
    cluster.set_phase(namespace, name_of(first), "Completed")
    await eventually(lambda: not known_as_open(gateway, first), "the end of the request to be known")

    assert send_one(gateway, late)["outcome"] == "resolved"
    assert send_one(gateway, undated)["outcome"] == "created"
    await requests_of(cluster, namespace, 2)


def known_as_open(gateway: GatewayProcess, verdict: Json) -> bool:
    """Whether the gateway knows the request of a verdict as open."""
    status, text = gateway.get(f"/v1/alerts/{verdict['fingerprint']}")
    assert status == 200
    return b'"open":true' in text


@pytest.fixture
def vanishing(cluster: Api) -> Iterator[str]:
    """A namespace that the test deletes."""
    name = f"test-{os.urandom(5).hex()}"
    cluster.create_namespace(name)
    yield name
    cluster.remove_namespace(name)


@pytest.fixture
def late(cluster: Api) -> Iterator[str]:
    """A namespace that the test creates."""
    name = f"test-{os.urandom(5).hex()}"
    yield name
    cluster.remove_namespace(name)


async def test_a_namespace_of_which_the_gateway_has_not_heard_yet_gets_its_requests(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    late: str,
) -> None:
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=PATIENT)
    await eventually(lambda: '"what": "namespaces"' in gateway.log(), "the namespaces to be listed")
    proxy.set_rules([Rule(Fault.FREEZE)])
    cluster.create_namespace(late)
    send_one(gateway, fires(late))
    (request,) = await requests_of(cluster, late, 1)
    assert count_of(request) == 1


async def test_an_alert_without_a_namespace_that_exists_goes_to_the_fallback_with_its_origin_kept(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, vanishing: str
) -> None:
    settings = {**PATIENT, "kubernetes": {"fallback_namespace": namespace}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    # Fingerprints have to be this test's own wherever the request is stored.
    nowhere = {"alertname": "NoNamespace", "pod": namespace}
    odd = ["No Such_NS!", "x" * 64, f"missing-{namespace}"]

    assert send_one(gateway, fires(vanishing))["request"]["namespace"] == vanishing
    cluster.remove_namespace(vanishing)
    verdicts = [send_one(gateway, {"labels": nowhere})]
    verdicts += [send_one(gateway, fires(name, namespace)) for name in odd]
    verdicts.append(send_one(gateway, fires(vanishing, "after")))
    requests = await requests_of(cluster, namespace, 5)
    await settled(gateway)

    assert {verdict["outcome"] for verdict in verdicts} <= {"created", "queued"}
    assert {count_of(request) for request in requests} == {1}
    origins = {request["spec"]["signalLabels"].get("namespace") for request in requests}
    assert origins == {None, *odd, vanishing}
    again = send_one(gateway, fires(odd[0], namespace))
    assert (again["outcome"], again["request"]["namespace"]) == ("duplicate", namespace)
    await adds_up(cluster, namespace, [1, 1, 1, 1, 2])
