"""What a full Redis still answers to an assertion that it refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.errors import StoreRefused
from gateway.model import Hold
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.records import Admission, Kind, Standing
from gateway.state.store import RedisStore
from tests.rig.fixtures import StartRedis

FIRST, LATER = (f"2026-01-01T0{hour}:00:00.000000000Z" for hour in range(2))
HELD = Hold(3, 3_600_000, 3_600_000, 3_600_000, early=False, buffer_size=100, max_alerts=1000)
A, B, C = (digit * 64 for digit in "abc")


@pytest.fixture
async def store(start_redis: StartRedis) -> AsyncIterator[RedisStore]:
    client = Client(start_redis(source="seven").url, timeout=5.0, pool_size=2)
    yield RedisStore(client, Keys("t:", 1), write_interval=1.0)
    await client.close()


def fires(fingerprint: str, value: int = 1) -> Admission:
    return Admission(
        fingerprint,
        Kind.FIRING,
        f"p.{fingerprint[0]}",
        value,
        FIRST,
        payload="{}",
        group="a/b",
        rule=HELD,
        proposal=f"p-{fingerprint[0]}",
        asserted=True,
    )


def ends(fingerprint: str) -> Admission:
    return Admission(fingerprint, Kind.RESOLVED, "", 0, FIRST, ends_at=LATER)


async def fill(store: RedisStore) -> None:
    for option, value in (("maxmemory-policy", "noeviction"), ("maxmemory", 1)):
        await store._client.command("CONFIG", "SET", option, value)


async def stored(store: RedisStore) -> set[bytes]:
    return set(await store._client.command("KEYS", "*"))


async def test_what_resolved_in_its_window_is_told_and_what_is_unknown_is_not_stored(
    store: RedisStore,
) -> None:
    await store.admit(0, [fires(A), fires(B)], notes_taken=True)
    await store.admit(0, [ends(A)], notes_taken=True)
    await fill(store)
    asserted = [fires(A), fires(B), fires(C)]
    with pytest.raises(StoreRefused):
        await store.admit(0, asserted, notes_taken=True)
    before = await stored(store)

    reply = await store.ask(0, asserted)

    assert [one.standing for one in reply.results] == [
        Standing.WITHDRAWN,
        Standing.HELD,
        Standing.WANTS_PAYLOAD,
    ]
    assert await stored(store) == before


async def test_it_opens_no_window_for_what_lost_its_own(store: RedisStore) -> None:
    await store.admit(0, [fires(A)], notes_taken=True)
    (window,) = (await store.windows(0, 0, 9)).windows
    await fill(store)
    # Its payload is there, but its window is over, and its group has no other one.
    lost = msgspec.structs.replace(fires(A, 2), group="c/d", closed_windows=[window.id])

    reply = await store.ask(0, [lost])

    assert [one.standing for one in reply.results] == [Standing.NEW]
    assert [one.id for one in (await store.windows(0, 0, 9)).windows] == [window.id]
