"""What several figures need: alerts as a cluster sends them, and what a gateway tells of its work."""

from __future__ import annotations

import json
from typing import Any

from chaos.rig.gateway_process import GatewayProcess

PATH = "/v1/webhooks/prometheus"
TOKEN = "s3cret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
"""Of a sender that the gateways of the bench know, where they ask."""


def alert(number: int, *, turn: int | None = None) -> dict[str, Any]:
    """One of the problems; with `turn` its annotation differs from the last time, as a measured value in it does."""
    value = "" if turn is None else f" (now {turn} ms)"
    return {
        "status": "firing",
        "labels": {
            "alertname": "HighLatency",
            "namespace": "bench",
            "pod": f"checkout-{number:05d}",
            "container": "app",
            "instance": "10.0.0.1:8080",
            "job": "kubernetes-pods",
            "severity": "warning",
        },
        "annotations": {
            "summary": f"p99 latency above one second{value}",
            "description": "The p99 latency has been above one second for ten minutes.",
            "runbook_url": "https://runbooks.example/latency",
        },
        "startsAt": "2026-01-31T09:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=latency_p99+%3E+1&g0.tab=1",
        "fingerprint": "71add5ca4dff4207",
    }


def idle(gateway: GatewayProcess) -> bool:
    """Nothing is unconfirmed or queued."""
    status, body = gateway.call("GET", "/v1/status", headers=HEADERS)
    found = json.loads(body) if status == 200 else {}
    return bool(found) and not found["unconfirmed"] and not found["queue"]["depth"]


def writes(gateway: GatewayProcess) -> float:
    """How many writes the gateway has sent, conflicts included."""
    return sum(
        gateway.metric("gateway_k8s_api_requests_total", verb=verb) for verb in ("create", "patch", "delete")
    )
