"""What becomes of single members: open requests of their own, later occurrences, resolutions, closed requests."""

from __future__ import annotations

import asyncio
import itertools
import json

from chaos.rig.api import Api, Json
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import flood
from tests.integration.sight import PATIENT, body, fires, resolved, send, send_one, settled, words
from tests.integration.windows import (
    member_counts,
    once,
    open_windows,
    pods,
    quick,
    source_of,
    stands,
    stored_members,
    total,
    until_known,
    until_over,
    window_of,
    windows_in,
)
from tests.rig.fixtures import StartGateway

NO_REDIS = "redis://127.0.0.1:1/0"
LATER = "2026-01-31T10:00:00Z"


async def test_an_alert_with_an_open_request_is_counted_there_and_left_out_of_the_storm(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    rules = [{"matchers": ['tier="gold"'], "mode": "immediate"}]
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings={**quick(rules=rules), **PATIENT})

    # One has its request before the others fire, by a rule.
    assert send_one(gateway, fires(namespace, "p0", tier="gold"))["outcome"] == "created"
    _, verdicts = send(
        gateway, *pods(namespace, 1, 2, 3), fires(namespace, "p0", tier="gold"), fires(namespace, "p0")
    )
    assert words(verdicts) == {"buffered": 3, "duplicate": 2}
    await stands(cluster, namespace, storms=[once(1, 2, 3)], own=[("p0", 3)])
    await settled(gateway)

    assert gateway.metric("gateway_crds_created_total") == 2
    assert gateway.metric("gateway_alerts_deduplicated_total", reason="duplicate") == 2
    assert gateway.metric("gateway_alerts_deduplicated_total", reason="storm") == 2


async def test_a_member_that_got_a_request_meanwhile_is_counted_there_and_left_out(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick(hold="6s", inactivity="6s"))
    cut_off = start_gateway(redis=NO_REDIS, cluster=cluster, settings={**quick(), **PATIENT}, wait="ready")

    # 0 s: five members. Then a replica without Redis takes two of them, and writes a request for each.
    windows_in(send(gateway, *pods(namespace, 0, 1, 2, 3, 4))[1])
    for pod in ("p0", "p1"):
        assert send_one(cut_off, fires(namespace, pod))["outcome"] == "created"
    await stands(cluster, namespace, storms=[once(2, 3, 4)], own=[("p0", 2), ("p1", 2)])
    await settled(gateway, cut_off)
    # They go on there.
    assert words(send(gateway, *pods(namespace, 0, 1, 2))[1]) == {"duplicate": 3}
    await stands(cluster, namespace, storms=[{**once(3, 4), "p2": 2}], own=[("p0", 3), ("p1", 3)])


async def test_where_all_members_have_requests_there_is_no_storm(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick(hold="6s", inactivity="6s"))
    cut_off = start_gateway(redis=NO_REDIS, cluster=cluster, settings={**quick(), **PATIENT}, wait="ready")

    windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    for pod in ("p0", "p1", "p2"):
        assert send_one(cut_off, fires(namespace, pod))["outcome"] == "created"
    await stands(cluster, namespace, own=[("p0", 2), ("p1", 2), ("p2", 2)])
    await settled(gateway, cut_off)
    await stands(cluster, namespace, own=[("p0", 2), ("p1", 2), ("p2", 2)])


async def test_later_occurrences_count_on_the_aggregated_request_in_total_and_for_the_member(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=quick()) for _ in range(2)]

    _, verdicts = send(replicas[0], *pods(namespace, 0, 1, 2, 3))
    windows_in(verdicts)
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 3)])
    for replica in replicas:
        await until_known(replica, verdicts[0]["fingerprint"])
    books = await flood([one.url for one in replicas], [body(*pods(namespace, 0, 1))] * 200, at_once=10)
    books_of_one = await flood([one.url for one in replicas], [body(*pods(namespace, 2))] * 50, at_once=10)
    (grown,) = await stands(cluster, namespace, storms=[{"p0": 201, "p1": 201, "p2": 51, "p3": 1}])
    await settled(*replicas)

    assert books.outcomes == {"duplicate": 400}
    assert books_of_one.outcomes == {"duplicate": 50}
    assert grown["metadata"]["uid"] == request["metadata"]["uid"]
    assert grown["spec"]["deduplication"]["occurrenceCount"] == 454
    assert total(replicas, "gateway_alerts_deduplicated_total", reason="storm") == 453


async def test_a_closed_aggregated_request_is_counted_on_no_more(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    # A storm; a controller completes it.
    _, verdicts = send(gateway, *pods(namespace, 0, 1, 2, 3))
    (first,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 3)])
    cluster.set_phase(namespace, first["metadata"]["name"], "Completed")
    await until_over(gateway, verdicts[0]["fingerprint"])
    # One of them fires again: a window of its own, and a request after the hold.
    held = send_one(gateway, fires(namespace, "p0"))
    assert (held["outcome"], held["window"]["id"] == window_of(first)) == ("buffered", False)
    await eventually(lambda: len(cluster.requests(namespace)) == 2, "the request of p0", seconds=20)
    await settled(gateway)
    (own,) = (
        one for one in cluster.requests(namespace) if one["metadata"]["uid"] != first["metadata"]["uid"]
    )
    assert source_of(own) == "buffer_expiration"
    before = own["spec"]["deduplication"]["occurrenceCount"]
    # The others again: a storm again, and p0 is counted on its own.
    again = windows_in(send(gateway, *pods(namespace, 1, 2, 3))[1])
    assert send_one(gateway, fires(namespace, "p0"))["outcome"] == "duplicate"
    requests = await stands(
        cluster,
        namespace,
        storms=[member_counts(newest(cluster, namespace, first)), once(1, 2, 3)],
        own=[("p0", before + 1)],
    )
    await settled(gateway)

    assert again == {window_of(one) for one in requests} - {window_of(first)}


def newest(cluster: Api, namespace: str, one: Json) -> Json:
    """A request as it is now."""
    return next(r for r in cluster.requests(namespace) if r["metadata"]["uid"] == one["metadata"]["uid"])


async def test_a_deleted_aggregated_request_is_no_longer_counted_on(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    _, verdicts = send(gateway, *pods(namespace, 0, 1, 2))
    windows_in(verdicts)
    (first,) = await stands(cluster, namespace, storms=[once(0, 1, 2)])
    await settled(gateway)
    cluster.delete_request(namespace, first["metadata"]["name"])

    def seen() -> bool:
        status, text = gateway.get(f"/v1/alerts/{verdicts[0]['fingerprint']}")
        return status == 404 or not any(one["open"] for one in json.loads(text)["requests"])

    await eventually(seen, "the deletion to be seen")
    assert send_one(gateway, fires(namespace, "p9"))["outcome"] == "buffered"
    (next_window,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 9)])
    await settled(gateway)

    assert next_window == window_of(request) != window_of(first)


async def test_what_resolves_before_the_end_leaves_the_window(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=quick()) for _ in range(2)]
    both = itertools.cycle(replicas)

    # 0 s: five fire, p0 and p4 twice. Then these two are over, as the other replica hears.
    for alerts in (pods(namespace, 0, 1, 2, 3, 4), pods(namespace, 0, 4)):
        windows_in(send(next(both), *alerts)[1])
    assert words(send(next(both), *(resolved(one) for one in pods(namespace, 0)))[1]) == {"resolved": 1}
    assert words(send(next(both), *(resolved(one) for one in pods(namespace, 4)))[1]) == {"resolved": 1}
    # A late delivery of the old episode brings it back no more; a new episode does.
    assert send_one(next(both), fires(namespace, "p0"))["outcome"] == "resolved"
    assert send_one(next(both), fires(namespace, "p4", starts_at=LATER))["outcome"] == "buffered"
    await stands(cluster, namespace, storms=[once(1, 2, 3, 4)])
    await settled(*replicas)

    received = total(replicas, "gateway_alerts_received_total")
    assert received == 11
    assert total(replicas, "gateway_crds_created_total") == 1
    assert total(replicas, "gateway_alerts_deduplicated_total") == 3
    assert total(replicas, "gateway_alerts_resolved_total") == received - 4


async def test_a_window_that_falls_empty_vanishes_without_a_request(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    # A storm of three, and all of them are over.
    (first,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    assert words(send(gateway, *(resolved(one) for one in pods(namespace, 0, 1, 2)))[1]) == {"resolved": 3}
    assert open_windows(redis_server) == 0
    await settled(gateway)
    # 4 s: its time has come and gone.
    await asyncio.sleep(4)
    assert cluster.requests(namespace) == []
    (second,) = windows_in(send(gateway, *pods(namespace, 3, 4, 5))[1])
    await stands(cluster, namespace, storms=[once(3, 4, 5)])

    assert first != second
    assert gateway.metric("gateway_storm_buffer_expirations_total") == 0
    assert gateway.metric("gateway_alerts_resolved_total") == 6


async def test_a_storm_that_falls_below_its_threshold_before_it_was_written_is_none(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    assert send_one(gateway, resolved(fires(namespace, "p1")))["outcome"] == "resolved"
    await stands(cluster, namespace, own=[("p0", 1), ("p2", 1)])
    await settled(gateway)

    assert {source_of(request) for request in cluster.requests(namespace)} == {"buffer_expiration"}
    assert gateway.metric("gateway_storm_buffer_expirations_total") == 1


async def test_a_member_that_resolves_after_the_end_is_marked_until_it_fires_again(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick())

    windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    await stands(cluster, namespace, storms=[once(0, 1, 2)])

    def marked() -> list[str]:
        (request,) = cluster.requests(namespace)
        return [one["labels"]["pod"] for one in stored_members(request) if one.get("resolvedAt")]

    assert send_one(gateway, resolved(fires(namespace, "p1")))["outcome"] == "resolved"
    await eventually(lambda: marked() == ["p1"], "p1 to be marked as resolved", seconds=20, every=0.1)
    # Late news of the old episode counts, and the mark stays; a new episode clears it.
    assert send_one(gateway, fires(namespace, "p1"))["outcome"] == "duplicate"
    await stands(cluster, namespace, storms=[{**once(0, 2), "p1": 2}])
    assert marked() == ["p1"]
    assert send_one(gateway, fires(namespace, "p1", starts_at=LATER))["outcome"] == "duplicate"
    await eventually(lambda: marked() == [], "the mark to go", seconds=20, every=0.1)
    await stands(cluster, namespace, storms=[{**once(0, 2), "p1": 3}])
    await settled(gateway)
