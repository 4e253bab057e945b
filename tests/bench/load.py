"""What is sent: alerts as a cluster sends them, in webhooks, and the programs that send them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.rig.gateway_process import GatewayProcess

ROOT = Path(__file__).parents[2]
PATH = "/v1/webhooks/prometheus"
TOKEN = "s3cret"
AUTHORIZATION = f"Bearer {TOKEN}"
HEADERS = {"Authorization": AUTHORIZATION}
"""Of a sender that the gateways of the bench know, where they ask."""
NAMESPACE = "bench"
IN_A_WEBHOOK = 50


def alert(
    number: int, *, name: str = "HighLatency", namespace: str = NAMESPACE, turn: int | None = None
) -> dict[str, Any]:
    """One of the problems; with `turn` its annotation differs from the last time, as a measured value in it does."""
    value = "" if turn is None else f" (now {turn} ms)"
    return {
        "status": "firing",
        "labels": {
            "alertname": name,
            "namespace": namespace,
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


def webhook(alerts: Sequence[dict[str, Any]]) -> bytes:
    """The body that brings them."""
    return json.dumps({"version": "4", "status": "firing", "receiver": "gateway", "alerts": alerts}).encode()


def webhooks(alerts: Sequence[dict[str, Any]], size: int = IN_A_WEBHOOK) -> list[bytes]:
    """Each alert once, `size` in a body."""
    return [webhook(alerts[start : start + size]) for start in range(0, len(alerts), size)]


def post(gateway: GatewayProcess, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """One after the other; the verdicts on their alerts. Raises where one is not accepted."""
    verdicts: list[dict[str, Any]] = []
    for body in bodies:
        status, answer = gateway.post(PATH, body, headers=HEADERS)
        if status not in (201, 202):
            raise RuntimeError(f"the gateway answered {status}: {answer[:200]!r}")
        verdicts.extend(json.loads(answer)["alerts"])
    return verdicts


def post_at_once(gateway: GatewayProcess, file: Path, at_once: int = 32) -> dict[str, float]:
    """Each webhook of a file once, so many at a time (`once.py`). Raises where one is not accepted."""
    seen = run("once", "127.0.0.1", str(gateway.port), str(file), str(at_once), AUTHORIZATION)
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']:g} webhooks were not accepted")
    return seen


def hammer(
    port: int,
    file: Path,
    connections: int,
    seconds: float,
    *,
    authorization: str = AUTHORIZATION,
    rate: float = 0,
) -> dict[str, float]:
    """The webhooks of a file again and again (`client.py`), as fast as they are answered, or so many a second."""
    arguments = [str(connections), str(seconds), "--authorization", authorization, "--rate", str(rate)]
    return run("client", "127.0.0.1", str(port), str(file), *arguments)


def run(module: str, *arguments: str) -> dict[str, float]:
    """A program of the bench, to its end; what it says it saw."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
