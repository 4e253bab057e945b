"""Between a real sender and the gateway: forwards each webhook, and remembers it with the answer.

What was counted is judged by this record, which neither side has written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.integration.load import PATH

Labels = frozenset[tuple[str, str]]
Alert = dict[str, Any]

_PASSED_ON = ("Content-Type", "User-Agent")


def key(labels: Mapping[str, str]) -> Labels:
    """What tells one alert of Alertmanager from another."""
    return frozenset(labels.items())


@dataclass(frozen=True)
class Delivery:
    """One webhook, sent once."""

    alerts: list[Alert]
    status: int | None
    """What the gateway answered; None where it did not answer, 0 where nobody was there to be asked."""

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def firing(self) -> list[Labels]:
        return [key(alert["labels"]) for alert in self.alerts if alert["status"] == "firing"]

    def resolved(self) -> list[Alert]:
        return [alert for alert in self.alerts if alert["status"] == "resolved"]


@dataclass
class Forwarder:
    """`url` is where the sender's webhooks go; `deliveries` is what came of them, in order."""

    url: str = ""
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def taken(self) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.taken]

    def statuses(self) -> Counter[int | None]:
        return Counter(delivery.status for delivery in self.deliveries)

    def occurrences(self) -> Counter[Labels]:
        """How often each alert fired in webhooks that were answered 2xx: what must have been counted."""
        return Counter(labels for delivery in self.taken for labels in delivery.firing())

    def last_firing(self) -> set[Labels]:
        """What fired in the last webhook that was taken."""
        return set(self.taken[-1].firing()) if self.taken else set()

    def resolved(self) -> list[Alert]:
        """Each alert that a taken webhook called resolved, as often as it did."""
        return [alert for delivery in self.taken for alert in delivery.resolved()]


@asynccontextmanager
async def forwarding(gateway_url: str) -> AsyncIterator[Forwarder]:
    """Forwards to the gateway until the block ends; where that gives no answer, the sender gets 502."""
    forwarder = Forwarder()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
            status: int | None = None
            content = b""
            try:
                async with session.post(gateway_url + PATH, data=body, headers=headers) as answer:
                    content, status = await answer.read(), answer.status
            except aiohttp.ClientConnectorError:
                status = 0
            except (aiohttp.ClientError, TimeoutError):
                pass
            forwarder.deliveries.append(Delivery(json.loads(body)["alerts"], status))
            return web.Response(status=status or 502, body=content)

        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post(PATH, forward)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        forwarder.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
        try:
            yield forwarder
        finally:
            await runner.cleanup()
