"""Senders for the tests: bodies as Alertmanager posts them, many at once, sent again until they are answered 2xx."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

PATH = "/v1/webhooks/prometheus"


def alert(
    name: str = "PodOOMKilled", *, starts_at: str = "2026-01-31T09:00:00Z", **labels: str
) -> dict[str, object]:
    """One firing alert of Alertmanager's form."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} fires"},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
    }


def webhook(*alerts: dict[str, object], **fields: object) -> dict[str, object]:
    """A webhook of version 4 around the alerts."""
    return {"version": "4", "status": "firing", "receiver": "gateway", "alerts": list(alerts), **fields}


@dataclass
class Books:
    """What a sender knows: deliveries that were answered 2xx, and attempts that were not."""

    accepted: int = 0
    attempts: int = 0
    unanswered: int = 0
    refused: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


async def deliver(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    books: Books,
    *,
    attempts: int = 60,
    wait: float = 0.2,
) -> None:
    """Post one body until it is answered 2xx, as Alertmanager does. Raises AssertionError when it gives up."""
    for _ in range(attempts):
        books.attempts += 1
        try:
            async with session.post(
                url + PATH, data=body, headers={"Content-Type": "application/json"}
            ) as answer:
                text = await answer.read()
                if answer.status < 300:
                    books.accepted += 1
                    for entry in json.loads(text)["alerts"]:
                        books.outcomes[entry["outcome"]] = books.outcomes.get(entry["outcome"], 0) + 1
                    return
                assert answer.status == 503, (answer.status, text)
                books.refused += 1
        except (aiohttp.ClientError, TimeoutError):
            books.unanswered += 1
        await asyncio.sleep(wait)
    raise AssertionError(f"no 2xx after {attempts} attempts")


async def flood(urls: Sequence[str], bodies: Sequence[bytes], *, at_once: int = 50) -> Books:
    """Deliver all bodies, each to the next of the URLs, so many at once."""
    books = Books()
    targets = itertools.cycle(urls)
    queue = list(reversed(bodies))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def sender() -> None:
            while queue:
                await deliver(session, next(targets), queue.pop(), books)

        await asyncio.gather(*(sender() for _ in range(at_once)))
    return books
