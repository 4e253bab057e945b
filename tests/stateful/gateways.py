"""Gateways of a state machine: the real engine and store, between wires that it cuts and a watch that it holds.

Everything runs in the simulation's virtual time. Between two steps of the machine time stands still, so a step may
find calls under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from gateway import errors
from gateway.engine.engine import Engine, Limits
from gateway.engine.ports import Ports
from gateway.kube.index import Index
from gateway.model import Hold, Outcome, Verdict
from gateway.state.keys import Keys
from gateway.state.records import Kind, Standing
from gateway.state.store import RedisStore
from gateway.telemetry.metrics import Metrics
from gateway.web.webhook import count_outcomes
from tests.simulation.api import Api, Violation
from tests.simulation.world import Clock, SimCluster, SimReading, SimSpaces
from tests.stateful.frozen import FrozenRedis

KEYS = Keys("m:", 1)
LATENCY = {"redis": 0.0005, "kube": 0.002}
WATCH_DELAY = 0.002
COUNTED = (Outcome.CREATED, Outcome.DUPLICATE, Outcome.QUEUED, Outcome.BUFFERED)
WRITES = ("create", "patch", "delete")


class Surroundings:
    """What all gateways share, and what an onlooker sees of it."""

    def __init__(self, redis: FrozenRedis) -> None:
        self.redis = redis
        self.api = Api(("prod", "fallback"))
        self.violations: list[str] = []
        self.withdrawn: Counter[str] = Counter()
        """Occurrences that resolved in their window, by fingerprint, as Redis answered."""
        self.doubtful = False
        """An answer was lost: what a metric says may be one off."""

    def picture(self) -> str:
        """What there is, for whoever has to find out why."""
        raw: Any = self.redis.raw
        kinds: dict[str, Callable[[str], Any]] = {
            "hash": raw.hgetall,
            "string": raw.get,
            "zset": lambda key: raw.zrange(key, 0, -1, withscores=True),
        }
        requests = [
            f"{stored.name} open={stored.open} {stored.applied or dict(stored.members or {})}"
            for stored in self.api.listed()
        ]
        keys = [f"{key} {kinds[raw.type(key)](key)}" for key in sorted(raw.scan_iter("*"))]
        return "\n".join(["", *requests, *keys])


class Wire:
    """Between one gateway and one server."""

    def __init__(self, around: Surroundings, kind: str) -> None:
        self._around = around
        self._kind = kind
        self.dead = False
        self.fates: deque[str] = deque()
        """What becomes of the next calls: `performed` or `never`, and no answer comes."""

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        await asyncio.sleep(LATENCY[self._kind])
        if self.dead:
            raise self._error()
        fate = ""
        if self.fates and (self._kind == "redis" or name in WRITES):
            fate = self.fates.popleft()
            self._around.doubtful = True
        result = None
        if fate != "never":
            self._around.redis.set(asyncio.get_running_loop().time())
            try:
                result = perform()
                if asyncio.iscoroutine(result):
                    result = _performed(result)
            except Violation as violation:
                self._around.violations.append(str(violation))
                raise
            except AssertionError as fault:
                self._around.violations.append(f"{name}: {fault}")
                raise
        await asyncio.sleep(LATENCY[self._kind])
        if fate or self.dead:
            raise self._error()
        return result

    def _error(self) -> errors.GatewayError:
        if self._kind == "redis":
            return errors.StoreUnsure("no answer came", kind="timeout")
        return errors.KubeUnavailable("no answer came")


def _performed(call: Any) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store waited, though its client blocks")


class Store:
    """The real store behind a wire."""

    def __init__(self, around: Surroundings, wire: Wire) -> None:
        self._around = around
        self._wire = wire
        self.real = RedisStore(around.redis, KEYS, write_interval=1.0)  # type: ignore[arg-type]
        self.shards = self.real.shards
        self.shard = self.real.shard

    def __getattr__(self, name: str) -> Any:
        method = self._admit if name == "admit" else getattr(self.real, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await self._wire.call(name, lambda: method(*arguments, **options))

        return call

    async def _admit(self, shard: int, messages: Any, *, notes_taken: bool, life: str = "") -> Any:
        reply = await self.real.admit(shard, messages, notes_taken=notes_taken, life=life)
        for message, admitted in zip(messages, reply.results, strict=bool(reply.results)):
            if message.kind is Kind.RESOLVED and admitted.standing is Standing.RESOLVED:
                self._around.withdrawn[message.fingerprint] += admitted.base
        return reply


class Gateway:
    """One process. `step` its loop for anything to happen."""

    def __init__(self, around: Surroundings, name: str, *, most_members: int) -> None:
        self._around = around
        self.name = name
        self.index = Index()
        self.metrics = Metrics(CollectorRegistry())
        self.redis_wire = Wire(around, "redis")
        self.kube_wire = Wire(around, "kube")
        self.synced = False
        self.watching = asyncio.Event()
        self.watching.set()
        self._arrived = asyncio.Event()
        self.engine = Engine(
            Ports(
                store=Store(around, self.redis_wire),  # type: ignore[arg-type]
                cluster=SimCluster(around, self.kube_wire),  # type: ignore[arg-type]
                index=self.index,
                spaces=SimSpaces(around.api),
                synced=lambda: self.synced,
                fallback_namespace="fallback",
                clock=Clock(),
                metrics=self.metrics,
            ),
            Limits(ack_wait=0.1, max_members=most_members),
            process_id=name,
        )
        self._tasks = [asyncio.create_task(run()) for run in self.engine.background().values()]
        self._tasks.append(asyncio.create_task(self._watch()))
        around.api.listeners.append(self._arrived.set)
        self._calls: set[asyncio.Task[Any]] = set()

    async def _watch(self) -> None:
        api, loop = self._around.api, asyncio.get_running_loop()
        self.index.replace(api.listed(), api.version, loop.time())
        position = len(api.events)
        self.synced = True
        while True:
            while position < len(api.events):
                await asyncio.sleep(WATCH_DELAY)
                await self.watching.wait()
                kind, stored = api.events[position]
                position += 1
                if kind == "DELETED":
                    self.index.remove(stored.ref, stored.uid, loop.time(), stored)
                else:
                    self.index.apply(stored)
            self._arrived.clear()
            await self._arrived.wait()

    async def accept(self, readings: Sequence[SimReading], body: bytes) -> Sequence[Verdict]:
        """Raises what the engine does, and CancelledError where the process dies."""
        task = asyncio.create_task(
            self.engine.accept(readings, body, received_at=Clock().wall())  # type: ignore[arg-type]
        )
        self._calls.add(task)
        try:
            verdicts = await task
        finally:
            self._calls.discard(task)
        # As the webhook does it.
        self.metrics.alerts_received.inc(len(verdicts))
        self.metrics.alerts_resolved.inc(count_outcomes(verdicts).get("resolved", 0))
        return verdicts

    def kill(self) -> None:
        """SIGKILL: nothing of it acts any more, and its memory is gone."""
        self.redis_wire.dead = self.kube_wire.dead = True
        for task in (*self._tasks, *self._calls):
            task.cancel()
        self._around.api.listeners.remove(self._arrived.set)

    def told(self, name: str) -> float:
        """A counter's sum over its labels."""
        return sum(
            sample.value
            for metric in self.metrics.registry.collect()
            if metric.name == f"gateway_{name}"
            for sample in metric.samples
        )


HOLDS = {
    "plain": Hold(3, 2000, 1500, 5000, False, 100, 1000),
    "pair": Hold(2, 2000, 1500, 5000, False, 100, 1000),
    "early": Hold(2, 2000, 1500, 5000, True, 100, 1000),
    "spilling": Hold(2, 2000, 1500, 5000, False, 2, 1000),
    "narrow": Hold(3, 2000, 1500, 5000, False, 2, 3),
    "early narrow": Hold(2, 2000, 1500, 5000, True, 2, 3),
}
"""Threshold, hold, inactivity, longest life, early, members of a buffer, members in all."""
