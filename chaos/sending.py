"""Posts webhooks as Alertmanager does: what is answered 5xx, or not at all, is sent again until it is taken.

Each attempt goes to the log at once. Its lines have the form that `gateway audit --sent` reads (`gateway send --help`
names it), so that the gateway's own audit and our oracle judge the same facts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from chaos.alerts import Json, Problem, stamp, webhook

PATH = "/v1/webhooks/prometheus"
ATTEMPTS = 300
PAUSE = 0.4
"""Seconds between two attempts. Alertmanager begins with 0.5 s and waits ever longer, which takes longer to watch."""


class NeverTaken(Exception):
    """A delivery was refused for as long as anybody would try."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer to a delivery: a status that is final, and what became of each alert where it tells."""

    status: int
    alerts: tuple[Json, ...] = ()

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(one["outcome"] for one in self.alerts)

    @property
    def windows(self) -> set[str]:
        """The ids of the windows that hold its alerts."""
        return {one["window"]["id"] for one in self.alerts if "window" in one}


class Sender:
    """Deliveries to one or several gateways, in turn, over kept connections."""

    def __init__(self, urls: Sequence[str], log: Path, *, headers: Mapping[str, str] | None = None) -> None:
        self.statuses: Counter[int] = Counter()
        """Of all attempts; 0 where no answer came."""
        self.accepted = 0
        """Alerts of deliveries that were answered 2xx."""
        self.slowest = 0.0
        """Seconds that the slowest answer took."""
        self._urls = [url.rstrip("/") + PATH for url in urls]
        self._turn = itertools.cycle(self._urls)
        self._headers = {
            "Content-Type": "application/json",
            # What is to be sent again is answered 503 and not 429 to who says so.
            "User-Agent": "Alertmanager/0 (rehearsal)",
            **(headers or {}),
        }
        self._log = log
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._file = self._stack.enter_context(self._log.open("a", encoding="utf-8"))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=128), timeout=aiohttp.ClientTimeout(total=20)
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def deliver(
        self,
        *problems: Problem,
        to: int | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS,
    ) -> Answer:
        """Send the problems as one webhook until it is taken or refused for good (4xx); `to` is a gateway's place.

        A body is repeated to the same gateway, as over a connection that is kept. Raises `NeverTaken`.
        """
        body, delivery = webhook(problems), uuid.uuid4().hex
        url = next(self._turn) if to is None else self._urls[to]
        for attempt in range(1, attempts + 1):
            sent, began = time.time(), time.monotonic()
            status, alerts, connected = await self._post(url, body, {**self._headers, **(headers or {})})
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.statuses[status] += 1
            self._note(problems, alerts, sent, delivery, attempt, status, connected=connected)
            if status and status < 500:
                self.accepted += len(problems) if status < 300 else 0
                return Answer(status, alerts)
            await asyncio.sleep(PAUSE)
        raise NeverTaken(f"{attempts} attempts, the last one answered {status}")

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, tuple[Json, ...], bool]:
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                content = await answer.read()
                try:
                    told = json.loads(content).get("alerts", [])
                except (ValueError, AttributeError):
                    told = []
                return answer.status, tuple(told), True
        except aiohttp.ClientConnectorError:
            return 0, (), False
        except (aiohttp.ClientError, TimeoutError):
            return 0, (), True

    def _note(
        self,
        problems: Sequence[Problem],
        alerts: Sequence[Json],
        sent: float,
        delivery: str,
        attempt: int,
        status: int,
        *,
        connected: bool,
    ) -> None:
        answered = stamp(time.time())
        for index, problem in enumerate(problems):
            verdict = alerts[index] if len(alerts) == len(problems) else {}
            request = verdict.get("request")
            line = {
                "time": stamp(sent),
                "answered": answered,
                "delivery": delivery,
                "attempt": attempt,
                "index": index,
                "resolved": False,
                "labels": problem.labels,
                "annotations": problem.annotations,
                "status": status or None,
                "outcome": verdict.get("outcome"),
                "fingerprint": verdict.get("fingerprint"),
                "request": f"{request['namespace']}/{request['name']}" if request else None,
                "connected": connected,
            }
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Load:
    """Deliveries at a steady rate in the background; what was begun when it is stopped is still delivered."""

    def __init__(
        self,
        sender: Sender,
        draw: Callable[[int], Sequence[Problem]],
        rate: float,
        headers: Callable[[int], Mapping[str, str]] | None = None,
    ) -> None:
        """`draw` gives the problems of the delivery of a number, `rate` is in deliveries a second."""
        self.sent = 0
        """Alerts of all deliveries that were begun."""
        self._sender = sender
        self._draw = draw
        self._rate = rate
        self._headers = headers
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`; raises what its deliveries raise."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as deliveries:
            for number in self._numbers():
                problems = self._draw(number)
                self.sent += len(problems)
                headers = self._headers(number) if self._headers else None
                deliveries.create_task(self._sender.deliver(*problems, headers=headers))
                due = began + (number + 1) / self._rate - time.monotonic()
                try:
                    await asyncio.wait_for(self._stopped.wait(), max(0.0, due))
                except TimeoutError:
                    continue

    def stop(self) -> None:
        self._stopped.set()

    def _numbers(self) -> Iterator[int]:
        return itertools.takewhile(lambda _: not self._stopped.is_set(), itertools.count())
