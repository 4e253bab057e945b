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
    MemberConfirmation,
    Note,
    OpenWindows,
    Seen,
    Standing,
    WindowConfirmation,
    WindowSeen,
    WindowState,
)
from tests.simulation.twin_windows import MOST_MEMBERS, Window, WindowData, Windows

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
    W: str = ""
    K: int = 0
    c: int = 0
    o: str = ""
    n: dict[str, int] = field(default_factory=dict)
    b: dict[str, int] = field(default_factory=dict)
    z: dict[str, int] = field(default_factory=dict)
    dies: float | None = None

    def mark(self) -> str:
        return self.e if self.r and self.r >= self.f else ""

    def mark_pending(self) -> bool:
        return (self.h is not None or bool(self.W)) and self.mark() != self.m

    def unsettled(self, *, settled_too: bool = False) -> list[ClaimedSlot]:
        return [
            ClaimedSlot(slot, value, self.b.get(slot, 0))
            for slot, value in sorted(self.n.items())
            if settled_too or value > self.b.get(slot, 0)
        ]

    def claimed(self, fingerprint: str, slots: list[ClaimedSlot], payload: str) -> Claimed:
        return Claimed(fingerprint, slots, self.g or 0, self.t, self.f, self.r, self.e, payload, self.o)


@dataclass
class ShardData:
    queue: dict[str, float] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    notes_die: float = 0.0
    dead: dict[str, float] = field(default_factory=dict)
    sentinel: str = ""
    turn: float = 0.0
    windows: WindowData = field(default_factory=WindowData)


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
        self.withdrawn: dict[str, int] = {}
        """Occurrences that resolved before their window ended, by fingerprint: no request ever holds them."""

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

    def admit(
        self,
        number: int,
        messages: Sequence[Admission],
        *,
        notes_taken: bool,
        life: str = "",
        token: str = "token",
    ) -> AdmitReply:
        shard, now = self._shard(number)
        shard.sentinel = shard.sentinel or token
        if life and life != shard.sentinel:
            return AdmitReply(False, [], -1, 0, shard.sentinel)
        if not notes_taken and shard.notes:
            return AdmitReply(True, [], -1, 0, shard.sentinel)
        windows = self._windows(shard, now)
        results = [self._admit(shard, message, now, windows) for message in messages]
        windows.keep_windows()
        return AdmitReply(
            False, results, self._due_in(shard, now), max(0, int(shard.turn - now)), shard.sentinel
        )

    def _windows(self, shard: ShardData, now: float) -> Windows:
        return Windows(
            shard, now, self.interval, lambda: self._take_turn(shard, now), mutations=self.mutations
        )

    # One function because the script is one: they are compared line by line.
    def _admit(  # noqa: C901, PLR0912, PLR0915
        self, shard: ShardData, message: Admission, now: float, windows: Windows
    ) -> Admitted:
        rec = shard.records.get(message.fingerprint, Record())
        fresh = rec.g is None and not rec.W
        generation = rec.g or 0
        base = max(rec.b.get(message.slot, 0), message.settled)

        def remembered() -> Window | None:
            if (
                not message.window
                or message.window_state is WindowState.NONE
                or message.window in message.closed_windows
            ):
                return None
            return windows.window(message.window) or windows.recreate(
                message.window, message.group, message.rule, message.window_state, message.window_end
            )

        win: Window | None = None
        if rec.W and rec.W not in message.closed_windows:
            win = windows.window(rec.W)
            if win is None and message.window == rec.W:
                win = remembered()
        h = rec.h
        if win is None:
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
        joins: int | None = None
        joined = False
        settled, withdrawn = base, rec.z.get(message.slot, 0)
        home = rec.W
        known = message.fingerprint in shard.records
        if message.kind is Kind.RESOLVED:
            standing = Standing.RESOLVED
            settled = 0
            if message.starts_at > r or (message.starts_at == r and message.ends_at > e):
                r, e, since_put = message.starts_at, message.ends_at, True
            if (
                win is not None
                and not win.closed
                and win.chunk == rec.K
                and not (win.rule.early and win.storming)
            ):
                settled = windows.withdraw(win, rec, message.fingerprint)
                before = self.withdrawn.get(message.fingerprint, 0)
                self.withdrawn[message.fingerprint] = before + settled
                if "resolved-deleted" in self.mutations:
                    rec.n, rec.b, rec.z = {}, {}, {}
                win, home = None, ""
        elif "incr" not in self.mutations and value <= base:
            standing = Standing.WITHDRAWN if value <= rec.z.get(message.slot, 0) else Standing.SETTLED
        else:
            wanted = max(generation, message.closed_generation + 1)
            awaited = rec.g is not None and wanted == generation
            if win is not None:
                standing = Standing.HELD
            elif h is not None:
                standing, generation = Standing.OPEN, max(generation, h)
            elif message.dated and not message.asserted and r and message.starts_at <= r and not awaited:
                standing = Standing.STALE
            elif rec.d is not None:
                standing = Standing.DEAD
            elif awaited:
                standing = Standing.PENDING
            else:
                # As in the script: a window that is remembered is there again even where the payload is missing.
                win = remembered()
                if win is not None:
                    standing, joins, joined = Standing.HELD, message.window_end, True
                elif message.rule.threshold > 0:
                    win = windows.current(message.group)
                    if win is None and message.limited and not message.asserted:
                        standing = Standing.FULL
                    else:
                        standing, joined = Standing.HELD, True
                elif message.limited and not message.asserted:
                    standing = Standing.FULL
                else:
                    standing, generation = Standing.NEW, wanted
            if standing not in (Standing.STALE, Standing.FULL) and not rec.p and not message.payload:
                standing = Standing.WANTS_PAYLOAD
        if standing in (Standing.RESOLVED, Standing.SETTLED, Standing.WITHDRAWN):
            changed = since_put
            if h != rec.h and win is None:
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
            if rec.mark() != rec.m:
                if win is not None:
                    windows.pend(win, rec.K, message.fingerprint, message.starts_at)
                    windows.want_write(win)
                elif h is not None and not home:
                    self._enqueue(shard, message.fingerprint, rec, now, counts=True)
        elif standing not in (Standing.STALE, Standing.FULL, Standing.WANTS_PAYLOAD):
            shard.records[message.fingerprint] = rec
            if "incr" in self.mutations:
                rec.n[message.slot] = rec.n.get(message.slot, 0) + 1
            else:
                rec.n[message.slot] = max(rec.n.get(message.slot, 0), value)
                if base > rec.b.get(message.slot, 0):
                    rec.b[message.slot] = base
            rec.f = max(rec.f, message.starts_at)
            if message.payload:
                rec.p = message.payload
            if since_put:
                rec.r, rec.e = r, e
            if standing is Standing.HELD:
                if joined:
                    win = win or windows.open_window(message.proposal, message.group, message.rule)
                    rec.K = windows.join(win, message.fingerprint, message.starts_at, joins)
                    rec.W = win.id
                    if rec.h is not None:
                        rec.h, rec.m = None, ""
                else:
                    assert win is not None
                    windows.pend(win, rec.K, message.fingerprint, message.starts_at)
                    if win.closed or win.chunk > rec.K or (win.rule.early and win.storming):
                        windows.want_write(win)
                rec.c = max(rec.c, message.closed_generation)
                rec.dies = now + PENDING_LIFE
                return Admitted(standing, 0, withdrawn, fresh, windows.described(win))
            if generation != (rec.g or 0):
                rec.g = generation
            rec.W, rec.K = "", 0
            if h is None and rec.h is not None:
                rec.m = ""
            rec.h = h
            if rec.d is None:
                self._enqueue(shard, message.fingerprint, rec, now, counts=standing is Standing.OPEN)
            else:
                rec.dies = now + PENDING_LIFE
        if standing is Standing.OPEN and h is not None:
            generation = h
        if standing not in (Standing.RESOLVED, Standing.SETTLED, Standing.WITHDRAWN):
            settled = withdrawn
        return Admitted(standing, generation, settled, fresh)

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
        windows = self._windows(shard, now)
        due = sorted((at, name) for name, at in shard.queue.items() if at <= now)[:limit]
        items, claimed, expired, left = [], [], [], MOST_MEMBERS
        if limit == 0:
            expired += windows.finish_all()
        for _, name in due:
            if name.startswith("w:"):
                found = windows.window(name[2:])
                if found is None:
                    del shard.queue[name]
                    continue
                found.leased = 0
                taken, over, left = windows.claim(found, round(lease * 1000), left)
                if taken is not None:
                    claimed.append(taken)
                if over is not None:
                    expired.append(over)
                continue
            rec = shard.records.get(name, Record())
            home = windows.window(rec.W) if rec.W else None
            if home is None:
                rec.W, rec.K = "", 0
            slots = rec.unsettled(settled_too="settled-in-snapshot" in self.mutations)
            if rec.d is not None or (not slots and not rec.mark_pending()):
                del shard.queue[name]
            elif home is not None:
                del shard.queue[name]
                windows.pend(home, rec.K, name, rec.f)
                if home.closed or home.chunk > rec.K:
                    home.due = home.due if home.due is not None else now
                    windows.changed[home.id] = home
            else:
                shard.queue[name] = now + round(lease * 1000)
                rec.dies = now + PENDING_LIFE
                items.append(rec.claimed(name, slots, rec.p))
        windows.keep_windows()
        identity = ""
        if token:
            shard.sentinel = shard.sentinel or token
            identity = f"{self.run_id}:{shard.sentinel}"
        collecting = len(shard.windows.collecting)
        depth = max(0, len(shard.queue) - collecting)
        return Claim(items, self._due_in(shard, now), depth, identity, 0, claimed, expired, collecting)

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
            rec.t, rec.o = 0, ""
            if rec.d is not None or rec.W:
                shard.queue.pop(fingerprint, None)
            elif rec.unsettled() or rec.mark_pending():
                counts = rec.h is not None
                shard.queue[fingerprint] = self._due(shard, rec, now, counts=counts)
                rec.dies = now + PENDING_LIFE
            else:
                shard.queue.pop(fingerprint, None)
                rec.dies = now + SETTLED_LIFE
        return self._due_in(shard, now)

    def confirm_window(self, number: int, confirmation: WindowConfirmation) -> int:
        shard, now = self._shard(number)
        windows = self._windows(shard, now)
        win = windows.window(confirmation.id)
        for member in confirmation.members:
            self._confirm_member(shard, windows, win, confirmation.id, member, now)
        if win is not None:
            win.leased, win.attempts, win.due = 0, 0, None
            windows.changed[win.id] = win
            if confirmation.wrote:
                win.wrote = now
            if confirmation.gone:
                windows.dissolve(win, "")
            elif any(windows.chunk(win, chunk) for chunk in range(windows.last_to_write(win) + 1)):
                windows.want_write(win)
        windows.keep_windows()
        return self._due_in(shard, now)

    @staticmethod
    def _confirm_member(
        shard: ShardData,
        windows: Windows,
        win: Window | None,
        name: str,
        member: MemberConfirmation,
        now: float,
    ) -> None:
        rec = shard.records.get(member.fingerprint)
        if rec is None:
            return
        for slot, settled in member.covered.items():
            reached = min(rec.n.get(slot, 0), settled)
            if "confirm-window-blindly" in windows.mutations:
                reached = rec.n.get(slot, 0)
            if reached > rec.b.get(slot, 0):
                rec.b[slot] = reached
        rec.c = max(rec.c, member.closed_generation)
        if name != rec.W:
            return
        rec.m = member.marked
        own = member.open_generation > 0 and member.open_generation > member.closed_generation
        if own:
            rec.h = member.open_generation
            rec.g = max(rec.g or 0, member.open_generation)
        if own or member.released or win is None:
            if win is not None:
                windows.drop(win, rec.K, member.fingerprint)
            if not windows.release(member.fingerprint, "" if member.released else rec.o):
                rec.dies = now + SETTLED_LIFE
            else:
                rec.dies = now + PENDING_LIFE
        elif not rec.unsettled() and not rec.mark_pending():
            windows.drop(win, rec.K, member.fingerprint)
            rec.dies = now + SETTLED_LIFE

    def payloads(self, number: int, fingerprints: Sequence[str]) -> list[str]:
        shard, _ = self._shard(number)
        return [shard.records.get(fingerprint, Record()).p for fingerprint in fingerprints]

    def windows(self, number: int, first: int, last: int) -> OpenWindows:
        shard, now = self._shard(number)
        windows = self._windows(shard, now)
        mended, found = windows.open_windows(first, last)
        windows.keep_windows()
        return OpenWindows(int(now), mended, found)

    def look(self, number: int, fingerprint: str) -> Seen:
        shard, now = self._shard(number)
        rec = shard.records.get(fingerprint)
        due = int(shard.queue.get(fingerprint, -1))
        if rec is None:
            return Seen(int(now), False, due, 0, 0, 0, False, "", 0)
        win = shard.windows.windows.get(rec.W)
        unwritten = sum(slot.value - slot.base for slot in rec.unsettled())
        return Seen(
            int(now),
            True,
            due,
            rec.g or 0,
            rec.t,
            unwritten,
            unwritten > 0 or rec.mark_pending(),
            rec.d or "",
            int(shard.dead.get(fingerprint, 0)) if rec.d is not None else 0,
            win is not None
            and WindowSeen(win.id, win.group, win.storming, win.closed, int(win.ends), win.members),
        )

    def postpone(self, number: int, item: str, *, delay: float, attempts: int) -> None:
        shard, now = self._shard(number)
        fingerprint = item
        if fingerprint not in shard.queue:
            return
        at = now + round(delay * 1000)
        shard.queue[fingerprint] = at
        win = shard.windows.windows.get(item[2:]) if item.startswith("w:") else None
        if win is not None:
            win.attempts, win.leased, win.due = attempts, at, at
        if fingerprint in shard.records:
            shard.records[fingerprint].t = attempts

    def hurry(self, number: int, *, spread: float) -> int:
        shard, now = self._shard(number)
        horizon = now + round(spread * 1000)
        moved = 0
        later = sorted((at, name) for name, at in shard.queue.items() if at > horizon)
        for place, (_, name) in enumerate(later, 1):
            win = shard.windows.windows.get(name[2:]) if name.startswith("w:") else None
            failed = win.attempts if win is not None else shard.records.get(name, Record()).t
            if failed > 0:
                at = min(horizon, now + (horizon - now) * place // len(later))
                shard.queue[name] = at
                if win is not None:
                    win.due, win.leased = at, 0
                moved += 1
        return moved

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
        windows = self._windows(shard, now)
        mended = 0
        if "no-sweep" in self.mutations:
            return 0
        for fingerprint, rec in sorted(shard.records.items()):
            if rec.d is not None or not (rec.unsettled() or rec.mark_pending()):
                continue
            win = windows.window(rec.W) if rec.W else None
            if win is not None:
                mends = windows.pend(win, rec.K, fingerprint, rec.f)
                idle = win.due is None and (mends or win.leased <= now)
                if idle and (win.closed or win.chunk > rec.K):
                    win.due, mends = now, True
                    windows.changed[win.id] = win
                mended += mends
                if f"w:{win.id}" not in shard.queue:
                    windows.changed[win.id] = win
            elif rec.W:
                mended += windows.release(fingerprint, "recovery")
            elif fingerprint not in shard.queue:
                shard.queue[fingerprint] = now
                rec.dies = now + PENDING_LIFE
                mended += 1
        windows.keep_windows()
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
