"""What the simulation found, as scripts: each is the shortest way into a defect that was there once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from gateway import errors
from gateway.engine.deliveries import Delivery, note_name
from gateway.engine.planning import Demand, Entry
from gateway.engine.storming import Part
from gateway.kube import objects, storms
from gateway.model import Hold, Outcome
from gateway.state.records import Note
from tests.simulation.profiles import Profile
from tests.simulation.virtual import run
from tests.simulation.world import Replica, SimReading, Wire, World, moment

QUIET = Profile("quiet", replicas=1)
FINGERPRINT = "a" * 64


class SlowOnce(Wire):
    """The next admission times out, and is performed half a second later."""

    armed = False

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        if name == "admit" and self.armed:
            self.armed = False
            asyncio.get_running_loop().call_later(0.5, perform)
            await asyncio.sleep(0.01)
            raise errors.StoreUnsure("timeout", kind="timeout")
        return await super().call(name, perform)


class WithoutConfirmations(Wire):
    """Confirmations never arrive, once armed."""

    armed = False

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        if name == "confirm" and self.armed:
            await asyncio.sleep(0.01)
            raise errors.StoreUnsure("timeout", kind="timeout")
        return await super().call(name, perform)


class SlowRefusals(Wire):
    """It takes so many seconds to say that nobody listens."""

    seconds = 0.0

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        if self.seconds:
            await asyncio.sleep(self.seconds)
            raise errors.StoreRefused("refused", kind="connection")
        return await super().call(name, perform)


class SlowAnswers(Wire):
    """The next calls take as long as `seconds` says; those of more than a minute are never performed."""

    def __init__(self, world: World, kind: str) -> None:
        super().__init__(world, kind)
        self.seconds: list[float] = []

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        if self.seconds:
            await asyncio.sleep(self.seconds.pop(0))
        return await super().call(name, perform)


class LostAfterNotes(Wire):
    """Redis is gone as soon as it has handed out its notes."""

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        result = await super().call(name, perform)
        self.cut = self.cut or name == "take_notes"
        return result


NEVER = 100.0


def test_a_late_admission_that_looked_stale_meanwhile_is_not_counted_behind_the_answer() -> None:
    """Profile delete, seed 309: asked again after a time-out, it was refused as stale; its first copy came late."""

    async def play() -> tuple[int, int]:
        world = World(QUIET, 1)
        first, second = world.start_replica(), world.start_replica()
        wire = first.redis_wire = first.store._wire = SlowOnce(world, "redis")
        await asyncio.sleep(0.1)
        early, late = moment(1000.0), moment(1002.0)
        outcomes = await post(first, SimReading(FINGERPRINT, early), b"fires")
        await post(first, SimReading(FINGERPRINT, early, resolved=True, ends_at=moment(1001.0)), b"ends")
        await asyncio.sleep(3.0)
        world.api.close(world.api.listed()[0].ref)
        await asyncio.sleep(1.0)
        wire.armed = True
        outcomes += await post(first, SimReading(FINGERPRINT, early), b"stale")
        outcomes += await post(second, SimReading(FINGERPRINT, late), b"fires again")
        await asyncio.sleep(60.0)
        held = sum(stored.count for stored in world.api.listed())
        for replica in (first, second):
            replica.kill()
        return held, sum(outcome is not Outcome.RESOLVED for outcome in outcomes)

    held, counted = run(play())

    assert held == counted


def test_what_one_replica_wrote_last_is_not_counted_again_by_one_that_never_saw_it() -> None:
    """Profile delete, seed 97: written directly, deleted, and the other replica listed afresh instead of watching."""

    async def play() -> tuple[int, int]:
        world = World(QUIET, 1)
        first, second = world.start_replica(), world.start_replica()
        await asyncio.sleep(0.1)
        reading = SimReading(FINGERPRINT, moment(1000.0))
        await post(first, reading, b"fires")
        await asyncio.sleep(3.0)
        second.watching.clear()
        first.redis_wire.cut = True
        await post(first, reading, b"fires while Redis is away")
        (stored,) = world.api.listed()
        world.api.remove(stored.ref)
        second.index.replace(world.api.listed(), world.api.version, asyncio.get_running_loop().time())
        first.redis_wire.cut, first.kube_wire.cut = False, True
        await post(first, reading, b"fires again")
        await asyncio.sleep(60.0)
        held = stored.count + sum(request.count for request in world.api.listed())
        written_by_second = len(world.api.listed())
        for replica in (first, second):
            replica.kill()
        return held, written_by_second

    assert run(play()) == (3, 1)


def test_a_deletion_that_a_write_meets_waits_for_its_event() -> None:
    """The final state of a deleted request is in the event alone: whoever meets a 404 first knows less."""

    async def play() -> int:
        world = World(QUIET, 1)
        first, second = world.start_replica(), world.start_replica()
        wire = first.redis_wire = first.store._wire = WithoutConfirmations(world, "redis")
        await asyncio.sleep(0.1)
        reading = SimReading(FINGERPRINT, moment(1000.0))
        second.kube_wire.cut = True
        await post(first, reading, b"fires")
        await asyncio.sleep(3.0)
        wire.armed = True
        second.watching.clear()
        await post(first, reading, b"fires twice")
        await asyncio.sleep(2.0)
        (stored,) = world.api.listed()
        world.api.remove(stored.ref)
        first.kube_wire.cut, second.kube_wire.cut = True, False
        asyncio.get_running_loop().call_later(16.0, second.watching.set)
        await asyncio.sleep(60.0)
        held = stored.count + sum(request.count for request in world.api.listed())
        for replica in (first, second):
            replica.kill()
        return held

    assert run(play()) == 2


def test_what_is_taken_after_its_webhook_ran_out_of_time_is_noted() -> None:
    """Profile slow, seed 1104 of its first form: the cancelled webhook had ended its own waiting for what is taken."""

    async def play() -> int:
        world, replica, slow = _without_redis()
        reading = SimReading(FINGERPRINT, moment(1000.0))
        await post(replica, reading, b"creates")
        slow.seconds = [NEVER, 5.0]
        others = asyncio.create_task(_until_taken(replica, reading, b"keeps it busy for six seconds"))
        await asyncio.sleep(0.5)
        await _until_taken(replica, reading, b"is under way when its time is over")
        await others
        return _counted(world, replica)

    assert run(play()) == 3


def test_what_is_taken_behind_a_503_is_not_counted_again() -> None:
    """Two episodes before it, and a Redis that refuses slowly: its fate is known seconds after its answer."""

    async def play() -> int:
        world, replica, slow = _without_redis(refuses_after=0.7)
        first, second, third = (SimReading(FINGERPRINT, moment(1000.0 + number)) for number in range(3))
        await post(replica, first, b"creates")
        slow.seconds = [NEVER, NEVER, 5.9]
        others = [
            asyncio.create_task(_until_taken(replica, reading, body))
            for reading, body in ((first, b"keeps it busy"), (second, b"keeps it busy again"))
        ]
        await asyncio.sleep(3.5)
        await _until_taken(replica, third, b"has no fate yet when it is answered")
        await asyncio.gather(*others)
        return _counted(world, replica)

    assert run(play()) == 4


def test_a_note_is_written_to_its_end_when_the_webhook_runs_out_of_time_meanwhile() -> None:
    """Profile slow, seed 1129 of its second form: cancelled while it kept the note of what was taken."""

    async def play() -> int:
        world, replica, slow = _without_redis(refuses_after=0.7)
        reading = SimReading(FINGERPRINT, moment(1000.0))
        other = SimReading("b" * 64, moment(1000.0), namespace="nowhere")
        await post(replica, reading, b"creates")
        await post(replica, other, b"creates the other")
        slow.seconds = [NEVER, 0.1]
        both = [reading, other]
        with contextlib.suppress(TimeoutError, errors.NotDurable):
            # Refused slowly, written slowly: 0.7 s and 6 s. The note then takes 0.7 s; the time is over within it.
            await asyncio.wait_for(replica.engine.accept(both, b"two", received_at=""), 7.0)  # type: ignore[arg-type]
        await replica.accept(both, b"two")
        return _counted(world, replica)

    assert run(play()) == 4


def test_what_a_note_settled_holds_up_nobody_when_redis_is_lost_right_after_it() -> None:
    """It was written directly with the rest, which had no sender any more: none of them was ever answered."""

    async def play() -> int:
        world = World(QUIET, 1)
        replica = world.start_replica()
        wire = replica.redis_wire = replica.store._wire = LostAfterNotes(world, "redis")
        await asyncio.sleep(0.1)
        taken, new = (SimReading(digit * 64, moment(1000.0)) for digit in "ab")
        await post(replica, taken, b"both")
        note = Note(Delivery([taken, new], b"both", "").digest, note_name(taken))  # type: ignore[list-item, arg-type]
        await replica.store.note(replica.store.shard(taken.group), [note])
        verdicts = await replica.accept([taken, new], b"both")
        assert [verdict.outcome for verdict in verdicts] == [Outcome.DUPLICATE, Outcome.CREATED]
        wire.cut = False
        for reading in (taken, new):
            await post(replica, reading, b"again")
        await asyncio.sleep(60.0)
        return _counted(world, replica)

    assert run(play()) == 4


def test_what_can_never_be_stored_takes_nobody_with_it_who_shares_its_write() -> None:
    """Members of a storm that fired without Redis were refused for good with the one that a policy denies."""

    async def play() -> tuple[list[Outcome], int]:
        world = World(QUIET, 1)
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        rule = Hold(3, 60_000, 60_000, 300_000, early=False, buffer_size=100, max_alerts=1000)
        readings = [SimReading(digit * 64, moment(1000.0), rule=rule) for digit in "abcd"]
        await replica.accept(readings, b"storm")
        _deny(world, readings[1].fingerprint)
        replica.redis_wire.cut = True
        verdicts = await asyncio.gather(
            *(replica.accept([one], one.fingerprint.encode()) for one in readings)
        )
        replica.kill()
        return [verdict.outcome for (verdict,) in verdicts], sum(one.count for one in world.api.listed())

    outcomes, counted = run(play())

    assert [outcome is Outcome.INVALID for outcome in outcomes] == [False, True, False, False]
    assert counted == 6


def test_a_shared_write_to_an_aggregated_request_does_not_wait_for_itself() -> None:
    """The member's own request closed while it was counted there for all who shared the write: it belonged to the
    aggregated one again, whose next write waited for this one."""

    async def play() -> tuple[int, int]:
        world = World(QUIET, 1)
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        reading, writer = SimReading(FINGERPRINT, moment(1000.0)), replica.engine._writer

        def fires(slot: str) -> Demand:
            return Demand({slot: Entry(1)}, firing_since=reading.starts_at)

        await writer.write(FINGERPRINT, fires("own.1"), reading.signal, None)
        (own,) = world.api.listed()
        member = storms.Newcomer(
            signal=reading.signal(),
            marks={"other.1": "0-1"},
            occurrences=1,
            resolved_since="",
            resolved_at="",
        )
        body = storms.create_body(
            window="w",
            namespace="prod",
            name=objects.storm_name("A", "w"),
            source="storm",
            newcomers=[member],
            last_seen=reading.starts_at,
        )
        storm = world.api.create("prod", body)
        await asyncio.sleep(0.1)
        replica.watching.clear()
        world.api.close(own.ref)
        async with asyncio.timeout(10.0):
            await writer.storms.count("w", Part(FINGERPRINT, fires("mine.1"), reading.signal))
        replica.kill()
        return world.api.get(own.ref).count, world.api.get(storm.ref).count

    assert run(play()) == (1, 2)


def _deny(world: World, fingerprint: str) -> None:
    """No request may hold it any more: so says a policy of the cluster."""

    def guarded(perform: Callable[[Any, bytes], Any]) -> Callable[[Any, bytes], Any]:
        def check(where: Any, body: bytes) -> Any:
            spec = msgspec.json.decode(body)["spec"]
            held = base64.b64decode(spec.get("providerData", "")) + spec.get("signalFingerprint", "").encode()
            if fingerprint.encode() in held:
                raise errors.KubeInvalid("admission webhook denied the request", status=403)
            return perform(where, body)

        return check

    world.api.create = guarded(world.api.create)  # type: ignore[assignment, method-assign]
    world.api.patch = guarded(world.api.patch)  # type: ignore[assignment, method-assign]


def _without_redis(*, refuses_after: float = 0.0) -> tuple[World, Replica, SlowAnswers]:
    world = World(QUIET, 1)
    replica = world.start_replica()
    refusing = replica.redis_wire = replica.store._wire = SlowRefusals(world, "redis")
    refusing.cut, refusing.seconds = True, refuses_after
    slow = replica.kube_wire = SlowAnswers(world, "kube")
    replica.engine._writer._cluster._wire = slow  # type: ignore[attr-defined]
    return world, replica, slow


async def _until_taken(replica: Replica, reading: SimReading, body: bytes) -> None:
    while True:
        try:
            await replica.accept([reading], body)
        except (errors.NotDurable, TimeoutError):
            await asyncio.sleep(0.1)
        else:
            return


def _counted(world: World, replica: Replica) -> int:
    held = sum(stored.count for stored in world.api.listed())
    replica.kill()
    return held


async def post(replica: Replica, reading: SimReading, body: bytes) -> list[Outcome]:
    """One webhook with one alert."""
    return [verdict.outcome for verdict in await replica.accept([reading], body)]
