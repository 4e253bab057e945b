"""Aggregated requests that exist before their window's end, and grow."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import datetime

from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.rivals import repeatedly, rival_writer
from tests.integration.sight import count_of, fires, resolved, send, send_one, settled
from tests.integration.windows import (
    member_counts,
    once,
    pods,
    quick,
    source_of,
    stands,
    storms,
    window_of,
    windows_in,
)
from tests.rig.fixtures import StartGateway

EARLY = {"emit": "on_threshold"}


class Writes:
    """Sees every write to the requests of a namespace: when the gateway made it, what it was, and the count after it.

    When a write is seen says little: one that is seen late seems close to the next one.
    """

    def __init__(self, cluster: Api, namespace: str) -> None:
        self._cluster = cluster
        self._path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests"
        self._version = cluster.call("GET", self._path)["metadata"]["resourceVersion"]
        self.seen: list[tuple[float, str, int]] = []

    def look(self) -> None:
        """Watch for a second."""
        query = f"?watch=1&resourceVersion={self._version}&timeoutSeconds=1&allowWatchBookmarks=true"
        for event in self._cluster.lines(self._path + query):
            self._version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                made = datetime.fromisoformat(event["object"]["spec"]["deduplication"]["lastSeen"])
                self.seen.append((made.timestamp(), event["type"], count_of(event["object"])))


async def test_with_emit_on_threshold_the_request_is_there_early_and_grows_once_a_second_at_most(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = quick(hold="1m", inactivity="5s", **EARLY)
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(2)]

    writes = Writes(cluster, namespace)
    with repeatedly(writes.look, 0):
        # 0 s: two alerts wait. The third makes a storm of them, and its request is written.
        (window,) = windows_in(send(replicas[0], *pods(namespace, 0, 1))[1])
        assert storms(cluster, namespace) == []
        began = time.monotonic()
        send(replicas[1], *pods(namespace, 2))
        (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2)], seconds=3)
        # Then 20 a second for four seconds, half of them new.
        for number in range(80):
            await asyncio.sleep(max(0, began + 1 + number / 20 - time.monotonic()))
            send(replicas[number % 2], *pods(namespace, number // 2))
        expected = {f"p{number}": 2 for number in range(40)} | {f"p{number}": 3 for number in range(3)}
        await stands(cluster, namespace, storms=[expected])
        # 5 s after the last new one the window is over: members count on the request, others are new.
        await eventually(
            lambda: replicas[0].metric("gateway_storm_windows_open") == 0, "the window to end", seconds=20
        )
        assert send_one(replicas[0], fires(namespace, "p0"))["outcome"] == "duplicate"
        await stands(cluster, namespace, storms=[{**expected, "p0": 4}])
        await settled(*replicas)

    assert window_of(request) == window
    assert source_of(request) == "storm"
    moments = [at for at, _, _ in writes.seen]
    kinds = [kind for _, kind, _ in writes.seen]
    grown = [count for _, _, count in writes.seen]
    assert kinds == ["ADDED"] + ["MODIFIED"] * (len(kinds) - 1)
    assert grown == sorted(grown)
    assert 4 <= len(moments) <= 2 + moments[-1] - moments[0]
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) > 0.7


async def test_a_storm_that_was_written_stays_one_when_its_members_resolve(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = quick(hold="8s", inactivity="8s", **EARLY)
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)

    (window,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    await stands(cluster, namespace, storms=[once(0, 1, 2)], seconds=3)
    for pod in ("p0", "p1"):
        assert send_one(gateway, resolved(fires(namespace, pod)))["outcome"] == "resolved"
    # It is below the threshold, and still takes what is new.
    send(gateway, *pods(namespace, 3))
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2, 3)])
    await settled(gateway)

    assert window_of(request) == window
    assert gateway.metric("gateway_storm_buffer_expirations_total") == 0


async def test_an_early_request_that_is_closed_ends_its_window(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=quick(**EARLY))

    windows_in(send(gateway, *pods(namespace, 0, 1, 2))[1])
    (request,) = await stands(cluster, namespace, storms=[once(0, 1, 2)], seconds=3)
    cluster.set_phase(namespace, request["metadata"]["name"], "Failed")
    await settled(gateway)
    verdicts = [send_one(gateway, fires(namespace, f"p{pod}")) for pod in (0, 1, 2, 3, 4)]
    assert {verdict["outcome"] for verdict in verdicts} <= {"buffered", "duplicate"}
    await settled(gateway)

    requests = cluster.requests(namespace)
    held: dict[str, int] = {}
    for one in requests:
        if one["spec"]["isStorm"]:
            for pod, count in member_counts(one).items():
                held[pod] = held.get(pod, 0) + count
        else:
            pod = one["spec"]["signalLabels"]["pod"]
            held[pod] = held.get(pod, 0) + count_of(one)
    assert held == {"p0": 2, "p1": 2, "p2": 2, "p3": 1, "p4": 1}
    closed = next(one for one in requests if one["metadata"]["uid"] == request["metadata"]["uid"])
    assert member_counts(closed) == once(0, 1, 2)


async def test_a_request_that_spilled_grows_beside_a_rival_writer(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = quick(hold="6s", inactivity="6s", buffer_size=10)
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(2)]

    # The tenth member fills the buffer: it is written, long before the end.
    for number in range(10):
        windows_in(send(replicas[number % 2], *pods(namespace, number))[1])
    await stands(cluster, namespace, storms=[once(*range(10))], seconds=3)
    with rival_writer(cluster, namespace, interval=0.05) as written:
        for number in range(10, 64):
            send(replicas[number % 2], *pods(namespace, number, number - 10))
        expected = {f"p{number}": 2 if number < 54 else 1 for number in range(64)}
        (request,) = await stands(cluster, namespace, storms=[expected])
    await settled(*replicas)

    assert written
    assert "example.com/rival" in request["metadata"]["annotations"]
    assert sum(one.metric("gateway_storm_buffer_overflow_total") for one in replicas) == 6
