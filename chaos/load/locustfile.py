"""What Locust runs: the master's shape, which follows the plan, and the workers' users, who take turns.

The number of users follows the rate, so that Locust's own report draws the shape; the turns themselves come from the
plan, exact to the millisecond, and not from users who wait.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import gevent
from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from chaos.load.delivering import Dispatcher
from chaos.load.plan import BEGAN, VARIABLE, Plan

PLAN = Plan.read(Path(os.environ[VARIABLE]))
LEAD = 2.0
"""Seconds between the word to begin and the first turn: workers and their first users are there by then."""
SPARE = 60.0
"""Seconds, beyond those that a delivery may take, after which a worker that says nothing is not waited for."""
SPAWNED = 100.0
"""Users that come or go in a second."""

_dispatcher: list[Dispatcher] = []
_done: set[str] = set()


class PlannedShape(LoadTestShape):
    """As many users as the plan has webhooks a second, until every worker has delivered its last."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shape = PLAN.shape
        self._began: float | None = None

    def tick(self) -> tuple[int, float] | None:
        """Asked once a second, by the master."""
        now = time.time()
        if self._began is None:
            self._began = now + LEAD
            assert self.runner is not None
            self.runner.send_message("begin", self._began)
            unfinished = Path(PLAN.folder) / f"{BEGAN}.unfinished"
            unfinished.write_text(json.dumps(self._began))
            unfinished.replace(Path(PLAN.folder) / BEGAN)
        after = now - self._began
        late = after > self._shape.seconds + PLAN.retried_for + SPARE
        if len(_done) >= PLAN.workers or late:
            return None
        rate = self._shape.highest(max(0.0, after), after + 2 * LEAD) if after < self._shape.seconds else 0.0
        return max(2 * PLAN.workers, math.ceil(rate)), SPAWNED


class Sender(FastHttpUser):
    """Takes turns. All users of a worker share its connections, as those of an Alertmanager do."""

    host = PLAN.urls[0]
    network_timeout = 20.0
    connection_timeout = 5.0
    client_pool = HTTPClientPool(concurrency=500, network_timeout=20.0, connection_timeout=5.0)

    @task
    def take(self) -> None:
        while not _dispatcher:
            gevent.sleep(0.01)
        _dispatcher[0].take(self.client)


def _prepare(environment: Environment, **_: Any) -> None:
    """Registers what master and workers say to each other."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):

        def done(msg: Any, **_: Any) -> None:
            _done.add(msg.node_id)

        runner.register_message("done", done)
    if isinstance(runner, WorkerRunner):
        worker = runner

        def begin(msg: Any, **_: Any) -> None:
            dispatcher = Dispatcher(PLAN, worker.worker_index, float(msg.data))
            _dispatcher.append(dispatcher)
            gevent.spawn(dispatcher.run, lambda: worker.send_message("done"))

        runner.register_message("begin", begin)


events.init.add_listener(_prepare)  # type: ignore[no-untyped-call]
