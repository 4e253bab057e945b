"""Thousands of open requests, put where the API server keeps them: it would take minutes to create them.

One is created through the API. The others are written beside it into etcd, as the API server stored that one. Each is
what the gateway makes of its alert, fingerprint and all, so that the same alert sent to a gateway counts on it.
"""

from __future__ import annotations

import urllib.request
import uuid
from collections.abc import Iterator

import msgspec

from chaos.rig.api import Json
from chaos.rig.cluster import Cluster
from chaos.rig.waiting import wait_until
from gateway.config.loading import load
from gateway.intake.payload import decode
from gateway.intake.reading import Intake, Reading
from gateway.kube import objects
from tests.integration.sight import body, fires

AT_ONCE = 128
"""Writes in one transaction of etcd, at the most."""
TIME = "2026-01-31T09:00:00.000000000Z"


def pod(place: int) -> str:
    """The pod that a request of the stock is about; `fires(namespace, pod(place))` is its alert."""
    return f"payment-{place:06d}"


def stock(plane: Cluster, namespace: str, number: int) -> None:
    """Store so many open requests in a namespace, which is made; each has counted 21 occurrences from two processes."""
    plane.api.create_namespace(namespace)
    path = f"/apis/remediation.kubernaut.io/v1alpha1/namespaces/{namespace}/remediationrequests"
    made = bodies(namespace, number)
    plane.api.call("POST", path, next(made))
    folder = f"/registry/remediation.kubernaut.io/remediationrequests/{namespace}/"
    found = etcd(plane, "range", {"key": folder.encode(), "range_end": f"{folder[:-1]}0".encode()})
    example = msgspec.json.decode(msgspec.convert(found["kvs"][0]["value"], bytes, strict=False))
    version = int(found["header"]["revision"])
    while puts := [put(folder, example, body) for _, body in zip(range(AT_ONCE), made, strict=False)]:
        version = int(etcd(plane, "txn", {"success": puts})["header"]["revision"])
    # The API server hears of each from etcd, and has its time.
    listed = f"{path}?limit=1&resourceVersion={version}&resourceVersionMatch=NotOlderThan"
    wait_until(
        lambda: plane.api.send("GET", listed)[0] == 200, "the API server to catch up", seconds=180, every=0.5
    )


def put(folder: str, example: Json, created: bytes) -> Json:
    """The write of one request: what the API server added to another, and this one's content."""
    own = msgspec.json.decode(created)
    metadata = {**example["metadata"], **own["metadata"], "uid": str(uuid.uuid4())}
    value = msgspec.json.encode({**example, "metadata": metadata, "spec": own["spec"]})
    return {"requestPut": {"key": f"{folder}{metadata['name']}".encode(), "value": value}}


def etcd(plane: Cluster, what: str, question: Json) -> Json:
    """One call to etcd; bytes go as it wants them, in base64."""
    asked = urllib.request.Request(f"{plane.etcd_url}/v3/kv/{what}", msgspec.json.encode(question))
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found: Json = msgspec.json.decode(answer.read())
    return found


def bodies(namespace: str, number: int) -> Iterator[bytes]:
    """What the gateway would create, one request after the other."""
    intake = Intake(load(None, {}), lambda _: "production")
    for start in range(0, number, AT_ONCE):
        alerts = [fires(namespace, pod(place)) for place in range(start, min(start + AT_ONCE, number))]
        for reading in intake.read(decode(body(*alerts)), received_at=TIME):
            assert isinstance(reading, Reading)
            yield _created(reading, namespace)


def _created(reading: Reading, namespace: str) -> bytes:
    fingerprint = reading.fingerprint
    marks = {fingerprint: {"0123456789.1": "0-1", "abcdef0123.1": "0-20"}}
    return objects.create_body(
        reading.signal(),
        namespace=namespace,
        name=objects.request_name(reading.alertname, fingerprint, 1),
        generation=1,
        applied=msgspec.json.encode(marks).decode(),
        count=21,
        first_seen=TIME,
        last_seen=TIME,
    )
