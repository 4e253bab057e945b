"""Bounds of the engine: past them it says so, and what it has stays."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway import errors
from gateway.engine.engine import Limits
from gateway.engine.planning import Demand, Entry
from gateway.engine.storming import Part
from gateway.model import Hold, Outcome
from tests.simulation.profiles import Profile
from tests.simulation.virtual import run
from tests.simulation.world import SimReading, World, moment


def test_too_many_unconfirmed_problems_are_refused_until_kubernetes_has_them() -> None:
    async def play() -> Outcome:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        replica.engine._limits = Limits(max_unconfirmed=2)
        await asyncio.sleep(0.1)
        world.down["kube"] = True
        for digit in "ab":
            await replica.accept([SimReading(digit * 64, moment(1000.0))], digit.encode())
        with pytest.raises(errors.Overloaded):
            await replica.accept([SimReading("c" * 64, moment(1000.0))], b"c")
        world.down["kube"] = False
        await asyncio.sleep(30.0)
        (verdict,) = await replica.accept([SimReading("c" * 64, moment(1000.0))], b"c")
        replica.kill()
        return Outcome(verdict.outcome)

    assert run(play()) is Outcome.CREATED


def test_no_more_is_written_at_once_than_allowed_while_claims_and_confirmations_are_shared() -> None:
    async def play() -> tuple[int, Counter[str], int]:
        world = World(Profile("quiet", replicas=1, concurrency=4), 1)
        replica = world.start_replica()
        calls: Counter[str] = Counter()
        under_way = most = 0
        write, ask = replica.kube_wire.call, replica.redis_wire.call

        async def writing(name: str, perform: Callable[[], Any]) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await write(name, perform)
            finally:
                under_way -= 1

        async def asking(name: str, perform: Callable[[], Any]) -> Any:
            calls[name] += 1
            return await ask(name, perform)

        await asyncio.sleep(0.1)
        replica.kube_wire.call, replica.redis_wire.call = writing, asking  # type: ignore[method-assign]
        alerts = [SimReading(f"{number:02d}" * 32, moment(1000.0)) for number in range(80)]
        await replica.accept(alerts, b"body")
        await asyncio.sleep(2.0)
        replica.kill()
        return most, calls, len(world.api.open_requests())

    most, calls, requests = run(play())

    assert requests == 80
    assert most == 4
    assert calls["confirm"] <= 20
    assert calls["claim"] <= 30


def test_writes_of_one_process_to_an_aggregated_request_never_meet_each_other() -> None:
    """Each reads the object first; another one between the two would be a conflict, and an attempt for nothing."""

    async def play() -> tuple[int, int]:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        storms = replica.engine._writer.storms
        readings = [SimReading(f"{number:02}" * 32, moment(1000.0)) for number in range(30)]
        call, refused = replica.kube_wire.call, 0

        async def calling(name: str, perform: Callable[[], Any]) -> Any:
            nonlocal refused
            try:
                return await call(name, perform)
            except errors.KubeConflict:
                refused += 1
                raise

        replica.kube_wire.call = calling  # type: ignore[method-assign]

        async def write(delay: float, reading: SimReading) -> None:
            # They come one after the other, so that there is always one who holds, one who waits and one who comes.
            await asyncio.sleep(delay)
            demand = Demand({f"me.{reading.fingerprint[:2]}": Entry(1, 0)}, firing_since=reading.starts_at)
            await storms.write("w", [Part(reading.fingerprint, demand, reading.signal)], source="storm")

        await asyncio.gather(*(write(0.002 * number, reading) for number, reading in enumerate(readings)))
        (stored,) = world.api.listed()
        replica.kill()
        return refused, stored.count

    assert run(play()) == (0, 30)


def test_members_of_a_storm_that_fire_while_redis_is_away_share_their_writes() -> None:
    async def play() -> tuple[Counter[str], int]:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        rule = Hold(3, 60_000, 60_000, 300_000, early=False, buffer_size=100, max_alerts=1000)
        readings = [SimReading(f"{number:02}" * 32, moment(1000.0), rule=rule) for number in range(40)]
        held = await replica.accept(readings, b"storm")
        assert {verdict.outcome for verdict in held} == {Outcome.BUFFERED}
        calls: Counter[str] = Counter()
        call = replica.kube_wire.call

        async def calling(name: str, perform: Callable[[], Any]) -> Any:
            calls[name] += 1
            return await call(name, perform)

        replica.kube_wire.call = calling  # type: ignore[method-assign]
        replica.redis_wire.cut = True
        await asyncio.gather(*(replica.accept([one], one.fingerprint.encode()) for one in readings))
        (stored,) = world.api.listed()
        replica.kill()
        return calls, stored.count

    calls, counted = run(play())
    assert counted == 80
    assert calls["create"] + calls["patch"] <= 6


def test_a_task_of_a_replica_that_fails_unseen_fails_the_schedule() -> None:
    async def play() -> None:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        replica.engine._ledger.due = lambda *_, **__: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        await asyncio.sleep(2.0)
        replica.kill()

    with pytest.raises(ZeroDivisionError):
        run(play())


def test_a_bug_on_the_direct_way_is_a_503_and_holds_up_nobody() -> None:
    async def play() -> Outcome:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        reading = SimReading("a" * 64, moment(1000.0))
        direct = replica.engine._admitter._direct

        async def broken(*_: Any) -> None:
            raise ZeroDivisionError

        take, direct.take = direct.take, broken  # type: ignore[method-assign]
        replica.redis_wire.cut = True
        with pytest.raises(errors.NotDurable):
            await replica.accept([reading], b"first")
        direct.take = take  # type: ignore[method-assign]
        (verdict,) = await replica.accept([reading], b"second")
        replica.kill()
        return Outcome(verdict.outcome)

    assert run(play()) is Outcome.CREATED
