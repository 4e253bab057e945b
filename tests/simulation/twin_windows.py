"""The twin of `windows.lua`: what the scripts do with windows, over dictionaries.

Functions have the names that they have in Lua, so that the two can be read beside each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.model import Hold
from gateway.state.records import ClaimedWindow, Expired, Held, OpenWindow, WindowState

if TYPE_CHECKING:
    from tests.simulation.twin import Record, ShardData

SOONEST_END = 1000
MOST_MEMBERS = 200


@dataclass
class Window:
    """One window's hash."""

    id: str
    group: str
    rule: Hold
    storming: bool = False
    closed: bool = False
    opened: float = 0
    last: float = 0
    ends: float = 0
    members: int = 0
    chunk: int = 0
    owns: bool = False
    wrote: float = 0
    attempts: int = 0
    due: float | None = None
    leased: float = 0
    event: str = ""


@dataclass
class WindowData:
    """What a shard holds of windows."""

    windows: dict[str, Window] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, dict[str, str]] = field(default_factory=dict)
    """By group."""
    chunks: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    collecting: dict[str, float] = field(default_factory=dict)


class Windows:
    """One script's work on the windows of a shard."""

    def __init__(
        self,
        shard: ShardData,
        now: float,
        interval: float = 0,
        turn: Callable[[], float] | None = None,
        mutations: frozenset[str] = frozenset(),
    ) -> None:
        self.shard = shard
        self.data = shard.windows
        self.now = now
        self.interval = interval
        self.turn = turn
        self.mutations = mutations
        self.changed: dict[str, Window] = {}

    def window(self, name: str) -> Window | None:
        return self.data.windows.get(name)

    def _change(self, win: Window) -> None:
        self.changed[win.id] = win

    # --- chunks

    def chunk(self, win: Window, number: int) -> dict[str, str]:
        if win.owns and not win.closed and number == win.chunk:
            return self.data.buffers.setdefault(win.group, {})
        return self.data.chunks.setdefault((win.id, number), {})

    def pend(self, win: Window, number: int, fingerprint: str, starts_at: str) -> bool:
        if number > win.chunk:
            win.chunk = number
            self._change(win)
        chunk = self.chunk(win, number)
        added = fingerprint not in chunk
        chunk[fingerprint] = starts_at
        return added

    def drop(self, win: Window, number: int, fingerprint: str) -> None:
        self.chunk(win, number).pop(fingerprint, None)

    def filled(self, win: Window) -> int:
        return len(self.chunk(win, win.chunk))

    # --- the life of a window

    def seal(self, win: Window) -> None:
        if win.owns and not win.closed:
            buffer = self.data.buffers.pop(win.group, None)
            if buffer:
                self.data.chunks[win.id, win.chunk] = buffer
        win.chunk += 1
        self._change(win)

    def leave_group(self, win: Window) -> None:
        if win.owns and self.data.groups.get(win.group) == win.id:
            del self.data.groups[win.group]

    def close(self, win: Window) -> None:
        self.seal(win)
        self.leave_group(win)
        win.closed = True
        win.ends = min(win.ends, self.now)
        win.due = self.now
        self._change(win)

    def vanish(self, win: Window) -> None:
        for number in range(win.chunk + 1):
            if win.owns and not win.closed and number == win.chunk:
                self.data.buffers.pop(win.group, None)
            else:
                self.data.chunks.pop((win.id, number), None)
        self.leave_group(win)
        self.data.windows.pop(win.id, None)
        self.data.collecting.pop(win.id, None)
        self.shard.queue.pop(f"w:{win.id}", None)
        self.changed.pop(win.id, None)

    def take_group(self, win: Window) -> None:
        win.owns = win.group not in self.data.groups
        if win.owns:
            self.data.groups[win.group] = win.id

    def current(self, group: str) -> Window | None:
        name = self.data.groups.get(group)
        if name is not None:
            win = self.window(name)
            if win is not None and win.owns and not win.closed:
                return win
            del self.data.groups[group]
        buffer = self.data.buffers.get(group)
        if not buffer:
            return None
        record = self.shard.records.get(min(buffer))
        win = self.window(record.W) if record is not None and record.W else None
        if win is not None and win.owns and not win.closed and win.group == group:
            self.take_group(win)
            return win
        del self.data.buffers[group]
        return None

    def open_window(self, name: str, group: str, rule: Hold) -> Window:
        win = Window(name, group, rule, opened=self.now, last=self.now, ends=self.now + rule.hold)
        win.event = "opened"
        self.data.windows[name] = win
        self.take_group(win)
        self._change(win)
        return win

    def known_end(self, win: Window, due: float) -> float:
        return max(self.now + SOONEST_END, min(due, self.now + max(win.rule.hold, win.rule.inactivity)))

    def recreate(self, name: str, group: str, rule: Hold, state: WindowState, due: float) -> Window:
        win = Window(name, group, rule, opened=self.now, last=self.now, event="recreated")
        win.storming = state >= WindowState.STORMING
        win.closed = state is WindowState.WRITTEN
        win.ends = self.now if win.closed else self.known_end(win, due)
        self.data.windows[name] = win
        if not win.closed and self.current(group) is None:
            self.take_group(win)
        self._change(win)
        return win

    def want_write(self, win: Window) -> None:
        if win.due is not None:
            return
        win.due = self.now
        if win.wrote > 0:
            assert self.turn is not None
            due = max(win.wrote + self.interval, self.turn())
            win.due = self.now if due <= self.now else math.ceil(due / 250) * 250
        self._change(win)

    def join(self, win: Window, fingerprint: str, starts_at: str, due: float | None) -> int:
        number = win.chunk
        added = self.pend(win, number, fingerprint, starts_at)
        self._change(win)
        rule = win.rule
        if win.closed:
            if self.filled(win) >= rule.buffer_size:
                self.seal(win)
            self.want_write(win)
            return number
        if added:
            win.members += 1
            calm = not win.storming
            if win.members >= rule.threshold or self.filled(win) >= rule.buffer_size:
                win.storming = True
            if due is not None:
                win.ends = max(win.ends, self.known_end(win, due))
            else:
                win.last = self.now
                if win.storming:
                    win.ends = min(self.now + rule.inactivity, win.opened + rule.max_window)
            if calm and win.storming:
                win.event = "storming"
            if win.members >= rule.max_alerts:
                self.close(win)
                win.event = "full"
            elif self.filled(win) >= rule.buffer_size:
                self.seal(win)
                win.event = "spilled"
                self.want_write(win)
        if win.storming and rule.early:
            self.want_write(win)
        return number

    def withdraw(self, win: Window, record: Record, fingerprint: str) -> int:
        settled = 0
        for slot in record.unsettled():
            settled += slot.value - slot.base
            record.b[slot.slot] = record.z[slot.slot] = slot.value
        self.drop(win, record.K, fingerprint)
        record.W, record.K = "", 0
        win.members -= 1
        self._change(win)
        if win.members <= 0 and win.chunk == 0:
            self.vanish(win)
        elif win.storming and win.members < win.rule.threshold and win.chunk == 0 and not win.wrote:
            win.storming = False
            win.ends = max(self.now, win.opened + win.rule.hold)
        return settled

    def keep_windows(self) -> None:
        for win in list(self.changed.values()):
            win.event = ""
            if win.closed:
                self.data.collecting.pop(win.id, None)
            else:
                self.data.collecting[win.id] = win.ends
            if win.leased > self.now:
                continue
            at = win.due if win.closed else min(win.due, win.ends) if win.due is not None else win.ends
            if at is not None:
                self.shard.queue[f"w:{win.id}"] = at
            else:
                self.shard.queue.pop(f"w:{win.id}", None)

    def last_to_write(self, win: Window) -> int:
        return win.chunk if win.closed or (win.rule.early and win.storming) else win.chunk - 1

    @staticmethod
    def described(win: Window) -> Held:
        event, win.event = win.event, ""
        return Held(win.id, win.storming, win.closed, int(win.ends), win.members, event)

    # --- members

    def release(self, fingerprint: str, source: str) -> bool:
        record = self.shard.records.get(fingerprint)
        if record is None:
            return False
        record.W, record.K = "", 0
        if record.h is None:
            record.m = ""
        if not record.unsettled() and not (record.h is not None and record.mark_pending()):
            return False
        record.g = max(record.g or 0, record.c + 1)
        record.o = source
        if record.d is None:
            self.shard.queue[fingerprint] = self.now
        return True

    def dissolve(self, win: Window, source: str) -> int:
        released = 0
        for number in range(win.chunk + 1):
            for fingerprint in sorted(self.chunk(win, number)):
                record = self.shard.records.get(fingerprint)
                if record is not None and win.id == record.W:
                    released += self.release(fingerprint, source)
        self.vanish(win)
        return released

    def finish(self, win: Window) -> Expired | None:
        if win.closed or self.now < win.ends:
            return None
        if not win.storming:
            return Expired(win.id, self.dissolve(win, "buffer_expiration"))
        self.close(win)
        return None

    def finish_all(self) -> list[Expired]:
        expired = []
        for name in sorted(name for name, end in self.data.collecting.items() if end <= self.now):
            win = self.window(name)
            if win is None:
                del self.data.collecting[name]
            elif over := self.finish(win):
                expired.append(over)
        return expired

    def claim(self, win: Window, lease: float, left: int) -> tuple[ClaimedWindow | None, Expired | None, int]:
        was_open = not win.closed
        over = self.finish(win)
        if over is not None:
            return None, over, left
        closing = was_open and win.closed
        found, more = [], False
        for number in range(self.last_to_write(win) + 1):
            if more:
                break
            for fingerprint in sorted(self.chunk(win, number)):
                if left == 0:
                    more = True
                    break
                record = self.shard.records.get(fingerprint)
                slots = record.unsettled() if record is not None else []
                if (
                    record is None
                    or win.id != record.W
                    or record.d is not None
                    or (not slots and not record.mark_pending())
                ):
                    self.drop(win, number, fingerprint)
                else:
                    left -= 1
                    found.append(record.claimed(fingerprint, slots, ""))
        win.due = None
        self._change(win)
        if not found and not more:
            win.leased = 0
            if win.closed and win.members <= 0:
                self.vanish(win)
            return None, None, left
        if not found:
            win.due = self.now
            return None, None, left
        win.due = win.leased = self.now + lease
        self.shard.queue[f"w:{win.id}"] = win.leased
        return (
            ClaimedWindow(win.id, win.group, not win.closed, win.attempts, more, found, closing),
            None,
            left,
        )

    def open_windows(self, first: int, last: int) -> tuple[int, list[OpenWindow]]:
        mended, found = 0, []
        ordered = sorted(self.data.collecting, key=lambda name: (self.data.collecting[name], name))
        for name in ordered[first : last + 1 if last >= 0 else len(ordered)]:
            win = self.window(name)
            if win is None or win.closed:
                del self.data.collecting[name]
                continue
            if f"w:{name}" not in self.shard.queue:
                win.leased = 0
                self._change(win)
                mended += 1
            found.append(
                OpenWindow(
                    name,
                    win.group,
                    win.storming,
                    int(win.opened),
                    int(win.last),
                    int(win.ends),
                    win.members,
                    win.rule.threshold,
                    win.chunk,
                )
            )
        return mended, found
