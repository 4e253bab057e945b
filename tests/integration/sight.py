"""What tests see: the answers of a gateway, its metrics, and what a namespace's requests hold."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chaos.rig.api import Api, Json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import eventually
from tests.integration.load import PATH, alert, webhook

PATIENT = {"server": {"ack_wait": "5s"}}
"""For tests that expect 201: on a busy machine, a cold API server takes longer than the usual quarter of a second."""

UNHURRIED = {"redis": {"timeout": "5s"}}
"""For tests in which Redis is well, or refuses at once, and that ask what goes through it: a machine that pauses for
seconds is no fault of it. The usual 10 ms send alerts the direct way then, which is right, but another story."""

RESOLVED_AT = "remediation.kubernaut.io/signal-resolved-at"


def body(*alerts: dict[str, object]) -> bytes:
    """A webhook around the alerts, as bytes: the same ones are the same delivery sent again."""
    return json.dumps(webhook(*alerts)).encode()


def fires(namespace: str, pod: str = "payment-7d4b", **more: str) -> dict[str, object]:
    """One firing alert about a pod of the namespace."""
    return alert(namespace=namespace, pod=pod, **more)


def resolved(
    firing: dict[str, object], *, ends_at: str = "2026-01-31T09:30:00Z", **fields: object
) -> dict[str, object]:
    """The same alert, over."""
    return {**firing, "status": "resolved", "endsAt": ends_at, **fields}


def send(gateway: GatewayProcess, *alerts: dict[str, object]) -> tuple[int, list[Json]]:
    """Post one webhook; the status, and what became of each alert."""
    status, answer = gateway.post(PATH, body(*alerts))
    return status, json.loads(answer)["alerts"] if status in (201, 202) else []


class Exchange(NamedTuple):
    """An answer with its headers."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def ask(
    gateway: GatewayProcess,
    content: bytes,
    *,
    path: str = PATH,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Exchange:
    """One request whose answer's headers matter."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return Exchange(answer.status, dict(answer.getheaders()), answer.read())


def send_one(gateway: GatewayProcess, one: dict[str, object]) -> Json:
    """Post one alert that must be taken; what became of it."""
    status, verdicts = send(gateway, one)
    assert status in (201, 202), status
    return verdicts[0]


def counts(cluster: Api, namespace: str) -> list[int]:
    """`occurrenceCount` of every request of the namespace, in ascending order."""
    return sorted(count_of(request) for request in cluster.requests(namespace))


def count_of(request: Json) -> int:
    return int(request["spec"]["deduplication"]["occurrenceCount"])


def kubectl_counts(cluster: Api, namespace: str) -> str:
    """The same as an operator asks for it, in the order of the names."""
    where = "jsonpath={.items[*].spec.deduplication.occurrenceCount}"
    return cluster.kubectl("get", "remediationrequest", "-n", namespace, "-o", where)


async def adds_up(cluster: Api, namespace: str, expected: Iterable[int], *, seconds: float = 40) -> None:
    """Wait until the requests of the namespace hold exactly these counts."""
    wanted = sorted(expected)
    found: list[list[int]] = [[]]

    def equal() -> bool:
        found[0] = counts(cluster, namespace)
        return found[0] == wanted

    try:
        await eventually(equal, f"counts {wanted}", seconds=seconds, every=0.2)
    except TimeoutError:
        raise TimeoutError(f"the counts are {found[0]} and not {wanted}, after {seconds:g} s") from None


async def requests_of(cluster: Api, namespace: str, number: int, *, seconds: float = 30) -> list[Json]:
    """Wait until the namespace has so many requests, and return them by generation."""
    await eventually(
        lambda: len(cluster.requests(namespace)) == number, f"{number} requests", seconds=seconds, every=0.1
    )
    return sorted(cluster.requests(namespace), key=generation)


def generation(request: Json) -> int:
    return int(request["metadata"]["labels"]["remediation.kubernaut.io/generation"])


def is_open(request: Json) -> bool:
    return not request.get("status", {}).get("overallPhase")


def predecessor(request: Json) -> str | None:
    """The name of the request before, as the object tells it."""
    found: str | None = request["spec"]["deduplication"].get("previousRemediationRequestRef")
    return found


def resolved_at(request: Json) -> str | None:
    found: str | None = request["metadata"]["annotations"].get(RESOLVED_AT)
    return found


def status_of(gateway: GatewayProcess) -> Json:
    status, answer = gateway.get("/v1/status")
    assert status == 200
    found: Json = json.loads(answer)
    return found


def idle(*gateways: GatewayProcess) -> bool:
    """Whether nothing is queued and nothing unconfirmed, anywhere."""
    states = [status_of(gateway) for gateway in gateways]
    return not any(state["unconfirmed"] or state["queue"]["depth"] for state in states)


def unread(gateway: GatewayProcess) -> int:
    """How many connections to it hold bytes that it has not read: as many senders wait for an answer."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        address.endswith(f":{gateway.port:04X}") and state == "01" and not queues.endswith(":00000000")
        for _, address, _, state, queues, *_ in rows
    )


async def caught(gateway: GatewayProcess) -> None:
    """Stop it where it stands, once it is ready, and wait until a sender waits for its answer: whoever kills it then
    cuts somebody short. Left to chance, a whole run may kill between webhooks only."""
    await eventually(gateway.ready, f"{gateway.name} to be ready", seconds=60)
    gateway.pause()
    await eventually(lambda: unread(gateway), "a webhook under way", seconds=30, every=0)


async def settled(*gateways: GatewayProcess, seconds: float = 40) -> None:
    await eventually(lambda: idle(*gateways), "everything to be confirmed", seconds=seconds, every=0.1)


def words(verdicts: Iterable[dict[str, Any]]) -> Counter[str]:
    """How often each outcome was answered."""
    return Counter(verdict["outcome"] for verdict in verdicts)
