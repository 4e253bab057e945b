"""Deliveries inside one of Locust's workers: each turn at its time, whatever became of those before it.

A dispatcher hands out the turns when they are due, Locust's users take them, and the delivery goes on in a greenlet of
its own, so that a slow answer keeps nobody from taking the next turn: an open loop. By how much a turn was taken too
late is noted. What is answered 5xx or not at all is sent again to the byte, with Alertmanager's pauses.
"""

from __future__ import annotations

import itertools
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.queue import Queue
from locust.contrib.fasthttp import FastHttpSession

from chaos.alerts import Json, webhook
from chaos.load.entries import Attempt, Writer
from chaos.load.mix import REFUSED, Kind, Turn
from chaos.load.plan import Plan, spoiled
from chaos.load.retrying import is_final, pause

PATH = "/v1/webhooks/prometheus"
AT_ONCE = 2000
"""Deliveries that a worker has under way at the most; past that its turns are late."""


class Dispatcher:
    """The turns of one worker, each ready when it is due."""

    def __init__(self, plan: Plan, worker: int, began: float) -> None:
        """`began` is the wall time that the turns count from; worker n takes every turn whose number leaves n."""
        self._plan = plan
        self._worker = worker
        self._began = began
        self._ready: Queue = Queue()
        self._pool = Pool(AT_ONCE)
        self._writer = Writer(Path(plan.folder), worker)

    def run(self, done: Callable[[], None]) -> None:
        """Hands out all turns, waits until every delivery has come to its end, and says that it is done."""
        with self._writer:
            for turn in self._turns():
                gevent.sleep(max(0.0, self._began + turn.due - time.time()))
                self._ready.put(turn)
            while not self._ready.empty():
                gevent.sleep(0.05)
            self._pool.join()
        done()

    def take(self, client: FastHttpSession) -> None:
        """Waits for the next turn and begins its delivery over this client."""
        turn = self._ready.get()
        self._pool.spawn(self._deliver, client, turn)

    def _turns(self) -> Iterator[Turn]:
        plan = self._plan
        for turn in plan.mix(self._began).turns(plan.shape.due()):
            if turn.number % plan.workers == self._worker:
                yield turn

    def _deliver(self, client: FastHttpSession, turn: Turn) -> None:
        lag = max(0.0, time.time() - self._began - turn.due)
        delivery = Delivery(self._plan, client, turn, lag)
        give_up = time.monotonic() + self._plan.retried_for
        for number in itertools.count(1):
            attempt = delivery.attempt(number)
            self._writer.write(attempt)
            if is_final(attempt.status):
                return
            seconds = pause(number, random.uniform(0.5, 1.5), give_up - time.monotonic())
            if seconds is None:
                return
            gevent.sleep(seconds)


class Delivery:
    """One webhook, the same to the byte however often it is sent, and always to the same gateway."""

    def __init__(self, plan: Plan, client: FastHttpSession, turn: Turn, lag: float) -> None:
        """`lag`: seconds by which it begins late."""
        self._client = client
        self._turn = turn
        self._lag = lag
        self._id = uuid.uuid4().hex
        self._url = plan.urls[turn.number // plan.workers % len(plan.urls)] + PATH
        self._body = webhook(turn.problems, ended=time.time() if turn.resolved else None)
        # What is to be sent again is answered 503 and not 429 to who says so.
        self._headers = {"Content-Type": "application/json", "User-Agent": "Alertmanager/0 (load)"}
        if plan.tokens:
            token = plan.tokens[turn.number % len(plan.tokens)]
            token = spoiled(token, turn.number) if turn.kind is Kind.TAMPERED else token
            self._headers["Authorization"] = f"Bearer {token}"

    def attempt(self, number: int) -> Attempt:
        """Send it, and tell Locust and the caller what came of it."""
        at, began = time.time(), time.perf_counter()
        with self._client.request(
            "POST",
            self._url,
            name=self._turn.kind.value,
            data=self._body,  # type: ignore[arg-type] # bytes are what it sends in the end
            headers=self._headers,
            catch_response=True,
        ) as answer:
            seconds = time.perf_counter() - began
            status: int = answer.status_code
            # The user agent raises for whatever is no success; the answer is here all the same.
            failure: BaseException | None = getattr(answer, "error", None)
            error = "" if status else _said(failure)
            expected = REFUSED.get(self._turn.kind)
            if status == expected or (expected is None and 200 <= status < 300):
                answer.success()
            else:
                answer.failure(f"status {status}" if status else error)
            return Attempt(
                turn=self._turn,
                delivery=self._id,
                number=number,
                at=at,
                lag=self._lag,
                seconds=seconds,
                status=status,
                verdicts=_verdicts(answer.content) if status else (),
                error=error,
                connected=not isinstance(failure, ConnectionRefusedError),
            )


def _verdicts(content: bytes | None) -> tuple[Json, ...]:
    try:
        found: Any = json.loads(content or b"")
    except ValueError:
        return ()
    alerts = found.get("alerts") if isinstance(found, dict) else None
    return tuple(alerts) if isinstance(alerts, list) else ()


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"[:200] if error else "no answer"
