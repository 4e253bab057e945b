"""Garbage in the place of any key: the scripts set it aside, say so, and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
import redis

from chaos.rig.garbage import WAYS, Spoil, another_type
from chaos.rig.redis_server import RedisServer
from gateway.errors import StoreError
from gateway.model import Hold
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.rates import RateWindows
from gateway.state.records import Admission, Confirmation, Kind, Note, Standing, WindowConfirmation
from gateway.state.store import RedisStore, window_item

RULE = Hold(2, 200, 200, 1000, False, 2, 10)
AT = "2026-01-31T09:00:00.000000000Z"
OPEN, NEW, HELD, DEAD = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
KINDS = (
    *("t:{0}:r:*", "t:{0}:queue", "t:{0}:queue:turn", "t:{0}:queue:corrupt", "t:{0}:notes", "t:{0}:sentinel"),
    *("t:{0}:rate:*", "t:{0}:dead", "t:{0}:windows", "t:{0}:w:*", "t:{0}:g:*", "t:{0}:m:*", "alert:buffer:*"),
)
"""Every kind of key."""


@dataclass
class Held:
    """A store with one key of every kind, and a client that spoils them."""

    store: RedisStore
    rates: RateWindows
    raw: redis.Redis
    corrupt: int = 0
    """Entries that were said to be set aside."""
    rounds: int = 0


def says(fingerprint: str, value: int, *, rule: Hold | None = None, **more: object) -> Admission:
    held = {"group": "ns/A", "rule": rule, "proposal": "w1"} if rule else {}
    return Admission(fingerprint, Kind.FIRING, "p.1", value, AT, payload="{}", **{**held, **more})  # type: ignore[arg-type]


@pytest.fixture
async def held(redis_server: RedisServer) -> AsyncIterator[Held]:
    """One key of every kind."""
    client = Client(redis_server.url, timeout=5.0, pool_size=2)
    store = RedisStore(client, Keys("t:", 1), write_interval=1.0)
    await store.admit(0, [says(OPEN, 1), says(DEAD, 1)], notes_taken=True)
    await store.claim(0, limit=10, lease=0.0, identify=True)
    await store.confirm(0, [Confirmation(OPEN, {"p.1": 1}, 1, 0, True, "")])
    await store.admit(0, [says(OPEN, 2, open_generation=1)], notes_taken=True)
    await store.bury(0, DEAD, "because")
    # Three members of two to a chunk: one that is sealed, and the group's buffer.
    members = [says(letter * 64, 1, rule=RULE) for letter in "cef"]
    await store.admit(0, members, notes_taken=True)
    await store.note(0, [Note("body", "alert")])
    rates = RateWindows(client, Keys("t:", 1), most=3, span=60.0)
    await rates.take(["a"], [[]], [[0]])
    with redis.Redis(port=redis_server.port) as raw:
        raw.set("t:{0}:queue:corrupt", 0)
        yield Held(store, rates, raw)
    await client.close()


@pytest.mark.parametrize("spoil", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_operation_goes_on_after_any_key_was_spoilt(kind: str, spoil: Spoil, held: Held) -> None:
    spoilt = held.raw.keys(kind)
    assert spoilt, "the test has a key of every kind"
    for key in spoilt:
        spoil(held.raw, key)

    # What is spoilt may fail once more, while it is being found.
    with suppress(StoreError):
        await everything(held)
    await everything(held)
    await everything(held)

    reply = await held.store.admit(0, [says(NEW, 2), says(HELD, 2, rule=RULE)], notes_taken=True)
    assert all(result.standing.counted for result in reply.results)
    assert reply.results[0].standing in (Standing.PENDING, Standing.NEW)
    if spoil is another_type:
        assert held.corrupt >= 1


async def test_what_is_due_never_is_due_now(held: Held) -> None:
    held.raw.delete("t:{0}:queue")
    held.raw.zadd("t:{0}:queue", {OPEN: "+inf", "f" * 64: "9e99"})

    claim = await held.store.claim(0, limit=50, lease=0.0, identify=True)

    assert [item.fingerprint for item in claim.items] == [OPEN]
    assert claim.corrupt == 2
    assert held.raw.zscore("t:{0}:queue", "f" * 64) is None


async def everything(held: Held) -> None:
    """One of each operation."""
    store = held.store
    claim = await store.claim(0, limit=50, lease=0.0, identify=True)
    held.corrupt += claim.corrupt
    await store.admit(0, [says(NEW, 1), says(OPEN, 3, open_generation=1)], notes_taken=True)
    held.rounds += 1
    joining = says(f"{held.rounds}" * 64, 1, rule=RULE, proposal=f"w{held.rounds + 1}")
    await store.admit(0, [says(HELD, 1, rule=RULE), joining], notes_taken=True)
    await store.admit(0, [Admission(OPEN, Kind.RESOLVED, "", 0, AT, ends_at=AT)], notes_taken=True)
    assert await store.take_notes(0, [Note("other", "alert")]) == [False]
    await store.note(0, [Note("body", "alert")])
    await store.payloads(0, [OPEN, NEW, HELD])
    await store.windows(0, 0, 100)
    await store.postpone(0, OPEN, delay=0.0, attempts=1)
    await store.postpone(0, window_item("w1"), delay=0.0, attempts=1)
    await store.hurry(0, spread=0.0)
    await store.confirm(0, [Confirmation(OPEN, {"p.1": 1}, 1, 0, True, "")])
    await store.confirm_window(0, WindowConfirmation("w1", False, True, []))
    assert await store.arrange(0, NEW, known=0) >= 1
    await store.sweep(0)
    await store.bury(0, DEAD, "because")
    await store.dead_letters(0)
    await store.exhume(0, DEAD)
    await held.rates.take(["a"], [[5, 1]], [[0]])
