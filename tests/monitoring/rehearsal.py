"""A storm with every failure that an alert is about, sent to two gateways that a real Prometheus scrapes.

One gateway loses Redis, meets slow answers and conflicts, is sent what it refuses, and dies; the other loses
Kubernetes until its queue is full. Both recover. Faults are injected by the gateways themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from typing import Any, Final

import aiohttp

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.prometheus import Prometheus
from chaos.rig.waiting import eventually, wait_until
from tests.integration.load import PATH, alert, webhook
from tests.integration.sight import resolved

TOKEN: Final = "one"
KNOWN: Final = 20
"""Problems that fire again and again."""
LIMIT: Final = 10
"""`queue.max_depth` of the gateway that loses Kubernetes."""
PACE: Final = 0.12
"""Seconds between two webhooks."""

STORMS: Final[dict[str, Any]] = {
    "hold": "1500ms",
    "inactivity": "1500ms",
    "max_window": "4s",
    "buffer_size": 4,
    "rules": [
        {"matchers": ['alertname="Last"'], "hold": "12s", "max_window": "12s"},
        {"matchers": ['alertname!~"Stormy|Lonely"'], "mode": "immediate"},
    ],
}


class Sender:
    """Webhooks to one gateway until it is stopped: known problems, new ones, storms, and some that are refused."""

    def __init__(self, gateway: GatewayProcess, namespace: str) -> None:
        self._url = gateway.url + PATH
        self._namespace = namespace
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            asyncio.TaskGroup() as sending,
        ):
            for number in itertools.count():
                if self._stopped.is_set():
                    return
                for body in self._bodies(number):
                    sending.create_task(self._post(session, body))
                await asyncio.sleep(PACE)

    def stop(self) -> None:
        self._stopped.set()

    def _bodies(self, number: int) -> Iterable[object]:
        def one(name: str, pod: str, **labels: str) -> dict[str, object]:
            return alert(name, **{"namespace": self._namespace, "pod": pod, **labels})

        yield webhook(one("Fresh", f"fresh-{number}"))
        yield webhook(one("Known", f"known-{number % KNOWN}"), one("Known", f"known-{number // 2 % KNOWN}"))
        if number % 2:
            yield webhook(one("Stormy", f"stormy-{number % 12}"))
        match number % 25:
            case 3:
                yield webhook(one("Denied", "p", namespace="kube-system"))
            case 5:
                yield webhook(one("Known", "known-1"), {"labels": {"no": "name"}})
            case 7:
                yield webhook(resolved(one("Known", "known-2")))
            case 11:
                yield webhook(one("Lonely", f"lonely-{number}"))

    async def _post(self, session: aiohttp.ClientSession, body: object, token: str = TOKEN) -> None:
        try:
            async with session.post(
                self._url, json=body, headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            pass  # what is killed does not answer


async def inject(gateway: GatewayProcess, target: str, mode: str, **more: Any) -> None:
    """Make all calls to a target fail, until its time is over or `end` is called."""
    wish = {"target": target, "mode": mode, "pct": 100, "ttl": "2m", **more}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    status, text = await asyncio.to_thread(gateway.post, "/v1/admin/chaos", wish, headers=headers)
    assert status == 201, text


async def end(gateway: GatewayProcess, target: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    status, text = await asyncio.to_thread(
        gateway.call, "DELETE", f"/v1/admin/chaos/{target}", headers=headers
    )
    assert status == 200, text


class Alarms:
    """The alerts of a Prometheus."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._began = time.time()

    def firing(self) -> set[str]:
        """Those that fire now, by name; with the objective where there is one, with the component of a breaker."""
        found = self._prometheus.query('ALERTS{alertstate="firing"}')
        return {_name(sample["metric"]) for sample in found}

    def fired(self) -> set[str]:
        """Those that fired at some time."""
        found = self._prometheus.query_range(
            'ALERTS{alertstate="firing"}', start=self._began, end=time.time(), step=0.5
        )
        return {_name(series["metric"]) for series in found}

    async def fire(self, *names: str, seconds: float = 40) -> None:
        """Wait until these have fired."""
        try:
            await eventually(lambda: set(names) <= self.fired(), "", seconds=seconds, every=0.3)
        except TimeoutError:
            missing = sorted(set(names) - self.fired())
            raise TimeoutError(f"after {seconds:g} s these have not fired: {missing}") from None

    async def resolve(self, *, seconds: float = 60) -> None:
        """Wait until none fires."""
        try:
            await eventually(lambda: not self.firing(), "", seconds=seconds, every=0.3)
        except TimeoutError:
            raise TimeoutError(f"after {seconds:g} s these still fire: {sorted(self.firing())}") from None


def _name(labels: dict[str, str]) -> str:
    which = labels.get("slo") or labels.get("component")
    return labels["alertname"] + (f" {which}" if which else "")


def hold(gateway: GatewayProcess, namespace: str) -> None:
    """An alert that is held for longer than a gateway needs to be started again.

    Another one where Redis was too slow for the time that it has here, and a request was made at once.
    """
    numbers = itertools.count()

    def held() -> bool:
        body = webhook(alert("Last", namespace=namespace, pod=f"last-{next(numbers)}"))
        _, text = gateway.post(PATH, body, headers={"Authorization": f"Bearer {TOKEN}"})
        return b"buffered" in text

    wait_until(held, "an alert to be held", seconds=20, every=0.5)


def refuse(gateway: GatewayProcess, namespace: str) -> None:
    """What is refused or told at once: credentials, and a webhook whose sender left alerts out."""
    body = webhook(alert("Known", namespace=namespace, pod="known-0"), truncatedAlerts=5)
    for token in (TOKEN, "wrong"):
        gateway.post(PATH, body, headers={"Authorization": f"Bearer {token}"})
