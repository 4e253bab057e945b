"""Exact counts on real components: concurrency, replicas, rival writers, controllers that close and delete."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import Books, alert, flood, webhook
from tests.integration.rivals import repeatedly, rival_writer
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway

COUNT = "jsonpath={.spec.deduplication.occurrenceCount}"


def body(namespace: str, **labels: str) -> bytes:
    return json.dumps(webhook(alert(namespace=namespace, **{"pod": "payment-7d4b", **labels}))).encode()


def count(cluster: Api, namespace: str) -> str:
    """What an operator sees: `occurrenceCount` of the only request of the namespace."""
    return cluster.kubectl(
        "get",
        "remediationrequest",
        "-n",
        namespace,
        "-o",
        "jsonpath={.items[*].spec.deduplication.occurrenceCount}",
    )


async def holds(cluster: Api, namespace: str, expected: int) -> None:
    await eventually(
        lambda: count(cluster, namespace) == str(expected),
        f"one request with {expected} occurrences",
        seconds=30,
        every=0.3,
    )


async def test_a_first_alert_and_ten_concurrent_duplicates_make_eleven(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    # A cold API server may take longer for its first object than a sender is made to wait by default.
    patient = {"server": {"ack_wait": "5s"}}
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=patient)

    status, answer = gateway.post("/v1/webhooks/prometheus", body(namespace))
    first = json.loads(answer)
    assert status == 201, answer
    assert first["alerts"][0]["outcome"] == "created"
    with rival_writer(cluster, namespace) as written:
        books = await flood([gateway.url], [body(namespace)] * 10, at_once=10)
        await holds(cluster, namespace, 11)

    assert books.outcomes == {"duplicate": 10}
    assert written
    name = first["alerts"][0]["request"]["name"]
    assert cluster.kubectl("get", "rr", name, "-n", namespace, "-o", COUNT) == "11"
    assert "example.com/rival" in cluster.requests(namespace)[0]["metadata"]["annotations"]


async def test_a_thousand_duplicates_over_two_replicas_and_a_rival(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    urls = [start_gateway(redis=redis_server, cluster=cluster, settings=STEADY).url for _ in range(2)]

    with rival_writer(cluster, namespace):
        books = await flood(urls, [body(namespace)] * 1000)
        await holds(cluster, namespace, 1000)

    assert books.accepted == books.attempts == 1000
    check_marks(cluster.requests(namespace))


async def test_without_redis_a_thousand_duplicates_are_counted_in_kubernetes_alone(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    urls = [start_gateway(redis="redis://127.0.0.1:1/0", cluster=cluster, wait="ready").url for _ in range(2)]

    books = await flood(urls, [body(namespace)] * 300, at_once=20)
    await holds(cluster, namespace, 300)

    assert books.accepted == 300
    check_marks(cluster.requests(namespace))


async def test_closing_and_deleting_under_load_never_opens_two_and_never_counts_on_a_closed_one(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    urls = [start_gateway(redis=redis_server, cluster=cluster, settings=STEADY).url for _ in range(2)]
    witness = Witness(cluster, namespace)
    acts = iter(range(10_000))

    def controller() -> None:
        for request in cluster.requests(namespace):
            if request.get("status", {}).get("overallPhase") in (None, ""):
                if next(acts) % 3 == 2:
                    cluster.delete_request(namespace, request["metadata"]["name"])
                else:
                    cluster.set_phase(namespace, request["metadata"]["name"], "Completed")

    books = Books()
    with repeatedly(witness.look, 0.02):
        with repeatedly(controller, 0.1):
            books = await flood(urls, [body(namespace)] * 3000, at_once=20)
        await eventually(lambda: settled(urls), "everything to be confirmed", seconds=30)
        witness.look()

    assert books.accepted == 3000
    assert witness.total() == 3000
    assert witness.most_open == 1
    assert len(witness.seen) > 3
    assert witness.counted_when_closed == []
    check_marks(list(witness.seen.values()))


class Witness:
    """Watches a namespace closely, empty at first, and remembers every request as it last was."""

    def __init__(self, cluster: Api, namespace: str) -> None:
        self._cluster = cluster
        self._path = f"/apis/remediation.kubernaut.io/v1alpha1/namespaces/{namespace}/remediationrequests"
        listed = cluster.call("GET", self._path)
        assert not listed["items"]
        self._version = listed["metadata"]["resourceVersion"]
        self.seen: dict[str, dict[str, Any]] = {}
        self.most_open = 0
        self.counted_when_closed: list[str] = []

    def look(self) -> None:
        """Replay everything that happened since the last look, event by event."""
        query = f"?watch=1&resourceVersion={self._version}&timeoutSeconds=1&allowWatchBookmarks=true"
        for event in self._cluster.lines(self._path + query):
            found = event["object"]
            self._version = found["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            uid = found["metadata"]["uid"]
            before = self.seen.get(uid)
            if before is not None and closed(before) and counted(before) != counted(found):
                self.counted_when_closed.append(found["metadata"]["name"])
            if event["type"] == "DELETED":
                found.setdefault("status", {})["overallPhase"] = "Deleted"
            self.seen[uid] = found
            self.most_open = max(
                self.most_open, sum(1 for request in self.seen.values() if not closed(request))
            )

    def total(self) -> int:
        return sum(counted(request) for request in self.seen.values())


def closed(request: dict[str, Any]) -> bool:
    return bool(request.get("status", {}).get("overallPhase"))


def counted(request: dict[str, Any]) -> int:
    return int(request["spec"]["deduplication"]["occurrenceCount"])


def settled(urls: list[str]) -> bool:
    """Nothing is unconfirmed and nothing is queued, anywhere."""
    for url in urls:
        with urllib.request.urlopen(f"{url}/v1/status", timeout=5) as answer:
            status = json.load(answer)
        if status["unconfirmed"] or status["queue"]["depth"]:
            return False
    return True


def check_marks(requests: list[dict[str, Any]]) -> None:
    """`occurrenceCount` is the sum of the marks, in every request."""
    assert requests
    for request in requests:
        applied = json.loads(request["metadata"]["annotations"]["remediation.kubernaut.io/applied"])
        total = 0
        for slots in applied.values():
            for mark in slots.values():
                for interval in mark.split(","):
                    low, _, high = interval.partition("-")
                    total += int(high) - int(low)
        assert total == counted(request), request["metadata"]["name"]
