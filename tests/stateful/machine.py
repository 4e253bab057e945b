"""Storms as a state machine: what can happen, what always holds, and what has to be true in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway import errors
from gateway.state.store import RedisStore
from tests.simulation.api import counts
from tests.simulation.virtual import VirtualLoop
from tests.simulation.world import SimReading, moment
from tests.stateful.frozen import FrozenRedis
from tests.stateful.gateways import COUNTED, HOLDS, KEYS, Gateway, Surroundings

PROBLEMS = "abcd"
"""By their letter: a fingerprint is 64 of it."""
REST = 8.0
"""Virtual seconds without a write after which nothing more is to come: longer than any wait but for a lease."""
LONGEST_REST = 240.0

problems = st.sampled_from(PROBLEMS)
either = st.integers(0, 1)
moments = st.sampled_from((0.0, 0.0006, 0.0012, 0.003, 0.006, 0.3, 1.1, 2.1))
"""How long a step lasts: no time at all, up to the midst of a call, to its end, to that of a window."""


class StormMachine(RuleBasedStateMachine):
    """Two gateways, four problems of one or two groups, and whatever `faults` names."""

    faults: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, redis: FrozenRedis) -> None:
        super().__init__()
        redis.clean()
        self.redis = redis
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.around = Surroundings(redis)
        self.store = RedisStore(redis, KEYS, write_interval=1.0)  # type: ignore[arg-type]
        self.gateways: list[Gateway] = []
        self.senders: list[asyncio.Task[None]] = []
        self.accepted: Counter[str] = Counter()
        self.maybe: Counter[str] = Counter()
        self.since = dict.fromkeys(PROBLEMS, moment(self.loop.now))
        self.born = 0
        self.bodies = 0
        self.killed = False
        self.groups = 1
        self.rule = HOLDS["plain"]

    # --- what happens

    @initialize(hold=st.sampled_from(sorted(HOLDS)), groups=st.integers(1, 2))
    def begin(self, hold: str, groups: int) -> None:
        self.rule = HOLDS[hold]
        self.groups = groups
        for _ in range(2):
            self.start()
        self.run(asyncio.sleep(0.05))

    @rule(which=either, problem=problems, then=moments)
    def alert(self, which: int, problem: str, then: float) -> None:
        self.send(which, [self.reading(problem)], then)

    @rule(
        which=either,
        several=st.lists(problems, min_size=2, max_size=4, unique=True),
        repeated=st.booleans(),
        then=moments,
    )
    def notification(self, which: int, several: list[str], repeated: bool, then: float) -> None:
        """Alerts of one webhook; or the same of both gateways at once."""
        readings = [self.reading(problem) for problem in several]
        if repeated:
            self.send(1 - which, readings, 0.0)
        self.send(which, readings, then)

    @rule(which=either, problem=problems, again=st.booleans(), then=moments)
    def resolution(self, which: int, problem: str, again: bool, then: float) -> None:
        """The episode ends; what fires later is a new one, or (`again`) a late notification of the same."""
        ended = self.reading(problem)
        ended.resolved, ended.ends_at = True, moment(self.loop.now)
        self.send(which, [ended], then)
        if not again:
            self.since[problem] = moment(self.loop.now + 0.001)

    @rule(seconds=st.sampled_from((0.02, 0.4, 1.1, 1.6, 2.1, 4.0, 6.5, 16.0)))
    def passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: bool(self.around.api.open_requests()))
    @rule(number=st.integers(0, 3))
    def closing(self, number: int) -> None:
        """A controller is done with a request."""
        opened = sorted(self.around.api.open_requests(), key=lambda stored: stored.name)
        self.around.api.close(opened[number % len(opened)].ref)
        self.step()

    @precondition(lambda self: bool(self.redis.raw.zcard(KEYS.queue(0))))
    @rule()
    def stolen_lease(self) -> None:
        """Somebody claims what is due, and is never heard of again."""

        async def claim() -> None:
            self.redis.set(self.loop.now)
            await self.store.claim(0, limit=32, lease=15.0, identify=False)

        self.run(claim())

    @precondition(lambda self: "kube" in self.faults)
    @rule(which=either, fates=st.lists(st.sampled_from(("performed", "never")), min_size=1, max_size=3))
    def kubernetes_does_not_answer(self, which: int, fates: list[str]) -> None:
        self.gateways[which].kube_wire.fates.extend(fates)

    @precondition(lambda self: "redis" in self.faults)
    @rule(which=either, fates=st.lists(st.sampled_from(("performed", "never")), min_size=1, max_size=4))
    def redis_does_not_answer(self, which: int, fates: list[str]) -> None:
        self.gateways[which].redis_wire.fates.extend(fates)

    @precondition(lambda self: "kill" in self.faults)
    @rule(which=either)
    def death(self, which: int) -> None:
        """SIGKILL, and a new process in its place."""
        self.killed = True
        self.gateways.pop(which).kill()
        self.start()
        self.step()

    @precondition(lambda self: "flush" in self.faults)
    @rule()
    def flush(self) -> None:
        self.around.doubtful = True
        self.redis.raw.flushall()

    @precondition(lambda self: "lag" in self.faults)
    @rule(which=either)
    def watch_hangs(self, which: int) -> None:
        watching = self.gateways[which].watching
        if watching.is_set():
            self.around.doubtful = True
            watching.clear()
        else:
            watching.set()
            self.step()

    # --- what always holds

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert not self.around.violations
        assert all(times == 1 for times in self.around.api.born.values()), (
            f"more than one aggregated request of a window: {self.around.api.born}"
        )
        if "flush" not in self.faults:
            torn = {fp[:1]: times for fp, times in self.around.api.split.items() if times > 1}
            assert not torn, f"several open requests of one problem at once: {torn}"
        for stored in self.around.api.listed():
            if stored.is_storm:
                assert len(stored.members or {}) <= self.rule.max_alerts, f"too many members: {stored.name}"
        for key in self.redis.raw.scan_iter("*}:w:*"):
            joined = int(self.redis.raw.hget(key, "k") or 0)
            assert joined <= self.rule.max_alerts, f"{joined} members: {key}"

    @invariant()
    def no_key_of_redis_holds_more_than_a_buffer(self) -> None:
        raw = self.redis.raw
        for key in [*raw.scan_iter("*alert:buffer:*"), *raw.scan_iter("*}:m:*")]:
            assert raw.hlen(key) <= self.rule.buffer_size, f"{key}: {raw.hgetall(key)}"

    @invariant()
    def what_collects_is_in_the_queue(self) -> None:
        if "flush" in self.faults:
            return  # then a sweep puts it there
        for window in self.redis.raw.zrange(f"{KEYS.root(0)}windows", 0, -1):
            queued = self.redis.raw.zscore(KEYS.queue(0), f"w:{window}")
            assert queued is not None, f"window {window} is in no queue"

    # --- the end

    def teardown(self) -> None:
        try:
            if self.gateways and not self.around.violations:
                self.settle()
                self.judge()
        finally:
            for gateway in self.gateways:
                gateway.kill()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.run(asyncio.gather(*left, return_exceptions=True)) if left else None
            asyncio.set_event_loop(None)
            self.loop.close()

    def settle(self) -> None:
        """Faults end, senders are answered, and everything comes to rest."""
        for gateway in self.gateways:
            gateway.redis_wire.fates.clear()
            gateway.kube_wire.fates.clear()
            gateway.watching.set()
        self.run(asyncio.gather(*self.senders)) if self.senders else None
        deadline = self.loop.now + LONGEST_REST
        while self.loop.now < deadline:
            version = self.around.api.version
            self.run(asyncio.sleep(REST))
            if version == self.around.api.version and self.at_rest():
                return
        raise AssertionError(f"it does not come to rest: {self.around.picture()}")

    def at_rest(self) -> bool:
        return not self.redis.raw.zcard(KEYS.queue(0)) and not any(
            gateway.engine.unconfirmed for gateway in self.gateways
        )

    def judge(self) -> None:
        self.no_promise_is_broken()
        api = self.around.api
        held: Counter[str] = Counter()
        opened: Counter[str] = Counter()
        for stored in [*api.listed(), *(gone for finals in api.finals.values() for gone in finals)]:
            held.update(counts(stored))
            if stored.open:
                opened.update(dict.fromkeys(counts(stored), 1))
        for problem in PROBLEMS:
            found, withdrawn = held[problem * 64], self.around.withdrawn[problem * 64]
            taken, maybe = self.accepted[problem], self.maybe[problem]
            story = f"{problem}: {taken} accepted (+{maybe}), {found} held, {withdrawn} resolved before"
            assert found + withdrawn >= taken, f"lost: {story}; {self.around.picture()}"
            assert found <= taken + maybe, f"surplus: {story}; {self.around.picture()}"
            if "flush" not in self.faults:
                assert opened[problem * 64] <= 1, f"{opened[problem * 64]} open requests at the end: {story}"
        assert not self.redis.raw.exists(f"{KEYS.root(0)}windows"), (
            f"windows collect: {self.around.picture()}"
        )
        version = api.version
        self.run(self.store.sweep(0))
        self.run(asyncio.sleep(REST))
        assert version == api.version, f"something was left for the sweep: {self.around.picture()}"
        if not self.killed and not self.around.doubtful:
            told = {name: sum(gateway.told(name) for gateway in self.gateways) for name in _IDENTITY}
            rest = sum(told[name] for name in _IDENTITY[1:])
            assert told[_IDENTITY[0]] == rest, f"the metrics do not add up: {told}; {self.around.picture()}"
            assert told["crds_created"] == len(api.objects), f"there are {len(api.objects)} requests: {told}"

    # --- inside

    def run(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def step(self) -> None:
        self.run(asyncio.sleep(0))

    def start(self) -> None:
        async def make() -> Gateway:
            return Gateway(self.around, f"p{self.born}", most_members=self.rule.max_alerts)

        self.born += 1
        self.gateways.append(self.run(make()))

    def reading(self, problem: str) -> SimReading:
        letter = "B" if self.groups == 2 and problem in PROBLEMS[2:] else "A"
        return SimReading(
            problem * 64, self.since[problem], group=f"prod/{letter}", alertname=letter, rule=self.rule
        )

    def send(self, which: int, readings: list[SimReading], then: float) -> None:
        self.bodies += 1
        sender = self._send(self.gateways[which], readings, f"body-{self.bodies}".encode())
        self.senders.append(self.loop.create_task(sender))
        self.run(asyncio.sleep(then))

    async def _send(self, gateway: Gateway, readings: list[SimReading], body: bytes) -> None:
        """Deliver as Alertmanager does: again until a 2xx, to another gateway where one died."""
        doubts = 0
        while True:
            try:
                verdicts = await gateway.accept(readings, body)
                break
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
                doubts += 1
            except (errors.NotDurable, errors.Overloaded):
                doubts += self.around.doubtful
            await asyncio.sleep(1.0)
            if gateway not in self.gateways:
                gateway = self.gateways[0]
        for reading, verdict in zip(readings, verdicts, strict=True):
            if not reading.resolved:
                self.maybe[reading.fingerprint[0]] += doubts
                self.accepted[reading.fingerprint[0]] += verdict.outcome in COUNTED


_IDENTITY = ("alerts_received", "crds_created", "alerts_deduplicated", "alerts_resolved")


class Peace(StormMachine):
    """Nothing but what happens every day: every count, every metric, and who holds what, is exact."""


class Trouble(StormMachine):
    """Gateways die, and Kubernetes does not answer."""

    faults = frozenset({"kube", "kill"})


class Loss(StormMachine):
    """Redis forgets everything and does not answer, and watches hang.

    No gateway dies: what Redis forgot, only they know. For a time a problem may have two open requests.
    """

    faults = frozenset({"kube", "redis", "flush", "lag"})
