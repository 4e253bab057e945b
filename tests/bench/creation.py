"""Creation: requests for new alerts on a real kube-apiserver, beside a client that only posts the same objects.

A round of the gateway begins with the first webhook and ends when every alert is confirmed; then the bare client
(`creator.py`) posts the objects that came of the first round into another namespace, 32 at once, each time under other
names. The gateway watches its own namespaces only, so that it does not take part in the bare client's rounds.
Everything shares the machine's cores: with the gateway that is Redis and the sender, too.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chaos.rig.api import GROUP_PATH, Json
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from tests.bench.figures import Figure, at_least
from tests.bench.load import alert, post_at_once, run, webhooks
from tests.bench.rounds import cpu_seconds
from tests.bench.stage import PATIENT, Stage, say, settle, status, watching

AT_LEAST = 0.85
ALERTS = 3000
"""In a round."""
AT_ONCE = 32
QUICK = 2000
"""Confirmations a second that are more than there ever are."""
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
    objects: list[Json] = []
    warm = stage.some(1, 0)  # everything that is slow the first time
    for turn in range(warm + stage.options.rounds):
        file = stage.file("new", webhooks(alerts(turn * number, number)))
        used = cpu_seconds(gateway, redis, *servers)
        took, sender = create(gateway, file)
        used = cpu_seconds(gateway, redis, *servers) - used
        seen["gateway"].append((number / took, used + sender))
        settle(gateway)
        objects = objects or created(cluster, number)
        file = stage.file("objects", renamed(objects, turn))
        used = cpu_seconds(*servers)
        bare = post_objects(cluster, THEIRS, file)
        used = cpu_seconds(*servers) - used
        seen["bare"].append((number / bare["seconds"], used + bare["cpu"]))
    pairs = list(zip(seen["gateway"], seen["bare"], strict=True))[warm:]
    yield Figure(
        "creation",
        statistics.median(ours / theirs for (ours, _), (theirs, _) in pairs),
        "requests a second from the first webhook to the last confirmation / those of a client that posts them",
        limit=at_least(AT_LEAST),
        beside={
            "in processor time of all": statistics.median(theirs / ours for (_, ours), (_, theirs) in pairs),
            "requests a second": statistics.median(rate for (rate, _), _ in pairs),
            "bare client, requests a second": statistics.median(rate for _, (rate, _) in pairs),
        },
    )


def alerts(first: int, number: int) -> list[dict[str, Any]]:
    """So many new problems."""
    return [alert(first + place, namespace=OURS) for place in range(number)]


def create(gateway: GatewayProcess, file: Path, at_once: int = AT_ONCE) -> tuple[float, float]:
    """Post all webhooks: seconds until everything is confirmed, and seconds that the sender's processor used."""
    sent = post_at_once(gateway, file, at_once)
    await_confirmed(gateway)
    return time.time() - sent["began"], sent["cpu"]


def await_confirmed(gateway: GatewayProcess, *, seconds: float = 240) -> None:
    """Until all that it accepted is in Kubernetes; looks rarely while much is left, because looking costs, too."""
    deadline = time.monotonic() + seconds
    while left := status(gateway).get("unconfirmed", 1):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} alerts were not confirmed in {seconds:g} s")
        time.sleep(min(0.5, max(0.02, left / QUICK)))


def created(cluster: Cluster, number: int) -> list[Json]:
    """The requests that were made, as they would be created in the other namespace; raises where there are others."""
    requests = cluster.api.requests(OURS)
    if len(requests) != number:
        raise RuntimeError(f"{len(requests)} requests for {number} alerts")
    return [
        {
            "apiVersion": request["apiVersion"],
            "kind": request["kind"],
            "metadata": {
                "namespace": THEIRS,
                **{key: request["metadata"][key] for key in ("name", "labels", "annotations")},
            },
            "spec": request["spec"],
        }
        for request in requests
    ]


def renamed(objects: list[Json], turn: int) -> list[bytes]:
    """The objects under names of this turn's own, as long as those that they have."""
    return [
        json.dumps(
            {
                **one,
                "metadata": {
                    **one["metadata"],
                    "name": f"{one['metadata']['name'].removesuffix('1')}{turn + 1}",
                },
            }
        ).encode()
        for one in objects
    ]


def post_objects(cluster: Cluster, namespace: str, objects: Path) -> dict[str, float]:
    """What the bare client says of posting a file of objects."""
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests"
    return run("creator", str(cluster.kubeconfig), path, str(objects), str(AT_ONCE))
