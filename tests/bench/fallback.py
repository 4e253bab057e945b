"""Intake while Redis is down, beside the same with Redis, on a real kube-apiserver.

Without Redis a webhook is answered when its alerts are in Kubernetes. So new alerts are measured until they are
confirmed, both ways; and duplicates until they are answered, which is when they are durable.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import wait_until
from tests.bench.creation import create
from tests.bench.figures import Figure
from tests.bench.load import alert, post_at_once, webhooks
from tests.bench.stage import PATIENT, Stage, say, settle

NAMESPACE = "bench-fallback"
ALERTS = 400
DUPLICATES = 5
"""Of each alert."""
IN_A_WEBHOOK = 10
AT_ONCE = 4
"""Webhooks: of more at once some would not be in Kubernetes in the time that a sender waits."""
WITH, WITHOUT = "with Redis", "without Redis"


def measure(stage: Stage) -> Iterator[Figure]:
    """The medians of the ratios of neighbouring rounds."""
    say("intake without Redis …")
    cluster, redis = stage.cluster(NAMESPACE), stage.redis()
    gateway = stage.gateway(redis, cluster.kubeconfig, PATIENT)
    gateway.start()
    number = stage.some(ALERTS, 60)
    new: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    again: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for turn in range(min(3, stage.options.rounds)):
        for place, mode in enumerate((WITH, WITHOUT)):
            if mode == WITHOUT:
                redis.kill()
                await_breaker(gateway, closed=False)
            alerts = [alert((2 * turn + place) * number + one, namespace=NAMESPACE) for one in range(number)]
            took, _ = create(gateway, stage.file("new", webhooks(alerts, IN_A_WEBHOOK)), AT_ONCE)
            new[mode].append(number / took)
            again[mode].append(duplicates(stage, gateway, alerts))
        redis.start()
        await_breaker(gateway, closed=True)
        settle(gateway)
    for name, rates in (("new alerts", new), ("duplicates", again)):
        yield Figure(
            f"without Redis, {name}",
            statistics.median(a / b for a, b in zip(rates[WITHOUT], rates[WITH], strict=True)),
            "alerts a second that become durable while Redis is down / with Redis",
            beside={f"alerts a second, {mode}": statistics.median(rates[mode]) for mode in (WITHOUT, WITH)},
        )


def duplicates(stage: Stage, gateway: GatewayProcess, alerts: list[dict[str, Any]]) -> float:
    """Alerts a second, each several times."""
    bodies = webhooks(alerts, IN_A_WEBHOOK) * DUPLICATES
    sent = post_at_once(gateway, stage.file("again", bodies), AT_ONCE)
    return len(alerts) * DUPLICATES / sent["seconds"]


def await_breaker(gateway: GatewayProcess, *, closed: bool) -> None:
    """Until the gateway has noticed."""
    wait_until(
        lambda: (gateway.metric("gateway_circuit_breaker_state", component="redis") == 0) is closed,
        "the breaker of Redis to turn",
        seconds=30,
    )
