"""Deadlines that measure the call and not this process."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from gateway.state.deadlines import in_time


async def test_a_call_in_time_gives_its_result() -> None:
    async def call() -> int:
        await asyncio.sleep(0)
        return 7

    assert await in_time(call(), 1.0) == 7


async def test_a_call_that_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def call() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        await in_time(call(), 0.01)
    assert cancelled.is_set()


async def test_a_busy_event_loop_does_not_look_like_a_broken_redis() -> None:
    """The reply has arrived when the loop comes back to it, long after the timer should have fired."""
    reader, writer = asyncio.StreamReader(), asyncio.Event()

    async def call() -> bytes:
        writer.set()
        return await reader.readexactly(2)

    task = asyncio.create_task(in_time(call(), 0.01))
    await writer.wait()
    asyncio.get_running_loop().call_later(0.001, reader.feed_data, b"ok")
    time.sleep(0.05)  # noqa: ASYNC251 - this is the busy event loop

    assert await task == b"ok"


async def test_a_cancellation_from_outside_stays_one() -> None:
    task = asyncio.create_task(in_time(asyncio.sleep(60), 30.0))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_call_leaves_nothing_for_the_garbage_collector() -> None:
    class Reply:
        """What can be watched."""

    async def call() -> Reply:
        await asyncio.sleep(0)
        return Reply()

    gc.collect()
    gc.disable()
    try:
        reply = weakref.ref(await in_time(call(), 1.0))
        await asyncio.sleep(0)
        assert reply() is None
    finally:
        gc.enable()
