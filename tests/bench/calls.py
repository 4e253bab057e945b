"""Calls to the Kubernetes API: of a new alert, of a duplicate, of a quiet minute, and without Redis.

They are counted as the gateway counts them, on a real kube-apiserver.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from chaos.rig.waiting import wait_until
from tests.bench.figures import Figure, at_most
from tests.bench.load import alert, post, webhooks
from tests.bench.stage import PATIENT, Stage, reads, say, settle, watching, writes

NAMESPACE = "bench-calls"
PROBLEMS = 100
DUPLICATES = 200
"""Of each problem."""
ALONE = 50
"""Alerts one after the other, without Redis."""
QUIET = 30.0
"""Seconds in which nobody sends anything."""


def measure(stage: Stage) -> Iterator[Figure]:
    """All of it at one gateway."""
    say("calls to the Kubernetes API …")
    cluster, redis = stage.cluster(NAMESPACE), stage.redis()
    gateway = stage.gateway(redis, cluster.kubeconfig, PATIENT, watching(NAMESPACE))
    gateway.start()
    problems, times = stage.some(PROBLEMS, 5), stage.some(DUPLICATES, 400)

    before = writes(gateway)
    post(gateway, webhooks([alert_of(number) for number in range(problems)]))
    settle(gateway)
    yield Figure(
        "Kubernetes writes, a new alert",
        (writes(gateway) - before) / problems,
        "writes / new alerts, each with a request of its own",
        limit=at_most(1.0),
        counted=True,
    )

    before, began = writes(gateway), time.monotonic()
    post(gateway, webhooks([alert_of(number % problems) for number in range(times * problems)]))
    took = time.monotonic() - began
    settle(gateway)
    made = writes(gateway) - before
    counts = {one["spec"]["deduplication"]["occurrenceCount"] for one in cluster.api.requests(NAMESPACE)}
    if counts != {times + 1}:
        raise RuntimeError(f"inexact counts: {sorted(counts)}")
    yield Figure(
        "Kubernetes writes, a duplicate",
        made / (times * problems),
        f"writes / duplicates, of {problems} problems that fire {times} times each, as fast as one sender posts them",
        limit=at_most(0.03),
        counted=True,
        beside={"duplicates a second": times * problems / took},
    )

    seconds = 1.0 if stage.options.short else QUIET
    before, reading = writes(gateway), reads(gateway)
    time.sleep(seconds)
    yield Figure(
        "Kubernetes calls, a quiet minute",
        (writes(gateway) - before + reads(gateway) - reading) / seconds * 60,
        "reads and writes of a gateway to which nobody sends anything",
        unit="calls",
        counted=True,
    )

    redis.kill()
    wait_until(
        lambda: gateway.metric("gateway_circuit_breaker_state", component="redis") > 0,
        "the breaker to open",
        seconds=20,
    )
    few = stage.some(ALONE, 10)
    for name in ("a new alert", "a duplicate"):
        before, reading = writes(gateway), reads(gateway)
        for number in range(few):
            post(gateway, webhooks([alert_of(problems + number)]))
        yield Figure(
            f"Kubernetes writes without Redis, {name}",
            (writes(gateway) - before) / few,
            "writes / alerts that come one after the other while Redis is down",
            limit=at_most(1.0),
            counted=True,
            beside={"reads": (reads(gateway) - reading) / few},
        )


def alert_of(number: int) -> dict[str, Any]:
    return alert(number, namespace=NAMESPACE)
