"""What storms cost: so many alerts of one group held by a window, and as many with a request each, in one run.

Both go to the same gateway, over a real kube-apiserver; a rule lets every other group through at once. Of each storm
the writes are counted until nothing is left to write, and the requests are looked at: every alert is in one, once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos.rig.api import GROUP_PATH, Api
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench.load import PATH, alert, idle, writes

SIZES = (10, 30, 100, 300, 1000)
SAVED_AT_LEAST = 0.97
FROM = 100
"""Storms of so many alerts and more have to save that much."""
IN_A_WEBHOOK = 50
SETTINGS = {
    "storm": {
        "hold": "2s",
        "inactivity": "2s",
        "rules": [{"matchers": ['alertname=~"Alone.*"'], "mode": "immediate"}],
    },
    # On a busy machine a call takes more than 10 ms now and then; what Redis does not take in time is no window's.
    "redis": {"timeout": "250ms"},
}


def measure(folder: Path) -> dict[str, Any]:
    """Of each size: the writes of both ways, what a window saves, and when the aggregated request was there."""
    with _started(folder) as (gateway, api):
        return {str(size): _compare(gateway, api, size) for size in SIZES}


@contextmanager
def _started(folder: Path) -> Iterator[tuple[GatewayProcess, Api]]:
    redis = RedisServer(folder / "redis3", name="redis")
    cluster = Cluster(folder / "cluster3", name="cluster")
    gateway: GatewayProcess | None = None
    try:
        redis.start()
        cluster.start()
        cluster.api.install_crd()
        cluster.api.create_namespace("bench")
        gateway = GatewayProcess(
            folder / "gateway3",
            name="gateway",
            redis_url=redis.url,
            kubeconfig=cluster.kubeconfig,
            settings=SETTINGS,
        )
        gateway.start()
        yield gateway, cluster.api
    finally:
        if gateway is not None:
            gateway.kill()
        cluster.stop()
        redis.kill()


def _compare(gateway: GatewayProcess, api: Api, size: int) -> dict[str, Any]:
    before = writes(gateway)
    verdicts = _fire(gateway, f"Storm{size}", size)
    ended, there = _await_request(api, verdicts, size)
    wait_until(lambda: idle(gateway), "the storm to be written", seconds=60, every=0.1)
    held = writes(gateway) - before

    before = writes(gateway)
    _fire(gateway, f"Alone{size}", size)
    wait_until(lambda: idle(gateway), "all requests to be written", seconds=120, every=0.1)
    alone = writes(gateway) - before
    _check(api, size)
    return {
        "held": held,
        "alone": alone,
        "saved": 1 - held / alone,
        "after_end_ms": (there - ended) * 1000,
    }


def _fire(gateway: GatewayProcess, alertname: str, size: int) -> list[dict[str, Any]]:
    """So many alerts of one group, each once; the verdicts."""
    verdicts = []
    for start in range(0, size, IN_A_WEBHOOK):
        alerts = [alert(number) for number in range(start, min(size, start + IN_A_WEBHOOK))]
        for one in alerts:
            one["labels"]["alertname"] = alertname
        status, answer = gateway.post(PATH, {"version": "4", "receiver": "gateway", "alerts": alerts})
        if status not in (201, 202):
            raise RuntimeError(f"the gateway answered {status}: {answer[:200]!r}")
        verdicts.extend(json.loads(answer)["alerts"])
    return verdicts


def _await_request(api: Api, verdicts: list[dict[str, Any]], size: int) -> tuple[float, float]:
    """When the window ended as it was announced last, and when its request had all members: seconds since 1970."""
    windows = {
        verdict["window"]["id"]: verdict["window"]["dueAt"] for verdict in verdicts if verdict["window"]
    }
    if len(windows) != 1:
        raise RuntimeError(f"{len(windows)} windows held the storm")
    ((window, ends),) = windows.items()
    path = f"{GROUP_PATH}/namespaces/bench/remediationrequests/rr-storm{size}-storm-{window}"

    def complete() -> bool:
        status, answer = api.send("GET", path)
        return status == 200 and answer["spec"]["stormAlertCount"] == size

    wait_until(complete, "the aggregated request with all members", seconds=60, every=0.005)
    return datetime.fromisoformat(ends).timestamp(), time.time()


def _check(api: Api, size: int) -> None:
    specs = [request["spec"] for request in api.requests("bench")]
    found = {
        kind: sorted(
            spec["deduplication"]["occurrenceCount"]
            for spec in specs
            if spec["signalLabels"]["alertname"] == f"{kind}{size}"
        )
        for kind in ("Storm", "Alone")
    }
    if found != {"Storm": [size], "Alone": [1] * size}:
        raise RuntimeError(f"inexact requests for storms of {size}: {found['Storm']}, {len(found['Alone'])}")
