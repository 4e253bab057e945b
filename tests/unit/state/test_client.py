"""Deadlines and errors of calls to Redis."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest
from redis import exceptions as redis_errors

from gateway.errors import StoreError, StoreRefused, StoreUnsure
from gateway.state.client import Client, Scripts, in_time, translate
from gateway.state.keys import Keys


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


@pytest.mark.parametrize(
    ("error", "kind", "refused"),
    [
        (redis_errors.OutOfMemoryError("OOM command not allowed"), "oom", True),
        (redis_errors.ResponseError("OOM command not allowed when used memory > 'maxmemory'."), "oom", True),
        (redis_errors.ReadOnlyError("READONLY"), "readonly", True),
        (
            redis_errors.ResponseError("-READONLY You can't write against a read only replica."),
            "readonly",
            True,
        ),
        (redis_errors.BusyLoadingError("LOADING"), "loading", True),
        (redis_errors.NoScriptError("NOSCRIPT"), "noscript", True),
        (redis_errors.AuthenticationError("no"), "auth", True),
        (redis_errors.NoPermissionError("no"), "auth", True),
        (redis_errors.MaxConnectionsError("no"), "pool", True),
        (ConnectionRefusedError("refused"), "connection", True),
        (redis_errors.TimeoutError("late"), "timeout", False),
        (TimeoutError("late"), "timeout", False),
        (redis_errors.ConnectionError("cut"), "connection", False),
        (ConnectionResetError("cut"), "connection", False),
        (redis_errors.ResponseError("WRONGTYPE"), "response", False),
    ],
)
def test_errors_say_whether_the_call_may_have_been_performed(
    error: Exception, kind: str, refused: bool
) -> None:
    translated = translate(error)

    assert translated.kind == kind
    assert isinstance(translated, StoreRefused if refused else StoreUnsure)


def test_every_error_of_the_library_is_translated() -> None:
    for _, family in inspect.getmembers(redis_errors, inspect.isclass):
        if issubclass(family, redis_errors.RedisError) and family.__init__ in (
            redis_errors.RedisError.__init__,
            Exception.__init__,
        ):
            assert isinstance(translate(family("x")), StoreError)


async def test_nothing_listening_is_a_refusal() -> None:
    client = Client("redis://127.0.0.1:1/0", timeout=0.5, pool_size=1)
    try:
        with pytest.raises(StoreRefused):
            await client.command("PING")
    finally:
        await client.close()


def test_keys_of_a_shard_share_their_hash_tag() -> None:
    keys = Keys("gw:", 16)
    shard = keys.shard("prod/PodOOMKilled")

    tags = {
        key[key.index("{") : key.index("}") + 1]
        for key in (
            keys.queue(shard),
            keys.notes(shard),
            keys.sentinel(shard),
            keys.dead(shard),
            keys.record(shard, "f" * 64),
        )
    }
    assert tags == {f"{{{shard}}}"}
    assert len({keys.shard(f"ns-{number}/A") for number in range(200)}) == 16


def test_every_script_says_what_it_takes_and_answers() -> None:
    scripts = Scripts()
    for name in Scripts.NAMES:
        head = scripts.source[name]
        assert "-- KEYS" in head, name
        assert "-- Reply" in head, name
