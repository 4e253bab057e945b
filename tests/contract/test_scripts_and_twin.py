"""The scripts on a real Redis and their twin in Python agree on every sequence of commands.

Times are taken out of the comparison by using only "at once" and "never": leases and delays of zero or of days.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chaos.rig.redis_server import RedisServer
from gateway.model import Hold
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.records import (
    IMMEDIATE,
    Admission,
    AdmitReply,
    Admitted,
    Claim,
    Confirmation,
    Kind,
    MemberConfirmation,
    Note,
    OpenWindows,
    Seen,
    Standing,
    WindowConfirmation,
    WindowState,
)
from gateway.state.store import RedisStore
from tests.simulation.twin import Twin

FINGERPRINTS = [f"{digit}" * 64 for digit in "abcdef"]
GROUPS = ["prod/A", "prod/B"]
WINDOWS = [f"w{number}" for number in range(6)]
SLOTS = ["p1.1", "p2.1", "p2.2"]
TIMES = [f"2026-01-01T00:00:0{n}.000000000Z" for n in range(3)]
NEVER = 100_000.0
DAYS = 100_000_000
COMMANDS = (
    *("admit", "admit", "admit", "claim", "claim", "confirm", "confirm", "postpone", "arrange"),
    *("confirm_window", "confirm_window", "postpone_window", "windows", "payloads", "evict", "hurry"),
    *("note", "take_notes", "sweep", "bury", "exhume", "dead_letters", "look", "look"),
)


def draw_admission(rng: random.Random) -> Admission:
    if rng.random() < 0.15:
        return Admission(
            rng.choice(FINGERPRINTS),
            Kind.RESOLVED,
            "",
            0,
            rng.choice(TIMES),
            ends_at=rng.choice(TIMES),
            open_generation=rng.choice((0, 0, 1, 2)),
            closed_generation=rng.choice((0, 0, 1)),
            group=GROUPS[0],
        )
    fingerprint = rng.choice(FINGERPRINTS)
    state = rng.choice((WindowState.NONE, WindowState.NONE, *WindowState))
    return Admission(
        fingerprint,
        Kind.FIRING,
        rng.choice(SLOTS),
        rng.randint(1, 6),
        rng.choice(TIMES),
        dated=rng.random() < 0.8,
        open_generation=rng.choice((0, 0, 1, 2, 3)),
        closed_generation=rng.choice((0, 0, 1, 2)),
        resolved_since=rng.choice(("", "", TIMES[1])),
        payload=rng.choice(("", "{}", '{"é":1}')),
        asserted=rng.random() < 0.2,
        limited=rng.random() < 0.2,
        group=GROUPS[FINGERPRINTS.index(fingerprint) % 4 // 3],
        rule=draw_rule(rng) if state is WindowState.NONE else Hold(2, DAYS, DAYS, DAYS, False, 2, 4),
        proposal=f"p{rng.getrandbits(48):x}",
        window=rng.choice(WINDOWS) if state is not WindowState.NONE else "",
        window_state=state,
        window_end=10**15,
        closed_windows=[rng.choice(WINDOWS)] if rng.random() < 0.1 else [],
        settled=rng.choice((0, 0, 0, 1, 2)),
    )


def draw_rule(rng: random.Random) -> Hold:
    if rng.random() < 0.3:
        return IMMEDIATE
    threshold, size = rng.choice((1, 2, 3)), rng.choice((1, 2, 100))
    return Hold(
        threshold, rng.choice((0, DAYS)), rng.choice((0, DAYS)), DAYS, rng.random() < 0.3, size, max(size, 4)
    )


def plain(reply: Any) -> Any:
    """A reply without its times."""
    if isinstance(reply, AdmitReply):
        return reply.noted, [plain(result) for result in reply.results], reply.due_in >= 0
    if isinstance(reply, Admitted):
        window = reply.window
        return msgspec.structs.replace(reply, window=window and msgspec.structs.replace(window, ends_at=0))
    if isinstance(reply, OpenWindows):
        windows = [
            msgspec.structs.replace(window, opened_at=0, last_at=0, ends_at=0) for window in reply.windows
        ]
        return reply.mended, sorted(windows, key=lambda window: window.id)
    if isinstance(reply, Seen):
        window = reply.window and msgspec.structs.replace(reply.window, ends_at=0)
        due = min(reply.due_at, 0)
        return msgspec.structs.replace(
            reply, now=0, due_at=due, dead_since=min(reply.dead_since, 1), window=window
        )
    if isinstance(reply, Claim):
        return (
            sorted(reply.items, key=lambda item: item.fingerprint),
            reply.depth,
            reply.due_in >= 0,
            sorted(reply.windows, key=lambda window: window.id),
            sorted(reply.expired, key=lambda expired: expired.id),
            reply.collecting,
        )
    if isinstance(reply, int):
        return reply >= 0
    return reply


class Pair:
    """One command, carried out by both."""

    def __init__(self, store: RedisStore, twin: Twin) -> None:
        self.store = store
        self.twin = twin

    async def step(self, rng: random.Random) -> tuple[str, Any, Any]:
        store, twin = self.store, self.twin
        which = rng.choice(COMMANDS)
        fingerprint = rng.choice(FINGERPRINTS)
        if which == "admit":
            messages = [draw_admission(rng) for _ in range(rng.choice((1, 1, 3)))]
            taken = rng.random() < 0.7
            life = rng.choice(("", "", "", "another"))
            real = await store.admit(0, messages, notes_taken=taken, life=life)
            return (
                f"admit {messages} {taken} {life}",
                real,
                twin.admit(0, messages, notes_taken=taken, life=life),
            )
        if which == "claim":
            lease = rng.choice((0.0, NEVER))
            limit = rng.choice((10, 10, 0))
            real_claim = await store.claim(0, limit=limit, lease=lease, identify=False)
            return f"claim {limit} {lease}", real_claim, twin.claim(0, limit=limit, lease=lease, token="")
        if which == "confirm":
            confirmations = [
                Confirmation(
                    rng.choice(FINGERPRINTS),
                    {slot: rng.randint(1, 6) for slot in rng.sample(SLOTS, rng.randint(0, 3))},
                    rng.choice((0, 1, 2, 3)),
                    rng.choice((0, 0, 1, 2)),
                    rng.random() < 0.5,
                    rng.choice(("", *TIMES)),
                )
                for _ in range(rng.choice((1, 2)))
            ]
            return (
                f"confirm {confirmations}",
                await store.confirm(0, confirmations),
                twin.confirm(0, confirmations),
            )
        if which == "postpone":
            delay = rng.choice((0.0, NEVER))
            await store.postpone(0, fingerprint, delay=delay, attempts=3)
            twin.postpone(0, fingerprint, delay=delay, attempts=3)
            return f"postpone {fingerprint[0]} {delay}", None, None
        if which == "confirm_window":
            window = rng.choice([*twin.data[0].windows.windows, WINDOWS[0]])
            members = [
                MemberConfirmation(
                    name,
                    {slot: rng.randint(1, 6) for slot in rng.sample(SLOTS, rng.randint(1, 3))},
                    rng.choice((0, 0, 0, 1, 2)),
                    rng.choice((0, 0, 1)),
                    rng.random() < 0.2,
                    rng.choice(("", "", *TIMES)),
                )
                for name in rng.sample(FINGERPRINTS, rng.randint(0, 3))
            ]
            seen = WindowConfirmation(window, rng.random() < 0.1, rng.random() < 0.5, members)
            return f"{seen}", await store.confirm_window(0, seen), twin.confirm_window(0, seen)
        if which == "postpone_window":
            item = f"w:{rng.choice([*twin.data[0].windows.windows, WINDOWS[0]])}"
            delay = rng.choice((0.0, NEVER))
            await store.postpone(0, item, delay=delay, attempts=3)
            twin.postpone(0, item, delay=delay, attempts=3)
            return f"postpone {item} {delay}", None, None
        if which == "evict":
            return await self._evict(rng), None, None
        if which == "arrange":
            known = rng.randint(0, 3)
            real_generation = await store.arrange(0, fingerprint, known=known)
            return f"arrange {known}", str(real_generation), str(twin.arrange(0, fingerprint, known=known))
        return await self._step_beside(which, rng, fingerprint)

    async def _step_beside(self, which: str, rng: random.Random, fingerprint: str) -> tuple[str, Any, Any]:
        """What goes on beside admitting and writing."""
        store, twin = self.store, self.twin
        notes = [Note(rng.choice("xy"), fingerprint)]
        if which == "hurry":
            return "hurry", str(await store.hurry(0, spread=0.0)), str(twin.hurry(0, spread=0.0))
        if which == "payloads":
            return "payloads", await store.payloads(0, FINGERPRINTS), twin.payloads(0, FINGERPRINTS)
        if which == "windows":
            return "windows", await store.windows(0, 0, -1), twin.windows(0, 0, -1)
        if which == "note":
            await store.note(0, notes)
            twin.note(0, notes)
            return f"note {notes}", None, None
        if which == "take_notes":
            return f"take_notes {notes}", await store.take_notes(0, notes), twin.take_notes(0, notes)
        if which == "sweep":
            return "sweep", str(await store.sweep(0)), str(twin.sweep(0))
        if which == "bury":
            await store.bury(0, fingerprint, "bad")
            twin.bury(0, fingerprint, "bad")
            return f"bury {fingerprint[0]}", None, None
        if which == "look":
            return f"look {fingerprint[0]}", await store.look(0, fingerprint), twin.look(0, fingerprint)
        if which == "exhume":
            return f"exhume {fingerprint[0]}", await store.exhume(0, fingerprint), twin.exhume(0, fingerprint)
        letters = {
            letter.fingerprint: (letter.reason, letter.occurrences) for letter in await store.dead_letters(0)
        }
        twins = {letter.fingerprint: (letter.reason, letter.occurrences) for letter in twin.dead_letters(0)}
        return "dead_letters", letters, twins

    async def _evict(self, rng: random.Random) -> str:
        """Redis forgets one key, as it does where its memory is full."""
        data = self.twin.data[0].windows
        what = rng.choice(("window", "group", "buffer", "chunk", "record"))
        if what == "window" and data.windows:
            name = rng.choice(sorted(data.windows))
            del data.windows[name]
            key = f"t:{{0}}:w:{name}"
        elif what == "group":
            group = rng.choice(GROUPS)
            data.groups.pop(group, None)
            key = f"t:{{0}}:g:{group}"
        elif what == "buffer":
            group = rng.choice(GROUPS)
            data.buffers.pop(group, None)
            key = f"alert:buffer:{{0}}:{group.replace('/', ':')}"
        elif what == "chunk" and data.chunks:
            name, number = rng.choice(sorted(data.chunks))
            del data.chunks[name, number]
            key = f"t:{{0}}:m:{name}:{number}"
        else:
            fingerprint = rng.choice(FINGERPRINTS)
            self.twin.data[0].records.pop(fingerprint, None)
            key = f"t:{{0}}:r:{fingerprint}"
        await self.store._client.command("DEL", key)
        return f"evict {key}"


async def compare(url: str, seeds: range, steps: int) -> None:
    client = Client(url, timeout=5.0, pool_size=2)
    try:
        for seed in seeds:
            await client.command("FLUSHALL")
            rng = random.Random(seed)
            interval = rng.choice((0.0, NEVER))
            store = RedisStore(client, Keys("t:", 1), write_interval=interval, write_spread=0.0)
            twin = Twin(lambda: time.time() * 1000, interval_ms=round(interval * 1000), spread_ms=0)
            twin.run_id = "same"
            pair = Pair(store, twin)
            trace = []
            for _ in range(steps):
                command, real, expected = await pair.step(rng)
                trace.append(command)
                assert plain(real) == plain(expected), "\n".join(
                    [f"seed {seed}", *trace[-12:], f"{real}", f"{expected}"]
                )
                await asyncio.sleep(0)
    finally:
        await client.close()


@pytest.mark.parametrize("source", ["any", "wheel"])
async def test_scripts_and_twin_agree(start_redis: Callable[..., RedisServer], source: str) -> None:
    server = start_redis(name=f"twin-{source}", source=source)

    await compare(server.url, range(60), 150)


async def test_a_record_of_another_type_is_set_aside(redis_server: RedisServer) -> None:
    client = Client(redis_server.url, timeout=5.0, pool_size=2)
    try:
        keys = Keys("t:", 1)
        store = RedisStore(client, keys, write_interval=1.0)
        await client.command("SET", keys.record(0, FINGERPRINTS[0]), "garbage")
        await client.command("SET", keys.queue(0), "garbage")

        message = Admission(FINGERPRINTS[0], Kind.FIRING, "p.1", 1, TIMES[0], payload="{}")
        reply = await store.admit(0, [message], notes_taken=False)
        claim = await store.claim(0, limit=10, lease=15.0, identify=True)

        assert reply.results[0].standing is Standing.NEW
        assert [item.fingerprint for item in claim.items] == [FINGERPRINTS[0]]
        assert await client.command("GET", keys.record(0, FINGERPRINTS[0]) + ":corrupt") == b"garbage"
        assert claim.corrupt == 2, "the record and the queue"
        assert (await store.claim(0, limit=10, lease=15.0, identify=True)).corrupt == 0
    finally:
        await client.close()


async def test_every_key_has_an_end(redis_server: RedisServer) -> None:
    client = Client(redis_server.url, timeout=5.0, pool_size=2)
    try:
        store = RedisStore(client, Keys("t:", 1), write_interval=1.0)
        pair = Pair(store, Twin(lambda: time.time() * 1000))
        rng = random.Random(1)
        for _ in range(300):
            await pair.step(rng)
        await store.claim(0, limit=1, lease=1.0, identify=True)

        keys = await client.scan("*")
        endless = [key for key in keys if await client.command("PTTL", key) < 0]

        assert keys
        assert endless == []
    finally:
        await client.close()
