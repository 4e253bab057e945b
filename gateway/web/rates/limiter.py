"""Deciding whether one more may pass, together with the other replicas where that is possible.

Each process keeps what it took itself, and what it was last told that the others took. One call to Redis tells all of
it there, decides for everything that waits, and brings back what the others took. So the memory of this process is
there before Redis goes, and Redis is told of what was taken without it when it returns: neither makes room.

Both have to agree. What memory knows as full is refused without asking, so that who sends too much costs Redis nothing;
what Redis cannot decide, memory decides alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import merge
from typing import Final

from gateway.engine.coalescing import Coalescer
from gateway.errors import StoreError
from gateway.web.ports import SharedWindows
from gateway.web.rates.takes import Takes

MOST_TRACKED: Final = 10_000
"""Windows in memory. While there are so many, all that are new share one: a flood of names makes no room."""
MOST_IN_A_CALL: Final = 200
"""Windows in one call to Redis, which serves nobody else meanwhile. What alone needs more is decided from memory."""

_SHARED_NAME: Final = "others"


@dataclass(frozen=True, slots=True)
class Full:
    """There is no room."""

    key: str
    """The one of the keys whose window is full."""
    wait: float
    """Seconds until there is room, if nobody else takes it."""


class _Window:
    __slots__ = ("others", "own", "touched")

    def __init__(self, span: float, grain: float) -> None:
        self.own = Takes(span, grain=grain)
        self.others = Takes(span)
        """What was taken by the other replicas, as far as it is known."""
        self.touched = 0.0

    def used(self, now: float) -> int:
        return self.own.used(now) + self.others.used(now)

    def learn(self, ages: Sequence[int], now: float) -> None:
        """Lay what Redis says of the others over what was known. Redis may have lost some of it; that stays known."""
        if sum(ages[1::2]) >= self.others.used(now):
            self.others.replace(ages, now)


class _Check:
    """One request that waits to be decided."""

    __slots__ = ("full", "names")

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        """The name of each window → the key that it is for."""
        self.full: Full | None = None


class Limiter:
    """At most `most` for each key within any `span` seconds."""

    def __init__(
        self,
        *,
        most: int,
        span: float,
        shared: SharedWindows,
        clock: Callable[[], float] = time.monotonic,
        most_tracked: int = MOST_TRACKED,
    ) -> None:
        """`span` in seconds; `clock` is monotonic."""
        self._most = most
        self._span = span
        self._grain = Takes.grain(span, most)
        self._shared = shared
        self._clock = clock
        self._most_tracked = most_tracked
        self._windows: dict[str, _Window] = {}
        """By name; the one that was touched longest ago first."""
        self._waiting = Coalescer(self._decide, most=MOST_IN_A_CALL)

    @property
    def tracked(self) -> int:
        """Windows in memory."""
        return len(self._windows)

    async def take(self, keys: Sequence[str]) -> Full | None:
        """Take one from the window of each key, or from none where one of them is full."""
        now = self._clock()
        check = _Check({self._name(key, now): key for key in keys})
        full = self._full(check, now)
        if full is not None:
            return full
        await self._waiting.submit(check)
        return check.full

    async def _decide(self, checks: list[_Check]) -> None:
        """Decide for all of them, in their order."""
        group: list[_Check] = []
        names = 0
        for check in checks:
            if names + len(check.names) > MOST_IN_A_CALL and group:
                await self._ask(group)
                group, names = [], 0
            group.append(check)
            names += len(check.names)
        if group:
            await self._ask(group)

    async def _ask(self, checks: Sequence[_Check]) -> None:
        taken = await self._ask_the_others(checks)
        now = self._clock()
        for check, may_take in zip(checks, taken, strict=True):
            check.full = self._full(check, now)
            if check.full is not None:
                continue
            if may_take:
                for name in check.names:
                    self._window(name, now).own.add(now)
            else:
                # Redis knew of something that has just left the span here.
                check.full = Full(next(iter(check.names.values())), 0.0)

    async def _ask_the_others(self, checks: Sequence[_Check]) -> Sequence[bool]:
        """Which checks may take as far as the other replicas are concerned: all, where they cannot be asked."""
        now = self._clock()
        places: dict[str, int] = {}
        for check in checks:
            for name in check.names:
                places.setdefault(name, len(places))
        everything = [True] * len(checks)
        if len(places) > MOST_IN_A_CALL:
            return everything
        logs = [self._window(name, now).own.ages(now) for name in places]
        try:
            taken, others = await self._shared.take(
                list(places), logs, [[places[name] for name in check.names] for check in checks]
            )
        except StoreError:
            return everything
        now = self._clock()
        for name, ages in zip(places, others, strict=True):
            self._window(name, now).learn(ages, now)
        return taken

    def _full(self, check: _Check, now: float) -> Full | None:
        for name, key in check.names.items():
            window = self._window(name, now)
            if window.used(now) >= self._most:
                return Full(key, self._wait(window, now))
        return None

    def _wait(self, window: _Window, now: float) -> float:
        """Seconds until enough has left a full window."""
        excess = window.used(now) - self._most + 1
        for at, count in merge(window.own, window.others):
            excess -= count
            if excess <= 0:
                return at + self._span - now
        return self._span

    def _name(self, key: str, now: float) -> str:
        """What the window of a key is called, here and in Redis: short, whatever the key is."""
        name = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        if name in self._windows:
            return name
        while self._windows:
            oldest, window = next(iter(self._windows.items()))
            if now - window.touched < self._span:
                break
            del self._windows[oldest]
        if len(self._windows) >= self._most_tracked:
            return _SHARED_NAME
        self._window(name, now)
        return name

    def _window(self, name: str, now: float) -> _Window:
        window = self._windows.pop(name, None) or _Window(self._span, self._grain)
        window.touched = now
        self._windows[name] = window
        return window
