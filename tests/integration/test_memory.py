"""Memory is bounded by the number of open requests, and small."""

from __future__ import annotations

import hashlib
import json
import urllib.request
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

from chaos.rig.api import Json
from chaos.rig.cluster import Cluster
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from gateway.kube import objects
from gateway.model import Severity, Signal
from tests.integration.load import flood
from tests.integration.sight import body, fires, settled, status_of
from tests.rig.fixtures import StartGateway

OPEN = 20_000
BATCH = 128
"""Writes in one transaction of etcd, at the most."""
LIMIT = 200 * 1024 * 1024
TIME = "2026-01-31T09:00:00.000000000Z"
NAMESPACE = "prod-api"


async def test_twenty_thousand_open_requests_fit_into_200_mebibytes(
    start_gateway: StartGateway, redis_server: RedisServer, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    plane.api.create_namespace(NAMESPACE)
    fill(plane, OPEN)
    gateway = start_gateway(redis=redis_server, cluster=plane, seconds=40)
    await eventually(lambda: status_of(gateway)["requests"] == OPEN, "all to be known", seconds=60, every=0.2)

    listed = resident(gateway.pid)
    books = await flood([gateway.url], [body(fires(NAMESPACE, f"new-{at % 500}")) for at in range(2000)])
    await settled(gateway)
    loaded = resident(gateway.pid)
    print(f"resident with {OPEN} open requests: {listed / 2**20:.0f} MiB", end="")
    print(f", after {books.accepted} alerts about 500 more: {loaded / 2**20:.0f} MiB")

    assert listed < LIMIT
    assert loaded < LIMIT


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no VmRSS")


def fill(plane: Cluster, number: int) -> None:
    """Store so many requests as the gateway would make them.

    One is created through the API; the others are written beside it into etcd, as the API server stored that one:
    a tenth of the time that twenty thousand creations take.
    """
    path = f"/apis/remediation.kubernaut.io/v1alpha1/namespaces/{NAMESPACE}/remediationrequests"
    plane.api.call("POST", path, request(0))
    folder = f"/registry/remediation.kubernaut.io/remediationrequests/{NAMESPACE}/"
    found = etcd(plane, "range", {"key": encoded(folder), "range_end": encoded(folder[:-1] + "0")})
    stored = json.loads(b64decode(found["kvs"][0]["value"]))
    for start in range(1, number, BATCH):
        puts = []
        for place in range(start, min(start + BATCH, number)):
            one = like(stored, json.loads(request(place)))
            key = encoded(folder + one["metadata"]["name"])
            puts.append({"requestPut": {"key": key, "value": encoded(json.dumps(one))}})
        etcd(plane, "txn", {"success": puts})


def like(stored: Json, made: Json) -> Json:
    """What the API server would have made of a body: what it added to another one, and this one's content."""
    metadata = {**stored["metadata"], **made["metadata"], "uid": str(uuid.uuid4())}
    return {**stored, "metadata": metadata, "spec": made["spec"]}


def etcd(plane: Cluster, what: str, question: Json) -> Json:
    asked = urllib.request.Request(f"{plane.etcd_url}/v3/kv/{what}", json.dumps(question).encode())
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: Json = json.load(answer)
    return found


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def request(place: int) -> bytes:
    """The body of one, about a pod of its own."""
    labels = {
        "alertname": "PodOOMKilled",
        "namespace": NAMESPACE,
        "pod": f"payment-{place}",
        "severity": "critical",
    }
    raw = json.dumps({"status": "firing", "labels": labels, "startsAt": TIME}).encode()
    fingerprint = hashlib.sha256(str(place).encode()).hexdigest()
    signal = Signal(
        fingerprint=fingerprint,
        alertname="PodOOMKilled",
        namespace=NAMESPACE,
        group=f"{NAMESPACE}/PodOOMKilled",
        labels=labels,
        annotations={"summary": "A container was killed because it used more memory than its limit."},
        severity=Severity.CRITICAL,
        environment="production",
        priority="P0",
        resource=f"{NAMESPACE}:Pod:payment-{place}",
        starts_at=TIME,
        received_at=TIME,
        raw=raw,
    )
    return objects.create_body(
        signal,
        namespace=NAMESPACE,
        name=objects.request_name("PodOOMKilled", fingerprint, 1),
        generation=1,
        applied=json.dumps({fingerprint: {"0123456789.1": "0-1", "abcdef0123.1": "0-20"}}),
        count=21,
        first_seen=TIME,
        last_seen=TIME,
    )
