"""The scripts' twin: the same operations as the `.lua` files, in Python, over dictionaries.

A contract test holds it to the real scripts on a real Redis with random command sequences. `mutations` switches rules
off one by one, to show that the simulation notices.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.state.keys import Keys
from gateway.state.records import (
    Admission,
    AdmitReply,
    Admitted,
    Claim,
    Claimed,
    ClaimedSlot,
    Confirmation,
    DeadLetter,
    Kind,
    Note,
    Standing,
)

PENDING_LIFE = 691_200_000
SETTLED_LIFE = 3_600_000
NOTE_LIFE = 300_000
BURST = 50
LONGEST_TURN = 60_000
STEP = 250


@dataclass
class Record:
    g: int | None = None
    h: int | None = None
    w: int = 0
    t: int = 0
    f: str = ""
    r: str = ""
    e: str = ""
    m: str = ""
    p: str = ""
    d: str | None = None
    n: dict[str, int] = field(default_factory=dict)
    b: dict[str, int] = field(default_factory=dict)
    dies: float | None = None

    def mark(self) -> str:
        return self.e if self.r and self.r >= self.f else ""

    def mark_pending(self) -> bool:
        return self.h is not None and self.mark() != self.m

    def unsettled(self, *, settled_too: bool = False) -> list[ClaimedSlot]:
        return [
            ClaimedSlot(slot, value, self.b.get(slot, 0))
            for slot, value in sorted(self.n.items())
            if settled_too or value > self.b.get(slot, 0)
        ]


@dataclass
class ShardData:
    queue: dict[str, float] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    notes_die: float = 0.0
    dead: dict[str, float] = field(default_factory=dict)
    sentinel: str = ""
    turn: float = 0.0


class Twin:
    """One Redis server's worth of shards."""

    def __init__(
        self,
        clock_ms: Callable[[], float],
        *,
        shards: int = 1,
        interval_ms: int = 1000,
        spread_ms: int = 20,
        run_id: str = "run0",
        mutations: frozenset[str] = frozenset(),
    ) -> None:
        self._clock = clock_ms
        self._keys = Keys("", shards)
        self.interval = interval_ms
        self.spread = spread_ms * shards
        self.run_id = run_id
        self.mutations = mutations
        self.data = [ShardData() for _ in range(shards)]

    @property
    def shards(self) -> int:
        return len(self.data)

    def shard(self, group: str) -> int:
        return self._keys.shard(group)

    # --- what happens to a server

    def flush(self) -> None:
        self.data = [ShardData() for _ in self.data]

    def snapshot(self) -> list[ShardData]:
        return copy.deepcopy(self.data)

    def restore(self, data: list[ShardData], run_id: str) -> None:
        self.data = copy.deepcopy(data)
        self.run_id = run_id

    def _shard(self, number: int) -> tuple[ShardData, float]:
        now = float(int(self._clock()))
        shard = self.data[number]
        for fingerprint in [
            fp for fp, rec in shard.records.items() if rec.dies is not None and rec.dies <= now
        ]:
            del shard.records[fingerprint]
        if shard.notes_die <= now:
            shard.notes = {}
        return shard, now

    @staticmethod
    def _due_in(shard: ShardData, now: float) -> int:
        return max(0, int(min(shard.queue.values()) - now)) if shard.queue else -1

    # --- the scripts

    def admit(self, number: int, messages: Sequence[Admission], *, notes_taken: bool) -> AdmitReply:
        shard, now = self._shard(number)
        if not notes_taken and shard.notes:
            return AdmitReply(True, [], -1, 0)
        results = [self._admit(shard, message, now) for message in messages]
        return AdmitReply(False, results, self._due_in(shard, now), max(0, int(shard.turn - now)))

    # One function because the script is one: they are compared line by line.
    def _admit(self, shard: ShardData, message: Admission, now: float) -> Admitted:  # noqa: C901, PLR0912, PLR0915
        rec = shard.records.get(message.fingerprint, Record())
        fresh = rec.g is None
        generation = rec.g or 0
        base = rec.b.get(message.slot, 0)
        h = rec.h
        if h is not None and h <= message.closed_generation:
            h = None
        opened = message.open_generation
        if opened > message.closed_generation and (h is None or opened > h):
            h = opened
        r, e = rec.r, rec.e
        since_put = message.resolved_since > r
        if since_put:
            r, e = message.resolved_since, ""
        value = message.value
        if message.kind is Kind.RESOLVED:
            standing = Standing.RESOLVED
            if message.starts_at > r or (message.starts_at == r and message.ends_at > e):
                r, e, since_put = message.starts_at, message.ends_at, True
        elif "incr" not in self.mutations and value <= base:
            standing = Standing.SETTLED
        else:
            wanted = max(generation, message.closed_generation + 1)
            awaited = rec.g is not None and wanted == generation
            if h is not None:
                standing, generation = Standing.OPEN, max(generation, h)
            elif message.dated and not message.asserted and r and message.starts_at <= r and not awaited:
                standing = Standing.STALE
            elif rec.d is not None:
                standing = Standing.DEAD
            elif awaited:
                standing = Standing.PENDING
            elif message.limited and not message.asserted:
                standing = Standing.FULL
            else:
                standing, generation = Standing.NEW, wanted
            if standing not in (Standing.STALE, Standing.FULL) and not rec.p and not message.payload:
                standing = Standing.WANTS_PAYLOAD
        known = message.fingerprint in shard.records
        if standing in (Standing.RESOLVED, Standing.SETTLED):
            changed = since_put
            if h != rec.h:
                if h is not None:
                    rec.g, changed = max(generation, h), True
                else:
                    rec.m = ""
                rec.h = h
            if since_put:
                rec.r, rec.e = r, e
            if known or changed:
                shard.records[message.fingerprint] = rec
                if rec.dies is None or rec.dies - now < SETTLED_LIFE:
                    rec.dies = now + SETTLED_LIFE
            if h is not None and rec.mark() != rec.m:
                self._enqueue(shard, message.fingerprint, rec, now, counts=True)
        elif standing not in (Standing.STALE, Standing.FULL, Standing.WANTS_PAYLOAD):
            shard.records[message.fingerprint] = rec
            if "incr" in self.mutations:
                rec.n[message.slot] = rec.n.get(message.slot, 0) + 1
            else:
                rec.n[message.slot] = max(rec.n.get(message.slot, 0), value)
            rec.f = max(rec.f, message.starts_at)
            if message.payload:
                rec.p = message.payload
            if since_put:
                rec.r, rec.e = r, e
            rec.g = generation
            if h is None and rec.h is not None:
                rec.m = ""
            rec.h = h
            if rec.d is None:
                self._enqueue(shard, message.fingerprint, rec, now, counts=standing is Standing.OPEN)
            else:
                rec.dies = now + PENDING_LIFE
        if standing is Standing.OPEN and h is not None:
            generation = h
        return Admitted(standing, generation, base, fresh)

    def _enqueue(self, shard: ShardData, fingerprint: str, rec: Record, now: float, *, counts: bool) -> None:
        if fingerprint not in shard.queue:
            shard.queue[fingerprint] = self._due(shard, rec, now, counts=counts)
            rec.dies = now + PENDING_LIFE

    def _due(self, shard: ShardData, rec: Record, now: float, *, counts: bool) -> float:
        due = max(rec.w + self.interval, self._take_turn(shard, now)) if counts else now
        return now if due <= now else math.ceil(due / STEP) * STEP

    def _take_turn(self, shard: ShardData, now: float) -> float:
        at = max(min(shard.turn, now + LONGEST_TURN), now - BURST * self.spread)
        shard.turn = at + self.spread
        return max(now, min(at, now + LONGEST_TURN))

    def claim(self, number: int, *, limit: int, lease: float, token: str) -> Claim:
        shard, now = self._shard(number)
        due = sorted((at, fp) for fp, at in shard.queue.items() if at <= now)[:limit]
        items = []
        for _, fingerprint in due:
            rec = shard.records.get(fingerprint, Record())
            slots = rec.unsettled(settled_too="settled-in-snapshot" in self.mutations)
            if rec.d is not None or (not slots and not rec.mark_pending()):
                del shard.queue[fingerprint]
                continue
            shard.queue[fingerprint] = now + round(lease * 1000)
            rec.dies = now + PENDING_LIFE
            items.append(Claimed(fingerprint, slots, rec.g or 0, rec.t, rec.f, rec.r, rec.e, rec.p))
        identity = ""
        if token:
            shard.sentinel = shard.sentinel or token
            identity = f"{self.run_id}:{shard.sentinel}"
        return Claim(items, self._due_in(shard, now), len(shard.queue), identity)

    def confirm(self, number: int, confirmations: Sequence[Confirmation]) -> int:
        shard, now = self._shard(number)
        for confirmation in confirmations:
            fingerprint = confirmation.fingerprint
            rec = shard.records.get(fingerprint)
            if rec is None:
                continue
            if "confirm-deletes" in self.mutations:
                shard.records.pop(fingerprint)
                shard.queue.pop(fingerprint, None)
                continue
            for slot, settled in confirmation.covered.items():
                reached = min(rec.n.get(slot, 0), settled)
                if reached > rec.b.get(slot, 0):
                    rec.b[slot] = reached
            opened, closed = confirmation.open_generation, confirmation.closed_generation
            if opened > 0 and opened >= (rec.h or 0) and opened > closed:
                rec.h, rec.m = opened, confirmation.marked
                rec.g = max(rec.g or 0, opened)
            elif rec.h is not None and rec.h <= closed:
                rec.h, rec.m = None, ""
            if confirmation.wrote:
                rec.w = int(now)
            rec.t = 0
            if rec.d is not None:
                shard.queue.pop(fingerprint, None)
            elif rec.unsettled() or rec.mark_pending():
                counts = rec.h is not None
                shard.queue[fingerprint] = self._due(shard, rec, now, counts=counts)
                rec.dies = now + PENDING_LIFE
            else:
                shard.queue.pop(fingerprint, None)
                rec.dies = now + SETTLED_LIFE
        return self._due_in(shard, now)

    def postpone(self, number: int, fingerprint: str, *, delay: float, attempts: int) -> None:
        shard, now = self._shard(number)
        if fingerprint not in shard.queue:
            return
        shard.queue[fingerprint] = now + round(delay * 1000)
        if fingerprint in shard.records:
            shard.records[fingerprint].t = attempts

    def arrange(self, number: int, fingerprint: str, *, known: int) -> int:
        shard, now = self._shard(number)
        rec = shard.records.get(fingerprint)
        if rec is None:
            rec = shard.records[fingerprint] = Record(dies=now + PENDING_LIFE)
        rec.g = max(rec.g or 0, known + 1)
        if rec.h is not None and rec.h <= known:
            rec.h, rec.m = None, ""
        return rec.g

    def note(self, number: int, notes: Sequence[Note]) -> None:
        shard, now = self._shard(number)
        for note in notes:
            shard.notes[f"{note.body}:{note.alert}"] = self.run_id
        shard.notes_die = now + NOTE_LIFE

    def take_notes(self, number: int, notes: Sequence[Note]) -> list[bool]:
        shard, _ = self._shard(number)
        found = []
        for note in notes:
            run_id = shard.notes.pop(f"{note.body}:{note.alert}", None)
            found.append(
                run_id is not None and (run_id == self.run_id or "note-without-run-id" in self.mutations)
            )
        return found

    def sweep(self, number: int) -> int:
        shard, now = self._shard(number)
        mended = 0
        if "no-sweep" in self.mutations:
            return 0
        for fingerprint, rec in shard.records.items():
            if rec.d is None and fingerprint not in shard.queue and (rec.unsettled() or rec.mark_pending()):
                shard.queue[fingerprint] = now
                rec.dies = now + PENDING_LIFE
                mended += 1
        return mended

    def bury(self, number: int, fingerprint: str, reason: str) -> None:
        shard, now = self._shard(number)
        rec = shard.records.get(fingerprint)
        if rec is None:
            return
        rec.d = reason
        rec.dies = now + PENDING_LIFE * 4
        shard.queue.pop(fingerprint, None)
        shard.dead.setdefault(fingerprint, now)

    def exhume(self, number: int, fingerprint: str) -> bool:
        shard, now = self._shard(number)
        shard.dead.pop(fingerprint, None)
        rec = shard.records.get(fingerprint)
        if rec is None or rec.d is None:
            return False
        rec.d, rec.t = None, 0
        if not rec.unsettled() and not rec.mark_pending():
            return False
        shard.queue[fingerprint] = now
        rec.dies = now + PENDING_LIFE
        return True

    def dead_letters(self, number: int) -> list[DeadLetter]:
        shard, _ = self._shard(number)
        found = []
        for fingerprint, since in sorted(shard.dead.items(), key=lambda item: (item[1], item[0])):
            rec = shard.records.get(fingerprint)
            if rec is not None and rec.d is not None:
                waiting = sum(slot.value - slot.base for slot in rec.unsettled())
                found.append(DeadLetter(fingerprint, rec.d, int(since), rec.p, waiting))
        return found
