from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.resilience.supervision import Ended, OnEnd, Supervisor

Make = Callable[..., Supervisor]


class World:
    """A clock that only sleeping moves, and what the supervisor told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.ended: list[Ended] = []
        self.stopped_by: list[str] = []
        self.stopped = asyncio.Event()
        self.supervisor = Supervisor(
            observe=self.ended.append,
            stop_process=self.stop,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def stop(self, name: str) -> None:
        self.stopped_by.append(name)
        self.stopped.set()

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        self.now += delay
        await asyncio.sleep(0)


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_fails_is_started_again_after_growing_delays() -> None:
    world = World()
    runs = 0
    settled = asyncio.Event()

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs <= 4:
            raise ValueError("no")
        settled.set()
        await forever()

    world.supervisor.start("fragile", fragile)
    await asyncio.wait_for(settled.wait(), 5)
    assert world.slept == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert [(ended.name, type(ended.error), ended.action) for ended in world.ended] == [
        ("fragile", ValueError, OnEnd.RESTART)
    ] * 4
    [state] = world.supervisor.states()
    assert (state.running, state.restarts, state.error) == (True, 4, "ValueError")
    assert await world.supervisor.stop(1) == []


async def test_the_delay_never_exceeds_five_seconds_and_starts_over_after_a_healthy_run() -> None:
    world = World()
    settled = asyncio.Event()
    runs = 0

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs == 12:
            settled.set()
            await forever()
        if runs == 10:
            world.now += 31
        raise ValueError("no")

    world.supervisor.start("fragile", fragile)
    await asyncio.wait_for(settled.wait(), 5)
    assert world.slept[8] == 5.0
    assert world.slept[9] == pytest.approx(0.1)
    await world.supervisor.stop(1)


async def test_a_task_that_returns_has_ended_unexpectedly() -> None:
    world = World()
    again = asyncio.Event()
    runs = 0

    async def short() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            again.set()
            await forever()

    world.supervisor.start("short", short)
    await asyncio.wait_for(again.wait(), 5)
    assert [ended.error for ended in world.ended] == [None]
    await world.supervisor.stop(1)


async def test_the_end_of_a_task_that_the_process_cannot_do_without_stops_the_process() -> None:
    world = World()

    async def vital() -> None:
        raise OSError("gone")

    world.supervisor.start("vital", vital, on_end=OnEnd.STOP)
    await asyncio.wait_for(world.stopped.wait(), 5)
    assert world.stopped_by == ["vital"]
    assert world.ended[0].action is OnEnd.STOP
    assert world.slept == []
    await world.supervisor.stop(1)


async def test_a_cancellation_that_leaks_out_of_a_task_restarts_it() -> None:
    world = World()
    again = asyncio.Event()
    runs = 0

    async def leaky() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError
        again.set()
        await forever()

    world.supervisor.start("leaky", leaky)
    await asyncio.wait_for(again.wait(), 5)
    await world.supervisor.stop(1)


async def test_while_winding_down_a_task_may_return_but_not_fail() -> None:
    world = World()
    finish = asyncio.Event()
    failed = asyncio.Event()

    async def returns() -> None:
        await finish.wait()

    async def fails() -> None:
        await finish.wait()
        if not failed.is_set():
            failed.set()
            raise ValueError("no")
        await forever()

    world.supervisor.start("returns", returns)
    world.supervisor.start("fails", fails)
    await asyncio.sleep(0)
    world.supervisor.wind_down()
    finish.set()
    await asyncio.wait_for(failed.wait(), 5)
    await asyncio.sleep(0)
    assert [ended.name for ended in world.ended] == ["fails"]
    await world.supervisor.stop(1)


async def test_tasks_stop_in_the_reverse_order_of_their_start() -> None:
    world = World()
    order: list[str] = []

    def named(name: str) -> Callable[[], object]:
        async def run() -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                order.append(name)

        return run

    for name in ("first", "second", "third"):
        world.supervisor.start(name, named(name))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert await world.supervisor.stop(1) == []
    assert order == ["third", "second", "first"]
    assert world.ended == []


async def test_a_task_that_does_not_stop_in_time_is_named_and_does_not_hold_up_the_rest() -> None:
    supervisor = Supervisor(clock=asyncio.get_running_loop().time)
    release = asyncio.Event()
    stopped: list[str] = []

    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await release.wait()

    async def meek() -> None:
        try:
            await forever()
        finally:
            stopped.append("meek")

    supervisor.start("meek", meek)
    supervisor.start("stubborn", stubborn)
    await asyncio.sleep(0)
    assert await supervisor.stop(0.05) == ["stubborn"]
    assert stopped == ["meek"]
    release.set()
    await asyncio.sleep(0.01)


async def test_a_name_is_used_once_and_nothing_starts_while_stopping() -> None:
    world = World()
    world.supervisor.start("one", forever)
    with pytest.raises(ValueError, match="one"):
        world.supervisor.start("one", forever)
    await world.supervisor.stop(1)
    with pytest.raises(RuntimeError, match="stopping"):
        world.supervisor.start("two", forever)
