"""Creation: requests for new alerts on a real kube-apiserver, beside a client that only posts the same objects.

A round of the gateway begins with the first webhook and ends when every alert is confirmed; then the bare client
(`creator.py`) posts the very objects that came of it into another namespace, 32 at once. The gateway watches its own
namespaces only, so that it does not take part in the bare client's rounds. Everything shares the machine's cores: with
the gateway that is Redis and the sender, too.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from chaos.rig.api import GROUP_PATH, Json
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import wait_until
from tests.bench.figures import Figure, at_least
from tests.bench.load import alert, post_at_once, run, webhooks
from tests.bench.rounds import cpu_seconds
from tests.bench.stage import PATIENT, Stage, confirmed, say, settle, watching

AT_LEAST = 0.85
ALERTS = 3000
"""In a round."""
AT_ONCE = 32
IN_A_WEBHOOK = 10
OURS, THEIRS = "bench-ours", "bench-theirs"


def measure(stage: Stage) -> Iterator[Figure]:
    """The median of the ratios of neighbouring rounds."""
    say("creation, beside a bare client …")
    cluster, redis = stage.cluster(OURS, THEIRS), stage.redis()
    gateway = stage.gateway(redis, cluster.kubeconfig, PATIENT, watching(OURS))
    gateway.start()
    number = stage.some(ALERTS, 200)
    servers = (cluster.server, cluster.etcd)
    seen: dict[str, list[tuple[float, float]]] = {"gateway": [], "bare": []}
    known: set[str] = set()
    for turn in range(stage.options.rounds):
        file = stage.file("new", webhooks(alerts(turn * number, number), IN_A_WEBHOOK))
        used = cpu_seconds(gateway, redis, *servers)
        took, sender = create(gateway, file)
        used = cpu_seconds(gateway, redis, *servers) - used
        seen["gateway"].append((number / took, used + sender))
        settle(gateway)
        made = created(cluster, known)
        if len(made) != number:
            raise RuntimeError(f"{len(made)} requests for {number} alerts")
        objects = stage.file("objects", [json.dumps(body).encode() for body in made])
        used = cpu_seconds(*servers)
        bare = post_objects(cluster, THEIRS, objects)
        used = cpu_seconds(*servers) - used
        seen["bare"].append((number / bare["seconds"], used + bare["cpu"]))
    pairs = list(zip(seen["gateway"], seen["bare"], strict=True))
    yield Figure(
        "creation",
        statistics.median(ours / theirs for (ours, _), (theirs, _) in pairs),
        "requests a second from the first webhook to the last confirmation / those of a client that posts them",
        limit=at_least(AT_LEAST),
        beside={
            "in processor time of all": statistics.median(theirs / ours for (_, ours), (_, theirs) in pairs),
            "requests a second": statistics.median(rate for rate, _ in seen["gateway"]),
            "bare client, requests a second": statistics.median(rate for rate, _ in seen["bare"]),
        },
    )


def alerts(first: int, number: int) -> list[dict[str, Any]]:
    """So many new problems."""
    return [alert(first + place, namespace=OURS) for place in range(number)]


def create(gateway: GatewayProcess, file: Any) -> tuple[float, float]:
    """Post all webhooks, 32 at once: seconds until everything is confirmed, and what the sender's processor used."""
    sent = post_at_once(gateway, file, AT_ONCE)
    wait_until(lambda: confirmed(gateway), "all alerts to be confirmed", seconds=120, every=0.05)
    return time.time() - sent["began"], sent["cpu"]


def created(cluster: Cluster, known: set[str]) -> list[Json]:
    """The bodies of the requests that were made since the last time, for the other namespace."""
    bodies = []
    for request in cluster.api.requests(OURS):
        metadata = request["metadata"]
        if metadata["name"] in known:
            continue
        known.add(metadata["name"])
        kept = {key: metadata[key] for key in ("name", "labels", "annotations")}
        bodies.append(
            {
                "apiVersion": request["apiVersion"],
                "kind": request["kind"],
                "metadata": {**kept, "namespace": THEIRS},
                "spec": request["spec"],
            }
        )
    return bodies


def post_objects(cluster: Cluster, namespace: str, objects: Any) -> dict[str, float]:
    """What the bare client says of posting a file of objects."""
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests"
    return run("creator", str(cluster.kubeconfig), path, str(objects), str(AT_ONCE))
