"""What was put off after failures comes due at once, spread out, and nothing else moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chaos.rig.redis_server import RedisServer
from gateway.model import Hold
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.records import IMMEDIATE, Admission, Kind
from gateway.state.store import HURRY_STEP, RedisStore

AT = "2026-01-01T00:00:00.000000000Z"
LATE = 3600.0
HELD = Hold(3, 3_600_000, 3_600_000, 3_600_000, False, 100, 1000)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    client = Client(redis_server.url, timeout=5.0, pool_size=2)
    yield RedisStore(client, Keys("t:", 1), write_interval=1.0)
    await client.close()


def fingerprint(number: int) -> str:
    return f"{number:064x}"


async def admit(store: RedisStore, numbers: range, rule: Hold = IMMEDIATE) -> None:
    messages = [
        Admission(
            fingerprint(number),
            Kind.FIRING,
            "p.1",
            1,
            AT,
            payload="{}",
            group="a/b",
            rule=rule,
            proposal="p-1",
        )
        for number in numbers
    ]
    await store.admit(0, messages, notes_taken=True)


async def clock(store: RedisStore) -> float:
    """The time of Redis in milliseconds."""
    seconds, microseconds = await store._client.command("TIME")
    return int(seconds) * 1000 + int(microseconds) / 1000


async def due(store: RedisStore, *, since: float | None = None) -> list[float]:
    """Milliseconds until each item is due, in order: from now, or from a time of Redis."""
    now = await clock(store) if since is None else since
    queue = await store._client.command("ZRANGE", "t:{0}:queue", 0, -1, "WITHSCORES")
    return [float(score) - now for score in queue[1::2]]


async def test_more_items_than_one_call_looks_at_come_due_spread_over_the_time(store: RedisStore) -> None:
    number = HURRY_STEP + 100
    for start in range(0, number, 200):
        await admit(store, range(start, min(start + 200, number)))
    for item in range(number):
        await store.postpone(0, fingerprint(item), delay=LATE, attempts=1 if item % 10 else 0)
    assert min(await due(store)) > 3_000_000

    before = await clock(store)
    assert await store.hurry(0, spread=1.0) == number * 9 // 10
    after = await clock(store)
    times = await due(store, since=after)
    soon = [at for at in times if at < 1100]
    assert len(soon) == number * 9 // 10
    assert min(soon) < 300
    assert max((await due(store, since=before))[: len(soon)]) > 500
    assert min(at for at in times if at >= 1100) > 3_000_000
    assert await store.hurry(0, spread=1.0) == 0


async def test_a_window_that_collects_keeps_its_time_and_one_that_failed_does_not(store: RedisStore) -> None:
    await admit(store, range(3), HELD)
    assert await store.hurry(0, spread=0.0) == 0
    assert (await due(store))[0] > 3_000_000
    await store.postpone(0, "w:p-1", delay=LATE * 2, attempts=2)
    assert await store.hurry(0, spread=0.0) == 1
    assert (await due(store))[0] <= 0


async def test_with_nothing_to_lease_windows_end_all_the_same(store: RedisStore) -> None:
    await admit(store, range(3), Hold(3, 0, 0, 0, False, 100, 1000))
    await admit(store, range(10, 12))
    claim = await store.claim(0, limit=0, lease=15.0, identify=False)
    assert claim.items == []
    assert claim.windows == []
    assert claim.collecting == 0
    assert claim.depth == 3
    claim = await store.claim(0, limit=10, lease=15.0, identify=False)
    assert {item.fingerprint for item in claim.items} == {fingerprint(10), fingerprint(11)}
    assert [len(window.members) for window in claim.windows] == [3]
