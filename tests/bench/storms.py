"""What storms cost: so many alerts of one group held by windows, and as many with a request each, in one run.

Both go to the same gateway, over a real kube-apiserver; a rule lets every other group through at once. Of each storm
the writes are counted until nothing is left to write, and the requests are looked at: every alert is in one, once.

The largest storm fills one window after the other. Its time runs from the first webhook until every alert is
confirmed, and stands beside the time in which a bare client creates a request for each of its alerts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import wait_until
from tests.bench.creation import await_confirmed, post_objects
from tests.bench.figures import Figure, at_least, at_most
from tests.bench.load import alert, post, post_at_once, webhooks
from tests.bench.stage import PATIENT, Stage, say, settle, watching, writes

NAMESPACE = "bench-storms"
ALONE = "bench-alone"
SIZES = (10, 30, 100, 300, 1000)
WRITES_AT_MOST = 3
UP_TO = 100
"""Storms of so many alerts and fewer have so few writes …"""
SAVED_AT_LEAST = 0.97
FROM = 100
"""… and those of so many and more save so much."""
LARGEST = 10_000
TIMES = {"hold": "2s", "inactivity": "2s"}
QUICK = {"hold": "1500ms", "inactivity": "1500ms"}
RULES = {"rules": [{"matchers": ['alertname=~"Alone.*"'], "mode": "immediate"}]}


def measure(stage: Stage) -> Iterator[Figure]:
    """Writes of storms of several sizes, and how long the largest takes."""
    cluster = stage.cluster(NAMESPACE, ALONE)
    storm = {**(QUICK if stage.options.short else TIMES), **RULES}
    gateway = stage.gateway(stage.redis(), cluster.kubeconfig, PATIENT, watching(NAMESPACE), {"storm": storm})
    gateway.start()
    for size in (30, 100) if stage.options.short else SIZES:
        say(f"a storm of {size} …")
        yield from compare(gateway, cluster.api, size)

    size = stage.some(LARGEST, 500)
    say(f"a storm of {size} …")
    file = stage.file("storm", webhooks(alerts("Largest", size)))
    before = writes(gateway)
    sent = post_at_once(gateway, file)
    await_confirmed(gateway)
    took = time.time() - sent["began"]
    settle(gateway)
    check(cluster.api, "Largest", size)
    each = stage.file("each", singles(cluster.api, size))
    bare = post_objects(cluster, ALONE, each)
    yield Figure(
        "storm of 10,000, to the last confirmed",
        took / bare["seconds"],
        "seconds from the first webhook to the last confirmation (a window's hold and inactivity 2 s) / seconds in"
        " which a client creates a request for each alert",
        beside={"seconds": took, "bare client, seconds": bare["seconds"], "writes": writes(gateway) - before},
    )


def compare(gateway: GatewayProcess, api: Api, size: int) -> Iterator[Figure]:
    """A storm held by a window, and as many alerts of their own."""
    before = writes(gateway)
    verdicts = post(gateway, webhooks(alerts(f"Storm{size}", size)))
    ended, there = await_request(api, verdicts, size)
    settle(gateway)
    held = writes(gateway) - before
    check(api, f"Storm{size}", size)

    before = writes(gateway)
    post(gateway, webhooks(alerts(f"Alone{size}", size)))
    settle(gateway)
    alone = writes(gateway) - before
    check(api, f"Alone{size}", size, requests=size)
    if size <= UP_TO:
        yield Figure(
            f"Kubernetes writes, a storm of {size}",
            held,
            "writes until all members are in the request of their window",
            unit="writes",
            limit=at_most(WRITES_AT_MOST),
            counted=True,
            beside={"request complete, ms after the window's end": (there - ended) * 1000},
        )
    if size >= FROM:
        yield Figure(
            f"Kubernetes writes saved by a storm of {size}",
            1 - held / alone,
            "1 - writes of the window / writes of as many alerts with a request each",
            limit=at_least(SAVED_AT_LEAST),
            counted=True,
            beside={
                "held, writes": held,
                "alone, writes": alone,
                "request complete, ms after the window's end": (there - ended) * 1000,
            },
        )


def alerts(name: str, size: int) -> list[dict[str, Any]]:
    """So many alerts of one group."""
    return [alert(number, name=name, namespace=NAMESPACE) for number in range(size)]


def await_request(api: Api, verdicts: list[dict[str, Any]], size: int) -> tuple[float, float]:
    """When the window ended as it was announced last, and when its request had all members: seconds since 1970."""
    windows = {
        verdict["window"]["id"]: verdict["window"]["dueAt"] for verdict in verdicts if verdict["window"]
    }
    if len(windows) != 1:
        raise RuntimeError(f"{len(windows)} windows held the storm")
    ((window, ends),) = windows.items()
    path = f"{GROUP_PATH}/namespaces/{NAMESPACE}/remediationrequests/rr-storm{size}-storm-{window}"

    def complete() -> bool:
        status, answer = api.send("GET", path)
        return status == 200 and answer["spec"]["stormAlertCount"] == size

    wait_until(complete, "the aggregated request with all members", seconds=60, every=0.01)
    return datetime.fromisoformat(ends).timestamp(), time.time()


def check(api: Api, name: str, size: int, *, requests: int = 0) -> None:
    """Every alert is in a request, once, and there are so many requests (0 for any number)."""
    counts = [
        request["spec"]["deduplication"]["occurrenceCount"]
        for request in api.requests(NAMESPACE)
        if request["spec"]["signalLabels"]["alertname"] == name
    ]
    if sum(counts) != size or (requests and len(counts) != requests):
        raise RuntimeError(f"inexact requests for {size} alerts of {name}: {counts[:20]}")


def singles(api: Api, number: int) -> list[bytes]:
    """So many objects like the requests that the alerts of one group get alone, under names of their own."""
    example = next(
        request
        for request in api.requests(NAMESPACE)
        if request["spec"]["signalLabels"]["alertname"].startswith("Alone")
    )
    metadata = {key: example["metadata"][key] for key in ("labels", "annotations")}
    return [
        json.dumps(
            {
                "apiVersion": example["apiVersion"],
                "kind": example["kind"],
                "metadata": {**metadata, "namespace": ALONE, "name": f"rr-alone-{place}"},
                "spec": example["spec"],
            }
        ).encode()
        for place in range(number)
    ]
