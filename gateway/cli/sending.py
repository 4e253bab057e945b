"""Posts webhooks to a gateway the way Alertmanager does, and notes what became of each alert.

A delivery that fails with 5xx or without an answer is sent again with the identical body, from 0.5 s on, 1.5 times
longer each time and with jitter, `Retry-After` ignored: so do Alertmanager's retries. Every attempt is logged as
soon as its outcome is known; an attempt that is cancelled is logged as one without an answer, since it may have
arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import time
import uuid
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec

from gateway.cli.output import Advance
from gateway.cli.sentlog import Attempt
from gateway.cli.testalerts import TestAlert, webhook

TAKEN = frozenset({"created", "duplicate", "buffered", "queued", "resolved"})
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_JSON = {"Content-Type": "application/json"}


class SentAlert(Protocol):
    """What the log tells of an alert of a body."""

    @property
    def status(self) -> str: ...
    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def annotations(self) -> dict[str, str]: ...


class Tally:
    """What became of the alerts of a run, summed up. Latencies are those of answered attempts, in seconds."""

    def __init__(self) -> None:
        self.alerts = 0
        self.webhooks = 0
        self.refused = 0
        """Webhooks whose last attempt was not answered with 2xx."""
        self.outcomes: Counter[str] = Counter()
        """The last word on each alert: its outcome, else `refused` (an error was answered) or `unanswered`."""
        self.statuses: Counter[int | None] = Counter()
        """HTTP statuses of the attempts; None where no answer came."""
        self.latencies = array("d")
        self.requests: dict[str, None] = {}
        """The requests that answers named, in order (the first hundred)."""
        self.failure = ""
        """The first failure, for people."""

    @property
    def attempts(self) -> int:
        return self.statuses.total()

    @property
    def not_taken(self) -> int:
        return sum(number for outcome, number in self.outcomes.items() if outcome not in TAKEN)

    def settle(self, attempts: Sequence[Attempt], status: int | None) -> None:
        """Count the alerts of a delivery, of which `attempts` was the last, answered with `status`."""
        self.webhooks += 1
        if status is None or not 200 <= status < 300:
            self.refused += 1
        self.alerts += len(attempts)
        for attempt in attempts:
            self.outcomes[_last_word(attempt)] += 1
            if attempt.request and len(self.requests) < 100:
                self.requests[attempt.request] = None


def _last_word(attempt: Attempt) -> str:
    if attempt.outcome is not None and (attempt.status or 500) < 500:
        return attempt.outcome
    return "unanswered" if attempt.status is None else "refused"


class Sender:
    """Delivers webhooks over one session. `log` is called with each attempt's entries before anything else follows;
    once `stop` is set, no delivery is tried again."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        retries: int,
        log: Callable[[list[Attempt]], None] | None,
        stop: asyncio.Event,
    ) -> None:
        self._session = session
        self._url = url
        self._retries = retries
        self._log = log
        self.stop = stop
        self.tally = Tally()

    async def deliver(self, alerts: Sequence[TestAlert]) -> None:
        """Send the alerts as one webhook; see `post`."""
        await self.post(webhook(alerts), alerts, _JSON)

    async def post(self, body: bytes, alerts: Sequence[SentAlert], headers: Mapping[str, str]) -> int | None:
        """Send a body that holds the alerts, again where that may help, and take the result into the tally.

        Returns the status of the last attempt, None where no answer came.
        """
        delivery = uuid.uuid4().hex
        pause = _FIRST_PAUSE
        for number in itertools.count(1):
            status, attempts = await self._attempt(alerts, body, headers, delivery, number)
            if (status is not None and status < 500) or number > self._retries or self.stop.is_set():
                break
            await paused(self.stop, pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        self.tally.settle(attempts, status)
        return status

    async def _attempt(
        self,
        alerts: Sequence[SentAlert],
        body: bytes,
        headers: Mapping[str, str],
        delivery: str,
        number: int,
    ) -> tuple[int | None, list[Attempt]]:
        sent, started = timestamp(), time.perf_counter()
        status: int | None = None
        answer: Any = None
        connected = True
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers={**headers, "X-Request-Id": f"{delivery}-{number}"},
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
            ) as response:
                answer = _decoded(await response.read())
                status = response.status
                self.tally.latencies.append(time.perf_counter() - started)
            if status >= 300:
                self._note(f"{status} {response.reason}: {_explanation(answer) or 'no explanation given'}")
        except TimeoutError:
            self._note("no answer in time")
        except aiohttp.ClientConnectorError as reason:
            connected = False
            self._note(os.strerror(reason.os_error.errno) if reason.os_error.errno else str(reason))
        except (aiohttp.ClientError, OSError) as reason:
            self._note(str(reason) or type(reason).__name__)
        finally:
            self.tally.statuses[status] += 1
            attempts = [
                msgspec.structs.replace(entry, connected=connected)
                for entry in _entries(alerts, sent, delivery, number, status, answer)
            ]
            if self._log is not None:
                self._log(attempts)
        return status, attempts

    def _note(self, failure: str) -> None:
        self.tally.failure = self.tally.failure or failure


class Pace(NamedTuple):
    """How fast, and how long. `rate` is in alerts a second (None: as fast as answers come), `duration` in seconds."""

    rate: float | None
    duration: float | None
    batch: int
    concurrency: int

    def expected(self) -> int | None:
        """Return how many alerts fit into the duration, where that can be told."""
        return None if self.rate is None or self.duration is None else math.ceil(self.rate * self.duration)


async def pump(
    sender: Sender, alerts: Iterator[TestAlert], pace: Pace, advance: Advance | None = None
) -> None:
    """Deliver the alerts in batches, until they, the duration or the patience of the user (`stop`) end.

    Each batch is due at its place in the rate, whatever became of those before it (an open loop: a slow gateway is
    not spared), but at most `concurrency` are under way.
    """
    started = time.monotonic()
    batches = enumerate(iter(lambda: list(itertools.islice(alerts, pace.batch)), []))

    async def work() -> None:
        for number, batch in batches:
            elapsed = time.monotonic() - started
            due = number * pace.batch / pace.rate if pace.rate is not None else elapsed
            if pace.duration is not None and due >= pace.duration:
                return
            await paused(sender.stop, due - elapsed)
            if sender.stop.is_set():
                return
            await sender.deliver(batch)
            if advance is not None:
                lost = sender.tally.not_taken
                advance(sender.tally.alerts, f"{lost} not taken" if lost else "")

    async with asyncio.TaskGroup() as group:
        for _ in range(pace.concurrency):
            group.create_task(work())


def _entries(
    alerts: Sequence[SentAlert], sent: str, delivery: str, number: int, status: int | None, answer: Any
) -> Iterator[Attempt]:
    verdicts = answer.get("alerts") if isinstance(answer, dict) else None
    if not isinstance(verdicts, list) or len(verdicts) != len(alerts):
        verdicts = [{}] * len(alerts)
    answered = timestamp()
    for index, (alert, verdict) in enumerate(zip(alerts, verdicts, strict=True)):
        verdict = verdict if isinstance(verdict, dict) else {}
        request = verdict.get("request")
        yield Attempt(
            time=sent,
            answered=answered,
            delivery=delivery,
            attempt=number,
            index=index,
            resolved=alert.status == "resolved",
            labels=alert.labels,
            annotations=alert.annotations,
            status=status,
            outcome=verdict.get("outcome"),
            fingerprint=verdict.get("fingerprint"),
            request=f"{request.get('namespace')}/{request.get('name')}"
            if isinstance(request, dict)
            else None,
            detail=verdict.get("detail") or (_explanation(answer) if status and status >= 300 else None),
        )


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _explanation(answer: Any) -> str | None:
    """Return what a `problem+json` answer says, cut short."""
    if not isinstance(answer, dict):
        return None
    return str(answer.get("detail") or answer.get("title") or "")[:300] or None


async def paused(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop` is set."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def timestamp() -> str:
    """Return the time now in the log's form: UTC, fixed width."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
