"""What an alert and a window take: memory of Redis and of the gateway, beside the alert's own bytes as it was sent.

`used_memory` of Redis, and resident memory of the gateway, before and after so many. The Kubernetes API is the embedded
one: bytes are counted, no time is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from tests.bench.figures import Figure
from tests.bench.load import alert, post, webhooks
from tests.bench.stage import PATIENT, Stage, resident, say, settle

ALERTS = 4000
GROUPS = 400
MEMBERS = 10
WARM = 200
"""Alerts before the first look: what a process needs once is no alert's."""
LONG = {"storm": {"hold": "10m", "inactivity": "10m", "max_window": "10m"}}


class Scales:
    """What Redis and the gateway hold, and what came to it since the last look."""

    def __init__(self, redis: RedisServer, gateway: GatewayProcess) -> None:
        self._redis = redis
        self._gateway = gateway
        self._before = (0, 0)
        self.look()

    def look(self) -> tuple[int, int]:
        """Bytes that came since the last look: in Redis, in the gateway."""
        with self._redis.client() as client:
            now = int(client.info("memory")["used_memory"]), resident(self._gateway)
        came = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        return came


def measure(stage: Stage) -> Iterator[Figure]:
    """Open requests, unconfirmed alerts, windows."""
    say("memory …")
    yield from alerts(stage)
    yield from windows(stage)


def alerts(stage: Stage) -> Iterator[Figure]:
    """Each open request; then, without Kubernetes, each alert that waits for it."""
    api, kubeconfig = stage.embedded()
    redis = stage.redis()
    gateway = stage.gateway(redis, kubeconfig, PATIENT, {"queue": {"max_depth": 10 * ALERTS}})
    gateway.start()
    number = stage.some(ALERTS, 300)
    post(gateway, webhooks([alert(place, name="Warm") for place in range(WARM)]))
    settle(gateway)
    scales = Scales(redis, gateway)
    post(gateway, webhooks([alert(place) for place in range(number)]))
    settle(gateway)
    yield from both("an open request", scales.look(), number)
    api.kill()
    post(gateway, webhooks([alert(number + place) for place in range(number)], 500))
    yield from both("an unconfirmed alert", scales.look(), number)


def windows(stage: Stage) -> Iterator[Figure]:
    """Each window, and each further member."""
    _, kubeconfig = stage.embedded()
    redis = stage.redis()
    gateway = stage.gateway(redis, kubeconfig, PATIENT, LONG)
    gateway.start()
    groups = stage.some(GROUPS, 50)
    post(gateway, webhooks([grouped(GROUPS + place, 0) for place in range(WARM)]))
    scales = Scales(redis, gateway)
    post(gateway, webhooks([grouped(group, 0) for group in range(groups)]))
    first = scales.look()
    post(
        gateway, webhooks([grouped(group, member) for group in range(groups) for member in range(1, MEMBERS)])
    )
    others = scales.look()
    yield from both("a window with its first member", first, groups)
    yield from both("a further member of a window", others, groups * (MEMBERS - 1))


def grouped(group: int, member: int) -> dict[str, Any]:
    """A member of a group."""
    return alert(group * 1000 + member, name=f"HighLatency{group:04d}")


def both(what: str, came: tuple[int, int], number: int) -> Iterator[Figure]:
    """The figures of Redis and of the gateway."""
    sent = len(json.dumps(alert(0)))
    for holder, total in zip(("Redis", "gateway"), came, strict=True):
        each = total / number
        yield Figure(
            f"memory of the {holder}, {what}" if holder == "gateway" else f"memory of {holder}, {what}",
            each / sent,
            f"bytes held / the alert's bytes as sent ({sent})",
            beside={"bytes": each},
        )
