"""The world of one schedule: servers, replicas, senders, controllers, and a nemesis; all from one seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from gateway import errors
from gateway.config.settings import KubernetesBreaker, RedisBreaker
from gateway.engine.engine import Engine, Limits
from gateway.engine.journal import Journal
from gateway.engine.ports import Breakers, Ports
from gateway.kube.index import Index, Listing
from gateway.kube.stored import Head, Stored
from gateway.kube.storms import Storm
from gateway.model import Hold, RequestRef, Severity, Signal
from gateway.model import Outcome as Fate
from gateway.resilience.breakers import Breaker, Outcome
from gateway.resilience.policies import PING_INTERVAL, kubernetes_policy, redis_policy
from gateway.resilience.probing import Finding, keep_probing
from gateway.state.records import (
    Admission,
    AdmitReply,
    Claim,
    Confirmation,
    DeadLetter,
    Note,
    OpenWindows,
    Seen,
    WindowConfirmation,
)
from gateway.telemetry.metrics import Metrics
from tests.simulation.api import Api, Violation, counts
from tests.simulation.disk import Disk, Thread
from tests.simulation.twin import ShardData, Twin

_METRICS = Metrics(CollectorRegistry())
PAGE = 2
"""Requests of a page of a list: few, so that the world goes on between them."""


@dataclass(frozen=True)
class Profile:
    """Which faults a schedule has, as probabilities for each call or each second."""

    name: str
    replicas: int = 2
    problems: int = 2
    duration: float = 20.0
    deliveries: int = 14
    redis_fault: float = 0.0
    kube_fault: float = 0.0
    outage: float = 0.0
    lag: float = 0.0
    flush: float = 0.0
    evict: float = 0.0
    failover: float = 0.0
    crash: float = 0.0
    pause: float = 0.0
    close: float = 0.0
    delete: float = 0.0
    rival: float = 0.0
    resolve: float = 0.0
    lost_answer: float = 0.0
    relist: float = 0.0
    fork: float = 0.0
    calamity: float = 0.0
    """A replica dies, and Redis loses data at the same moment."""
    journal: bool = False
    """Replicas keep a journal, and whoever is started in the place of a dead one gets its disk."""
    disk_fault: float = 0.0
    repeat: float = 0.0
    """How many deliveries come again, with the same body, after they were answered 2xx."""
    shards: int = 1
    hold: Hold | None = None
    """How new alerts are held; None: their requests are created at once."""
    breakers: bool = False
    """Whether each replica has breakers, with the pace of the real ones."""
    slow: float = 0.0
    """How many calls of Kubernetes take seconds, and may end without an answer after all."""
    concurrency: int = 32
    """Calls of Kubernetes that a replica makes at once."""
    alone: bool = False
    """Without Redis until senders end, and what is refused comes again to the same replica: every note is in its
    memory, so that each delivery counts once."""
    one_open: bool = False
    """Two open requests of a problem are a fault, be it for a moment."""


@dataclass
class SimReading:
    """One alert as intake would hand it on."""

    fingerprint: str
    starts_at: str
    resolved: bool = False
    ends_at: str = ""
    dated: bool = True
    group: str = "prod/A"
    namespace: str = "prod"
    alertname: str = "A"
    rule: Hold | None = None

    def hold(self) -> Hold | None:
        return self.rule

    def signal(self) -> Signal:
        return Signal(
            fingerprint=self.fingerprint,
            alertname=self.alertname,
            namespace=self.namespace,
            group=self.group,
            labels={"alertname": self.alertname, "pod": self.fingerprint[:4]},
            annotations={},
            severity=Severity.WARNING,
            environment="production",
            priority="P2",
            starts_at=self.starts_at,
            received_at=self.starts_at,
        )


@dataclass
class Tally:
    """What senders know of one problem."""

    accepted: int = 0
    """Alerts answered 2xx as counted."""
    maybe: int = 0
    """Alerts whose answer never came, or whose sender gave up."""


class Clock:
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> str:
        return moment(self.monotonic())


def moment(seconds: float) -> str:
    """A fixed-width time so many seconds after a day's start."""
    whole = int(seconds)
    return (
        f"2026-01-{1 + whole // 86400:02d}T{whole // 3600 % 24:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        f".{int((seconds - whole) * 1e9):09d}Z"
    )


class Wire:
    """Between one replica and one server: loses, delays and repeats, as the nemesis says."""

    def __init__(self, world: World, kind: str) -> None:
        self.world = world
        self.kind = kind
        self.cut = False
        self.dead = False
        self.frozen: asyncio.Event | None = None
        self.breaker = _breaker(kind) if world.profile.breakers else None

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        breaker = self.breaker
        if breaker is None:
            return await self._call(name, perform)
        if not breaker.allow():
            self.world.faulted(self.kind, name)
            if self.kind == "redis":
                raise errors.StoreRefused("not tried", kind="breaker_open")
            raise errors.KubeNotTried("not tried", retry_after=breaker.retry_after())
        try:
            result = await self._call(name, perform)
        except (errors.StoreError, errors.KubeUnavailable) as error:
            breaker.record(Outcome.FAILURE, str(error))
            raise
        except errors.GatewayError:
            breaker.record(Outcome.SUCCESS)
            raise
        breaker.record(Outcome.SUCCESS)
        return result

    async def probe(self) -> Finding:
        try:
            await self._call("probe", lambda: None)
        except errors.GatewayError as error:
            return Finding(Outcome.FAILURE, str(error))
        return Finding(Outcome.SUCCESS)

    async def _call(self, name: str, perform: Callable[[], Any]) -> Any:
        world, rng = self.world, self.world.rng
        if self.frozen is not None:
            await self.frozen.wait()
        if self.dead or self.cut or world.down[self.kind]:
            await asyncio.sleep(0.001)
            raise self._refused()
        rate = (
            world.profile.redis_fault if self.kind == "redis" else world.profile.kube_fault
        ) * world.harshness
        if self.kind == "kube" and world.profile.slow and rng.random() < world.profile.slow * world.harshness:
            return await self._slowly(name, perform)
        fate = rng.random()
        latency = 0.0005 + 0.002 * rng.random()
        if fate >= rate:
            await asyncio.sleep(latency)
            if self.dead:
                raise self._refused()
            try:
                result = perform()
            except Violation as violation:
                world.violations.append(str(violation))
                raise
            await asyncio.sleep(latency)
            return result
        world.faulted(self.kind, name)
        which = rng.randrange(5)
        if which == 0:
            world.trace(f"{self.kind} {name}: refused")
            await asyncio.sleep(latency)
            raise self._refused()
        if which == 1:
            world.trace(f"{self.kind} {name}: lost")
            await asyncio.sleep(0.01)
        elif which in (2, 3):
            world.trace(f"{self.kind} {name}: performed, answer lost")
            await asyncio.sleep(latency)
            self._quietly(perform)
            await asyncio.sleep(0.01)
        else:
            delay = rng.choice((0.05, 0.5, 3.0, 12.0))
            world.trace(f"{self.kind} {name}: {delay} s late")
            asyncio.get_running_loop().call_later(delay, self._quietly, perform)
            await asyncio.sleep(0.01)
        raise self._unsure()

    async def _slowly(self, name: str, perform: Callable[[], Any]) -> Any:
        """The server takes its time, and goes on whether or not somebody still waits for the answer."""
        world, rng = self.world, self.world.rng
        seconds = rng.choice((1.0, 4.0, 10.0))
        world.faulted(self.kind, name)
        which = rng.randrange(3)
        world.trace(f"{self.kind} {name}: takes {seconds} s, {('answered', 'performed', 'lost')[which]}")
        if which == 0:
            result = perform()
            await asyncio.sleep(seconds)
            return result
        if which == 1:
            asyncio.get_running_loop().call_later(seconds * rng.random(), self._quietly, perform)
        await asyncio.sleep(seconds)
        raise self._unsure()

    def _quietly(self, perform: Callable[[], Any]) -> None:
        try:
            perform()
        except errors.GatewayError:
            pass
        except Violation as violation:
            self.world.violations.append(str(violation))

    def _refused(self) -> errors.GatewayError:
        if self.kind == "redis":
            return errors.StoreRefused("refused", kind="connection")
        return errors.KubeUnavailable("refused")

    def _unsure(self) -> errors.GatewayError:
        if self.kind == "redis":
            return errors.StoreUnsure("timeout", kind="timeout")
        return errors.KubeUnavailable("timeout")


def _breaker(kind: str) -> Breaker:
    policy = redis_policy(RedisBreaker()) if kind == "redis" else kubernetes_policy(KubernetesBreaker())
    return Breaker(kind, policy, clock=Clock().monotonic)


class SimStore:
    """The store's port of one replica."""

    def __init__(self, world: World, wire: Wire, token: str) -> None:
        self._world = world
        self._wire = wire
        self._token = token
        self._tokens = 0

    @property
    def shards(self) -> int:
        return self._world.redis.shards

    def shard(self, group: str) -> int:
        return self._world.redis.shard(group)

    async def _call(self, name: str, perform: Callable[[Twin], Any]) -> Any:
        return await self._wire.call(name, lambda: perform(self._world.redis))

    async def admit(
        self, shard: int, messages: Sequence[Admission], *, notes_taken: bool, life: str = ""
    ) -> AdmitReply:
        kept = list(messages)
        token = self._fresh_token()
        reply: AdmitReply = await self._call(
            "admit",
            lambda redis: redis.admit(shard, kept, notes_taken=notes_taken, life=life, token=token),
        )
        return reply

    def _fresh_token(self) -> str:
        self._tokens += 1
        return f"{self._token}-{self._tokens}"

    async def claim(self, shard: int, *, limit: int, lease: float, identify: bool) -> Claim:
        token = self._fresh_token() if identify else ""
        claim: Claim = await self._call(
            "claim", lambda redis: redis.claim(shard, limit=limit, lease=lease, token=token)
        )
        return claim

    async def confirm(self, shard: int, confirmations: Sequence[Confirmation]) -> int:
        kept = list(confirmations)
        return int(await self._call("confirm", lambda redis: redis.confirm(shard, kept)))

    async def confirm_window(self, shard: int, confirmation: WindowConfirmation) -> int:
        return int(
            await self._call("confirm_window", lambda redis: redis.confirm_window(shard, confirmation))
        )

    async def payloads(self, shard: int, fingerprints: Sequence[str]) -> list[str]:
        kept = list(fingerprints)
        return list(await self._call("payloads", lambda redis: redis.payloads(shard, kept)))

    async def windows(self, shard: int, first: int, last: int) -> OpenWindows:
        found: OpenWindows = await self._call("windows", lambda redis: redis.windows(shard, first, last))
        return found

    async def look(self, shard: int, fingerprint: str) -> Seen:
        seen: Seen = await self._call("look", lambda twin: twin.look(shard, fingerprint))
        return seen

    async def postpone(self, shard: int, item: str, *, delay: float, attempts: int) -> None:
        await self._call(
            "postpone", lambda redis: redis.postpone(shard, item, delay=delay, attempts=attempts)
        )

    async def hurry(self, shard: int, *, spread: float) -> int:
        return int(await self._call("hurry", lambda redis: redis.hurry(shard, spread=spread)))

    async def arrange(self, shard: int, fingerprint: str, *, known: int) -> int:
        return int(await self._call("arrange", lambda redis: redis.arrange(shard, fingerprint, known=known)))

    async def note(self, shard: int, notes: Sequence[Note]) -> None:
        kept = list(notes)
        await self._call("note", lambda redis: redis.note(shard, kept))

    async def take_notes(self, shard: int, notes: Sequence[Note]) -> list[bool]:
        kept = list(notes)
        return list(await self._call("take_notes", lambda redis: redis.take_notes(shard, kept)))

    async def sweep(self, shard: int) -> int:
        return int(await self._call("sweep", lambda redis: redis.sweep(shard)))

    async def bury(self, shard: int, fingerprint: str, reason: str) -> None:
        await self._call("bury", lambda redis: redis.bury(shard, fingerprint, reason))

    async def exhume(self, shard: int, fingerprint: str) -> bool:
        return bool(await self._call("exhume", lambda redis: redis.exhume(shard, fingerprint)))

    async def dead_letters(self, shard: int) -> list[DeadLetter]:
        return list(await self._call("dead_letters", lambda redis: redis.dead_letters(shard)))


class SimCluster:
    """The cluster's port of one replica."""

    def __init__(self, world: World, wire: Wire) -> None:
        self._api = world.api
        self._wire = wire

    async def create(self, namespace: str, body: bytes) -> Stored:
        stored: Stored = await self._wire.call("create", lambda: self._api.create(namespace, body))
        return stored

    async def patch(self, ref: RequestRef, body: bytes) -> Stored:
        stored: Stored = await self._wire.call("patch", lambda: self._api.patch(ref, body))
        return stored

    async def get(self, ref: RequestRef) -> Stored:
        stored: Stored = await self._wire.call("get", lambda: self._api.get(ref))
        return stored

    async def storm(self, ref: RequestRef) -> Storm:
        storm: Storm = await self._wire.call("storm", lambda: self._api.storm(ref))
        return storm

    async def delete(self, ref: RequestRef, *, uid: str, resource_version: int) -> None:
        await self._wire.call("delete", lambda: self._api.delete(ref, uid, resource_version))

    async def heads(
        self, fingerprints: Sequence[str], *, namespaces: Sequence[str] | None = None
    ) -> list[Head]:
        kept = list(fingerprints)
        return list(await self._wire.call("heads", lambda: self._api.heads(kept, namespaces)))


class SimSpaces:
    def __init__(self, api: Api) -> None:
        self._api = api

    def exists(self, namespace: str) -> bool | None:
        return namespace in self._api.namespaces


class Replica:
    """One gateway process: the real engine between two wires and a watch, and a disk where there are journals."""

    def __init__(
        self, world: World, name: str, engine_type: type[Engine] = Engine, disk: Disk | None = None
    ) -> None:
        self.world = world
        self.name = name
        self.index = world.make_index()
        self.redis_wire = Wire(world, "redis")
        self.kube_wire = Wire(world, "kube")
        self.synced = False
        self.disk = disk
        self.thread = Thread(world.rng)
        self.store = SimStore(world, self.redis_wire, f"token-{name}")
        self.engine = engine_type(
            Ports(
                store=self.store,
                cluster=SimCluster(world, self.kube_wire),
                index=self.index,
                spaces=SimSpaces(world.api),
                synced=lambda: self.synced,
                fallback_namespace="fallback",
                clock=Clock(),
                metrics=_METRICS,
                breakers=Breakers(self.redis_wire.breaker, self.kube_wire.breaker),
            ),
            Limits(
                ack_wait=0.25,
                concurrency=world.profile.concurrency,
                max_members=world.profile.hold.max_alerts if world.profile.hold else 1000,
            ),
            process_id=name,
            journal=self._journal(disk) if disk is not None else None,
        )
        self.watching = asyncio.Event()
        self.watching.set()
        self.tasks = [
            asyncio.create_task(run(), name=f"{name}-{what}")
            for what, run in self.engine.background().items()
        ]
        self.tasks.append(asyncio.create_task(self._watch(), name=f"{name}-watch"))
        for wire in (self.redis_wire, self.kube_wire):
            if wire.breaker is not None:
                probing = keep_probing(
                    wire.breaker, wire.probe, interval=PING_INTERVAL if wire.kind == "redis" else None
                )
                self.tasks.append(asyncio.create_task(probing, name=f"{name}-probe-{wire.kind}"))
        self.calls: dict[asyncio.Task[Any], None] = {}
        self.alive = True

    def _journal(self, disk: Disk) -> Journal:
        journal = Journal(disk, run=self.thread, on_error=lambda: None)
        opening = journal.open()
        with contextlib.suppress(StopIteration):
            opening.send(None)  # the thread does not make it wait until it has started
            raise AssertionError("opening the journal had to wait")
        if journal.inherited:
            self.world.trace(
                f"{self.name} inherits {[(e.slot, e.base, e.value, e.window) for e in journal.inherited]}"
            )
        self.thread.started = True
        return journal

    async def _watch(self) -> None:
        api, rng, loop = self.world.api, self.world.rng, asyncio.get_running_loop()
        await asyncio.sleep(0.01)
        position = await self._list()
        arrived = asyncio.Event()
        api.listeners.append(arrived.set)
        while True:
            while position < len(api.events):
                if rng.random() < self.world.profile.lag * self.world.harshness:
                    await asyncio.sleep(rng.choice((0.05, 0.5, 3.0)))
                else:
                    await asyncio.sleep(0.001)
                await self.watching.wait()
                if rng.random() < self.world.profile.relist * self.world.harshness:
                    position = await self._list()
                    break
                if position >= len(api.events):
                    break
                kind, stored = api.events[position]
                position += 1
                if kind == "DELETED":
                    self.index.remove(stored.ref, stored.uid, loop.time(), stored)
                else:
                    self.index.apply(stored)
            arrived.clear()
            if position >= len(api.events):
                await arrived.wait()

    async def _list(self) -> int:
        """List everything as of now, page by page; meanwhile the world goes on."""
        api, clock = self.world.api, asyncio.get_running_loop().time
        listed, version, position = api.listed(), api.version, len(api.events)
        listing = Listing(self.index, clock)
        self.synced = False
        for start in range(0, len(listed), PAGE):
            listing.take(listed[start : start + PAGE])
            await asyncio.sleep(0.002)
        listing.complete(version)
        self.synced = True
        return position

    async def accept(self, readings: Sequence[SimReading], body: bytes) -> list[Any]:
        """Post to this replica; raises what the engine does, TimeoutError for the 503 of a request that took too long,
        and CancelledError where the process dies.
        """
        task = asyncio.create_task(
            self.engine.accept(readings, body, received_at=Clock().wall())  # type: ignore[arg-type]
        )
        self.calls[task] = None
        try:
            return await asyncio.wait_for(task, 10.0)
        finally:
            self.calls.pop(task, None)

    def kill(self) -> None:
        """SIGKILL: nothing of it acts any more, and its memory is gone."""
        self.alive = False
        self.redis_wire.dead = self.kube_wire.dead = self.thread.dead = True
        if self.disk is not None:
            self.disk.power_loss()
        loop = asyncio.get_running_loop()
        for task in self.tasks:
            # They run until they are cancelled, and are kept here: nobody else tells of one that failed.
            if task.done() and not task.cancelled() and (error := task.exception()):
                loop.call_exception_handler({"message": f"{task.get_name()} ended", "exception": error})
        for task in (*self.tasks, *self.calls):
            task.cancel()
        self.engine = None  # type: ignore[assignment]


@dataclass
class World:
    """Everything of one schedule."""

    profile: Profile
    seed: int
    mutations: frozenset[str] = frozenset()
    make_index: Callable[[], Index] = Index
    engine_type: type[Engine] = Engine
    rng: random.Random = field(init=False)
    api: Api = field(init=False)
    redis: Twin = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.profile.name}:{self.seed}")
        self.api = Api(("prod", "fallback"))
        self.redis = Twin(
            lambda: asyncio.get_running_loop().time() * 1000,
            shards=self.profile.shards,
            mutations=self.mutations,
        )
        self.down = {"redis": False, "kube": False}
        self.harshness = 1.0
        self.replicas: list[Replica] = []
        self.tallies: dict[str, Tally] = {}
        self.violations: list[str] = []
        self.log: list[str] = []
        self.notes_unsafe = False
        """Something happened after which a note may be lost: a retry of a 503 may then count twice."""
        self.born = 0
        self.past: list[ShardData] | None = None

    def trace(self, text: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time() - 1000:9.4f} {text}")

    def faulted(self, kind: str, name: str) -> None:
        if name in ("note", "take_notes"):
            self.notes_unsafe = True
        if kind == "redis" and name == "admit":
            self.notes_unsafe = True

    def start_replica(self, disk: Disk | None = None) -> Replica:
        """`disk`: that of a dead one."""
        self.born += 1
        if disk is None and self.profile.journal:
            disk = Disk(self.rng, lambda: self.profile.disk_fault * self.harshness)
        replica = Replica(self, f"p{self.born}", self.engine_type, disk)
        self.replicas.append(replica)
        return replica

    def living(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.alive]

    # --- senders

    async def send(self, readings: Sequence[SimReading], body: bytes, *, attempts: int = 12) -> None:
        """Deliver one body as Alertmanager does: again and again until a 2xx, or given up."""
        self.trace(
            f"{body!r} is {' '.join(('!' if r.resolved else '') + r.fingerprint[:4] for r in readings)}"
        )
        wait = 0.5
        doubts = 0
        first: Replica | None = None
        for _ in range(attempts):
            replica = self.rng.choice(self.living())
            if self.profile.alone and first is not None and first.alive:
                replica = first
            if first is not None and replica is not first:
                # A note in the first one's memory is of no use here.
                self.notes_unsafe = (
                    self.notes_unsafe or self.profile.redis_fault > 0 or self.profile.outage > 0
                )
            first = first or replica
            try:
                verdicts = await replica.accept(readings, body)
            except (errors.NotDurable, TimeoutError) as error:
                self.trace(f"{replica.name} 503 {body!r}: {error!r}")
                doubts += self.notes_unsafe and not self.profile.alone
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
                self.trace(f"{replica.name} gave no answer to {body!r}")
                doubts += 1
            else:
                lost = self.rng.random() < self.profile.lost_answer * self.harshness
                outcomes = [verdict.outcome for verdict in verdicts]
                self.trace(
                    f"{replica.name} {'2xx lost' if lost else '2xx'} {body!r} {[o.value for o in outcomes]}"
                )
                if not lost:
                    self._count(readings, outcomes, doubts)
                    return
                doubts += 1
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 10.0)
        self._count(readings, [Fate.INVALID] * len(readings), doubts)

    def _count(self, readings: Sequence[SimReading], outcomes: Sequence[Fate], doubts: int) -> None:
        for reading, outcome in zip(readings, outcomes, strict=True):
            if not reading.resolved:
                tally = self.tallies.setdefault(reading.fingerprint, Tally())
                tally.maybe += doubts
                if outcome in (Fate.CREATED, Fate.DUPLICATE, Fate.QUEUED, Fate.BUFFERED):
                    tally.accepted += 1

    # --- the end

    async def settle(self, limit: float = 400.0) -> None:
        """Faults end; everything has to come to rest."""
        self.harshness = 0.0
        self.down = {"redis": False, "kube": False}
        for replica in self.living():
            replica.redis_wire.cut = replica.kube_wire.cut = False
            replica.watching.set()
            for wire in (replica.redis_wire, replica.kube_wire):
                if wire.frozen is not None:
                    wire.frozen.set()
                    wire.frozen = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        await asyncio.sleep(16.0)  # longer than a lease
        while loop.time() < deadline:
            await asyncio.sleep(4.0)
            if self.at_rest():
                version = self.api.version
                await asyncio.sleep(4.0)
                if self.at_rest() and self.api.version == version:
                    return
        self.violations.append("it does not come to rest")

    def at_rest(self) -> bool:
        return all(not replica.engine.unconfirmed for replica in self.living()) and not any(
            shard.queue or any(rec.unsettled() for rec in shard.records.values()) for shard in self.redis.data
        )

    def judge(self, *, exact_open: bool) -> list[str]:
        """What is wrong in the end: one line for each broken promise."""
        found = list(self.violations)
        held: dict[str, int] = {}
        for stored in [*self.api.listed(), *(gone for finals in self.api.finals.values() for gone in finals)]:
            for fingerprint, count in counts(stored).items():
                held[fingerprint] = held.get(fingerprint, 0) + count
        if not self.profile.delete and any(times > 1 for times in self.api.born.values()):
            found.append(f"more than one aggregated request of a window: {self.api.born}")
        for fingerprint in {**held, **self.tallies}:
            tally = self.tallies.get(fingerprint, Tally())
            count = held.get(fingerprint, 0)
            withdrawn = self.redis.withdrawn.get(fingerprint, 0)
            if count + withdrawn < tally.accepted:
                found.append(
                    f"{fingerprint[:4]}: lost: {tally.accepted} accepted, {count} held, {withdrawn} resolved before"
                )
            if exact_open and count + withdrawn > tally.accepted + tally.maybe:
                found.append(
                    f"{fingerprint[:4]}: {withdrawn} resolved in their window, and {count} of {tally.accepted} held"
                )
            if count > tally.accepted + tally.maybe:
                found.append(
                    f"{fingerprint[:4]}: surplus: {tally.accepted} accepted (+{tally.maybe}), {count} held"
                )
            if exact_open and self.api.split.get(fingerprint, 0) > 1:
                found.append(f"{fingerprint[:4]}: {self.api.split[fingerprint]} requests were open at once")
        return found


Action = Callable[[World], Awaitable[None]]
