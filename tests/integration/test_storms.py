"""Windows as they usually end: as a storm in one request, or as a few alerts with a request each."""

from __future__ import annotations

import pytest

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.sight import PATIENT, fires, send, send_one, settled, words
from tests.integration.windows import (
    once,
    open_windows,
    own_count,
    pods,
    quick,
    source_of,
    stands,
    stored_members,
    storms,
    window_of,
    windows_in,
)
from tests.rig.fixtures import StartGateway


async def test_alerts_of_one_group_become_one_request_that_names_them_all(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    # At once: three alerts, two of which differ in severity and one in a label; then two more.
    _, first = send(
        gateway,
        fires(namespace, "p0", severity="warning", team="payments"),
        fires(namespace, "p1", team="payments"),
        fires(namespace, "p2", team="orders"),
    )
    _, then = send(gateway, *pods(namespace, 3, 4, team="payments"))
    assert [verdict["window"]["members"] for verdict in first + then] == [1, 2, 3, 4, 5]
    (window,) = windows_in(first + then)
    assert open_windows(redis_server) == 1
    # 3 s without a new alert: the window ends.
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 3, 4)])
    await settled(gateway)

    spec = request["spec"]
    assert request["metadata"]["name"] == f"rr-podoomkilled-storm-{window}"
    assert window_of(request) == window
    assert source_of(request) == "storm"
    assert spec["signalLabels"] == {"alertname": "PodOOMKilled", "namespace": namespace}
    assert spec["severity"] == "critical"
    by_pod = {member["labels"]["pod"]: member["labels"] for member in stored_members(request)}
    assert by_pod["p0"] == {"pod": "p0", "severity": "warning", "team": "payments"}
    assert by_pod["p2"] == {"pod": "p2", "severity": "critical", "team": "orders"}
    found = cluster.kubectl(
        "get", "rr", "-n", namespace, "-l", "remediation.kubernaut.io/storm=true", "-o", "name"
    )
    assert found.split() == [f"remediationrequest.remediation.kubernaut.io/rr-podoomkilled-storm-{window}"]
    assert gateway.metric("gateway_crds_created_total", source="storm") == 1
    assert gateway.metric("gateway_alerts_deduplicated_total", reason="storm") == 4
    assert gateway.metric("gateway_storm_windows_open") == 0


async def test_two_alerts_get_a_request_each_and_the_third_opens_another_window(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    # 0 s: two alerts, below the threshold of three.
    _, verdicts = send(gateway, *pods(namespace, 0, 1))
    (window,) = windows_in(verdicts)
    # 3 s: the hold is over.
    await stands(cluster, namespace, own=[("p0", 1), ("p1", 1)])
    # Then the third.
    third = send_one(gateway, fires(namespace, "p2"))
    assert third["outcome"] == "buffered"
    assert third["window"]["id"] != window
    assert third["window"]["members"] == 1
    await stands(cluster, namespace, own=[("p0", 1), ("p1", 1), ("p2", 1)])
    await settled(gateway)

    assert {source_of(request) for request in cluster.requests(namespace)} == {"buffer_expiration"}
    assert gateway.metric("gateway_storm_buffer_expirations_total") == 2
    assert gateway.metric("gateway_crds_created_total", source="buffer_expiration") == 3
    assert gateway.metric("gateway_crds_created_total") == 3
    # They have requests now: what fires again is a duplicate, and opens nothing.
    assert words(send(gateway, *pods(namespace, 0, 1, 2))[1]) == {"duplicate": 3}
    await stands(cluster, namespace, own=[("p0", 2), ("p1", 2), ("p2", 2)])
    assert open_windows(redis_server) == 0


async def test_one_problem_again_and_again_is_counted_and_makes_no_storm(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    for _ in range(5):
        _, verdicts = send(gateway, *pods(namespace, 0, 1))
        assert [verdict["window"]["members"] for verdict in verdicts][-1] == 2
    await stands(cluster, namespace, own=[("p0", 5), ("p1", 5)])
    await settled(gateway)

    assert gateway.metric("gateway_alerts_deduplicated_total", reason="duplicate") == 8


async def test_groups_do_not_mix(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())
    other = f"{namespace}-other"
    cluster.create_namespace(other)
    try:
        _, verdicts = send(
            gateway, *pods(namespace, 0, 1), *pods(other, 0, 1, 2), *pods(namespace, 9, name="NodeDown")
        )
        assert len(windows_in(verdicts)) == 3
        await stands(cluster, other, storms=[once(0, 1, 2)])
        await stands(cluster, namespace, own=[("p0", 1), ("p1", 1), ("p9", 1)])
    finally:
        cluster.remove_namespace(other)


# --- rules


async def test_the_first_rule_that_matches_says_who_waits_and_how(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    rules = [
        {"matchers": ['alertname="DiskFull"', 'tier="gold"'], "mode": "immediate"},
        {"matchers": ['alertname=~"Disk.*"'], "threshold": 2, "inactivity": "1s"},
        {"matchers": ['alertname="DiskFull"'], "mode": "immediate"},
        {"matchers": ['alertname="NodeDown"'], "hold": "1s", "threshold": 10},
    ]
    settings = {**quick(hold="10m", inactivity="10m", max_window="1h", rules=rules), **PATIENT}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)

    # A rule that comes first takes them out; those after it never see them.
    _, gold = send(gateway, *pods(namespace, 0, 1, 2, name="DiskFull", tier="gold"))
    assert words(gold) == {"created": 3}
    # Two are a storm here, and it is over after a second.
    _, disks = send(gateway, *pods(namespace, 3, 4, name="DiskFull"))
    assert words(disks) == {"buffered": 2}
    # Five are no storm here, and nobody waits longer than a second.
    _, nodes = send(gateway, *pods(namespace, 5, 6, 7, 8, 9, name="NodeDown"))
    assert words(nodes) == {"buffered": 5}
    # Others wait for ten minutes.
    _, others = send(gateway, *pods(namespace, 10, 11, 12))
    await stands(
        cluster,
        namespace,
        storms=[once(3, 4)],
        own=[(f"p{number}", 1) for number in (0, 1, 2, 5, 6, 7, 8, 9)],
    )

    sources = {
        own_count(r)[0]: source_of(r) for r in cluster.requests(namespace) if "applied" in str(r["metadata"])
    }
    assert {sources[f"p{number}"] for number in (0, 1, 2)} == {"immediate"}
    assert {sources[f"p{number}"] for number in (5, 6, 7, 8, 9)} == {"buffer_expiration"}
    assert windows_in(others)
    assert open_windows(redis_server) == 1


async def test_a_group_is_what_the_labels_of_group_by_say(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    # What has members in several namespaces goes to the fallback namespace: here that of the test.
    settings = {**quick(group_by=["zone", "rack"]), "kubernetes": {"fallback_namespace": namespace}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    other = f"{namespace}-other"
    cluster.create_namespace(other)
    try:
        _, verdicts = send(
            gateway,
            *pods(namespace, 0, 1, zone="a", rack="1"),
            *pods(other, 2, zone="a", rack="1"),
            *pods(namespace, 3, 4, zone="a", rack="2"),
            *pods(namespace, 5, zone="b", rack="1"),
            *pods(namespace, 6, 7, name="NodeDown", zone="a", rack="1"),
        )
        assert len(windows_in(verdicts)) == 4
        await eventually(lambda: len(cluster.requests(namespace)) == 6, "six requests", seconds=30, every=0.2)
        (request,) = storms(cluster, namespace)
        assert cluster.requests(other) == []
    finally:
        cluster.remove_namespace(other)

    assert request["spec"]["signalLabels"] == {
        "alertname": "PodOOMKilled",
        "severity": "critical",
        "zone": "a",
        "rack": "1",
    }
    assert {member["resource"] for member in stored_members(request)} == {
        f"{namespace}:Pod:p0",
        f"{namespace}:Pod:p1",
        f"{other}:Pod:p2",
    }


@pytest.mark.parametrize("regrouped", [False, True])
async def test_a_new_configuration_lets_open_windows_end_as_they_began(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, regrouped: bool
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick(hold="5s", inactivity="5s"))

    # A storm, and a group that is none yet.
    (storm,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    (calm,) = windows_in(send(gateway, *pods(namespace, 10, 11, name="NodeDown"))[1])
    gateway.terminate()
    gateway.settings["storm"] = {
        "hold": "1h",
        "inactivity": "1h",
        "max_window": "2h",
        "threshold": 50,
        "rules": [{"matchers": ['alertname="NodeDown"'], "mode": "immediate"}],
        **({"group_by": ["severity"]} if regrouped else {}),
    }
    gateway.start()
    members = once(0, 1, 2)
    if not regrouped:  # other groups are other problems, too
        again = send(gateway, *pods(namespace, 0))[1]
        assert windows_in(again) == {storm}
        members["p0"] = 2
    (request,) = await stands(cluster, namespace, storms=[members], own=[("p10", 1), ("p11", 1)])
    await settled(gateway)

    assert window_of(request) == storm != calm
    assert open_windows(redis_server) == 0
