"""What tests of storms send and see: quick windows, members of aggregated requests, buffers in Redis."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from chaos.rig.api import Api, Json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.rivals import repeatedly
from tests.integration.sight import count_of, fires

SOURCE = "remediation.kubernaut.io/source"
WINDOW = "remediation.kubernaut.io/window"

STEADY = {"redis": {"timeout": "1s"}}
"""On a machine that runs many tests at once a call can take far more than 10 ms. What Redis does not take in time gets
its request at once, which is right, but not what most of these tests are about."""


def quick(**storm: Any) -> dict[str, Any]:
    """Settings with windows of seconds."""
    return {**STEADY, "storm": {"hold": "3s", "inactivity": "3s", **storm}, "queue": {"lease": "3s"}}


def pods(namespace: str, *numbers: int, **labels: str) -> list[dict[str, object]]:
    """One firing alert for each number: about the pods `p0`, `p1` …"""
    return [fires(namespace, f"p{number}", **labels) for number in numbers]


def once(*numbers: int) -> dict[str, int]:
    """Each of these pods with one occurrence."""
    return dict.fromkeys((f"p{number}" for number in numbers), 1)


# --- requests


def is_storm(request: Json) -> bool:
    return bool(request["metadata"]["labels"].get("remediation.kubernaut.io/storm") == "true")


def storms(cluster: Api, namespace: str) -> list[Json]:
    """The aggregated requests of the namespace, as an operator finds them."""
    return cluster.requests(namespace, selector="remediation.kubernaut.io/storm=true")


def source_of(request: Json) -> str:
    return str(request["metadata"]["annotations"].get(SOURCE, ""))


def window_of(request: Json) -> str:
    return str(request["metadata"]["labels"][WINDOW])


def stored_members(request: Json) -> list[Json]:
    """The members of an aggregated request, in the order in which they joined."""
    members: list[Json] = json.loads(base64.b64decode(request["spec"]["providerData"]))["members"]
    return members


def member_counts(request: Json) -> dict[str, int]:
    """Pod → how often it fired. Fails where the object does not agree with itself."""
    spec = request["spec"]
    found: dict[str, int] = {}
    for member in stored_members(request):
        labels = {**spec["signalLabels"], **member["labels"]}
        assert labels["pod"] not in found, "one member twice"
        assert member["occurrences"] == _marked(member["marks"].values())
        assert member["startsAt"]
        found[labels["pod"]] = member["occurrences"]
    assert spec["isStorm"] is True
    assert spec["stormType"]
    assert spec["stormAlertCount"] == len(found)
    assert count_of(request) == sum(found.values())
    where = spec["signalLabels"]["namespace"]
    assert set(spec["affectedResources"]) == {f"{where}:Pod:{pod}" for pod in found}
    assert len(spec["affectedResources"]) == len(found)
    return found


def own_count(request: Json) -> tuple[str, int]:
    """Pod and count of a request that holds one alert. Fails where the object does not agree with itself."""
    marks = [
        mark
        for slots in json.loads(
            request["metadata"]["annotations"]["remediation.kubernaut.io/applied"]
        ).values()
        for mark in slots.values()
    ]
    assert _marked(marks) == count_of(request)
    return request["spec"]["signalLabels"]["pod"], count_of(request)


def _marked(marks: Any) -> int:
    total = 0
    for mark in marks:
        for interval in mark.split(","):
            low, _, high = interval.partition("-")
            total += int(high) - int(low)
    return total


def holdings(cluster: Api, namespace: str) -> tuple[list[dict[str, int]], list[tuple[str, int]]]:
    """What all requests of the namespace hold: the members of each aggregated one, and the own ones."""
    requests = cluster.requests(namespace)
    aggregated = [member_counts(request) for request in requests if is_storm(request)]
    own = [own_count(request) for request in requests if not is_storm(request)]
    return sorted(aggregated, key=_order), sorted(own)


def _order(members: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(members.items())


async def stands(
    cluster: Api,
    namespace: str,
    *,
    storms: Sequence[Mapping[str, int]] = (),
    own: Sequence[tuple[str, int]] = (),
    seconds: float = 40,
) -> list[Json]:
    """Wait until the namespace holds exactly these aggregated requests (pod → count each) and own ones, and nothing
    else. Returns the aggregated ones, in the order of their first member."""
    wanted = sorted((dict(one) for one in storms), key=_order), sorted(own)
    found: list[Any] = [None]

    def equal() -> bool:
        found[0] = holdings(cluster, namespace)
        return bool(found[0] == wanted)

    try:
        await eventually(equal, "the requests", seconds=seconds, every=0.2)
    except TimeoutError:
        raise TimeoutError(f"after {seconds:g} s the requests hold\n{found[0]}\nand not\n{wanted}") from None
    return sorted(
        (request for request in cluster.requests(namespace) if is_storm(request)),
        key=lambda request: _order(member_counts(request)),
    )


# --- windows


def windows_in(verdicts: Sequence[Json]) -> set[str]:
    """The ids of the windows that verdicts name; every one of them must be held."""
    assert {verdict["outcome"] for verdict in verdicts} == {"buffered"}, verdicts
    return {verdict["window"]["id"] for verdict in verdicts}


async def until_over(gateway: GatewayProcess, fingerprint: str) -> None:
    """Until the replica has seen that the aggregated request of an alert is closed. What it takes before that still
    belongs to the old window, and is released from it."""

    def over() -> bool:
        (storm,) = json.loads(gateway.get(f"/v1/alerts/{fingerprint}")[1])["storms"]
        return not storm["open"]

    await eventually(over, "the replica to see the aggregated request closed")


async def until_known(gateway: GatewayProcess, fingerprint: str) -> None:
    """Until the replica has seen an open request that holds an alert: its watch may be behind the API server."""

    def known() -> bool:
        told = json.loads(gateway.get(f"/v1/alerts/{fingerprint}")[1])
        return any(one["open"] for one in (*told.get("requests", ()), *told.get("storms", ())))

    await eventually(known, "the replica to see the open request", seconds=20)


def open_windows(server: RedisServer) -> int:
    """How many windows collect members now."""
    with server.client() as client:
        return sum(int(client.zcard(key)) for key in client.keys("gw:{*}:windows"))


def total(gateways: Sequence[GatewayProcess], metric: str, **labels: str) -> float:
    """A metric's sum over the replicas."""
    return sum(gateway.metric(metric, **labels) for gateway in gateways)


class Fullest:
    """The most members that a buffer was seen with, and how often it was looked at."""

    most = 0
    looks = 0


@contextmanager
def watching_buffer(server: RedisServer, namespace: str, name: str = "PodOOMKilled") -> Iterator[Fullest]:
    """Looks at a group's buffer again and again, as fast as Redis answers."""
    fullest = Fullest()
    key = f"alert:buffer:{{0}}:{namespace}:{name}"
    with redis.Redis(port=server.port) as client:

        def look() -> None:
            size = client.hlen(key)
            fullest.most = max(fullest.most, int(size))
            fullest.looks += 1

        with repeatedly(look, 0):
            yield fullest
