"""Connections to one server: bounded, opened in the background, counted when they come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop
from redis import exceptions as redis_errors
from redis.asyncio.connection import Connection

from gateway.errors import StoreRefused
from gateway.state.deadlines import in_time
from gateway.state.pool import MOST_WAITING, PAUSE, Events, Link, Pool


class FakeLink:
    """A connection without a server: what a pool does with it."""

    version = 7

    def __init__(self) -> None:
        self.closed = False
        self.cut = False

    async def fit(self) -> bool:
        return not self.cut

    async def close(self) -> None:
        self.closed = True


class World:
    """Opens connections when it is told to, and hears what the pool says."""

    def __init__(self, size: int = 2) -> None:
        self.now = 100.0
        self.links: list[FakeLink] = []
        self.tried = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False
        self.reconnected = self.unreachable = 0
        self.pool = Pool(
            self.open,  # type: ignore[arg-type]
            size=size,
            events=Events(self._reconnected, self._unreachable),
            clock=lambda: self.now,
        )

    async def open(self) -> FakeLink:
        self.tried += 1
        await self.gate.wait()
        if self.broken:
            raise ConnectionRefusedError("nobody listens")
        self.links.append(FakeLink())
        return self.links[-1]

    def _reconnected(self) -> None:
        self.reconnected += 1

    def _unreachable(self) -> None:
        self.unreachable += 1

    async def take(self) -> Any:
        return await self.pool.take()


async def test_no_more_connections_than_allowed_whoever_waits() -> None:
    world = World(size=2)
    taken = [await world.take(), await world.take()]
    waiting = [asyncio.create_task(world.take()) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert world.tried == 2
    assert not any(task.done() for task in waiting)

    for _ in range(5):
        world.pool.give_back(taken.pop(0))
        await asyncio.sleep(0)
        taken += [task.result() for task in waiting if task.done()]
        waiting = [task for task in waiting if not task.done()]
    assert not waiting
    assert len(world.links) == 2


async def test_opening_goes_on_when_the_call_has_given_up() -> None:
    world = World()
    world.gate.clear()
    with pytest.raises(TimeoutError):
        await in_time(world.take(), 0.01)
    world.gate.set()
    await asyncio.sleep(0.01)

    assert await world.take() is world.links[0]
    assert world.tried == 1
    assert world.pool.in_use == 1


async def test_after_a_failure_calls_fail_at_once_until_the_next_try() -> None:
    world = World()
    world.broken = True
    for _ in range(5):
        with pytest.raises(StoreRefused, match="nobody listens"):
            await world.take()
    assert world.tried == 1

    world.now += PAUSE
    world.broken = False
    assert await world.take() is world.links[0]
    assert (world.tried, world.reconnected) == (2, 1)


async def test_a_connection_that_was_lost_is_counted_when_it_is_replaced() -> None:
    world = World()
    link = await world.take()
    assert world.reconnected == 0, "the first one replaces none"
    world.pool.drop(link)
    assert world.pool.in_use == 0

    await world.take()

    assert (world.unreachable, world.reconnected) == (1, 1)
    assert link.closed


async def test_one_that_was_cut_while_idle_is_not_handed_out() -> None:
    world = World()
    link = await world.take()
    world.pool.give_back(link)
    link.cut = True

    assert await world.take() is not link
    assert link.closed


async def test_a_waiter_that_gives_up_costs_no_connection() -> None:
    world = World(size=1)
    link = await world.take()
    given_up, patient = asyncio.create_task(world.take()), asyncio.create_task(world.take())
    await asyncio.sleep(0)
    given_up.cancel()
    world.pool.give_back(link)
    assert await patient is link

    late = asyncio.create_task(world.take())
    await asyncio.sleep(0)
    world.pool.give_back(link)  # it has the connection now, and is cancelled before it knows
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert world.pool.in_use == 0
    assert await world.take() is link


async def test_the_queue_for_connections_is_bounded() -> None:
    world = World(size=1)
    await world.take()
    waiting = [asyncio.create_task(world.take()) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(StoreRefused) as caught:
        await world.take()
    assert caught.value.kind == "pool"

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    with pytest.raises(TimeoutError):
        await in_time(world.take(), 0.001)


async def test_a_closed_pool_refuses_and_closes_what_comes_back() -> None:
    world = World(size=1)
    link = await world.take()
    waiting = asyncio.create_task(world.take())
    await asyncio.sleep(0)

    await world.pool.close()
    world.pool.give_back(link)
    await asyncio.sleep(0.01)

    with pytest.raises(StoreRefused):
        await waiting
    with pytest.raises(StoreRefused):
        await world.take()
    assert link.closed
    assert world.pool.in_use == 0


def test_a_connection_that_was_lost_since_it_was_looked_at_is_an_error_of_the_connection() -> None:
    """The event loop that production runs on calls it a RuntimeError, which nothing expects of a dependency."""

    async def agree(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(agree, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = Connection(host="127.0.0.1", port=port, protocol=2)
        await connection.connect()
        connection._writer.transport.abort()
        await asyncio.sleep(0.05)
        try:
            with pytest.raises(redis_errors.ConnectionError):
                await asyncio.wait_for(Link(connection, 7).ask("PING"), 5)
        finally:
            await connection.disconnect(nowait=True)
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
