"""One search at a time, in the background, whose result all wait for who need it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import StoreRefused
from gateway.state.deadlines import in_time
from gateway.state.searching import PAUSE, Search


class Looking:
    """A search that ends when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.times = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.search = Search(self.look, clock=lambda: self.now)

    async def look(self) -> None:
        self.times += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error


async def test_many_who_need_it_share_one_search() -> None:
    looking = Looking()
    waiting = [asyncio.create_task(looking.search.found()) for _ in range(5)]
    await asyncio.sleep(0)
    looking.gate.set()
    await asyncio.gather(*waiting)
    assert looking.times == 1


async def test_a_search_goes_on_when_the_call_that_needed_it_has_given_up() -> None:
    looking = Looking()
    with pytest.raises(TimeoutError):
        await in_time(looking.search.found(), 0.01)
    looking.gate.set()
    await looking.search.found()
    assert looking.times == 1


async def test_after_a_vain_search_everybody_is_refused_until_the_next() -> None:
    looking = Looking()
    looking.gate.set()
    looking.error = ConnectionRefusedError("nobody")
    for _ in range(3):
        with pytest.raises(StoreRefused, match="nobody"):
            await looking.search.found()
    assert looking.times == 1

    looking.now += PAUSE
    looking.error = None
    await looking.search.found()
    assert looking.times == 2


async def test_once_stopped_nothing_is_looked_for() -> None:
    looking = Looking()
    looking.search.start()
    await asyncio.sleep(0)
    await looking.search.stop()
    looking.now += PAUSE
    looking.search.start()
    await asyncio.sleep(0)
    assert looking.times == 1
