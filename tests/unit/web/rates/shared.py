"""The shared windows without Redis: what `rate.lua` promises, in memory, with a clock and failures at will."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto

from gateway.errors import StoreRefused, StoreUnsure

Log = list[tuple[float, int]]


class State(Enum):
    UP = auto()
    AWAY = auto()
    MUTE = auto()
    """Does what it is asked for, and its answers are lost."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """What Redis holds for all replicas."""

    def __init__(self, clock: Clock, *, most: int, span: float) -> None:
        self.clock = clock
        self.most = most
        self.span = span
        self.state = State.UP
        self.windows: dict[str, dict[int, Log]] = {}
        self.calls = 0
        self.checks = 0
        self.gate: asyncio.Event | None = None
        """Where set, a call waits for it."""

    def replica(self) -> Replica:
        return Replica(self)


class Replica:
    """The windows as one replica reaches them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def take(
        self, names: Sequence[str], logs: Sequence[Sequence[int]], checks: Sequence[Sequence[int]]
    ) -> tuple[Sequence[bool], Sequence[Sequence[int]]]:
        server = self._server
        server.calls += 1
        server.checks += len(checks)
        if server.gate is not None:
            await server.gate.wait()
        if server.state is State.AWAY:
            raise StoreRefused("away", kind="connection")
        now = server.clock.now
        others: list[list[int]] = []
        for name, log in zip(names, logs, strict=True):
            fields = server.windows.setdefault(name, {})
            fields[id(self)] = [
                (now - age / 1000, count) for age, count in zip(log[::2], log[1::2], strict=True)
            ]
            for replica, held in fields.items():
                fields[replica] = [(at, count) for at, count in held if now - at < server.span]
            others.append(
                [
                    number
                    for replica, held in fields.items()
                    if replica != id(self)
                    for at, count in held
                    for number in (int((now - at) * 1000), count)
                ]
            )
        taken = [self._take([server.windows[names[place]] for place in check]) for check in checks]
        if server.state is State.MUTE:
            raise StoreUnsure("no answer", kind="timeout")
        return taken, others

    def _take(self, windows: Sequence[dict[int, Log]]) -> bool:
        for fields in windows:
            if sum(count for held in fields.values() for _, count in held) >= self._server.most:
                return False
        for fields in windows:
            fields[id(self)].append((self._server.clock.now, 1))
        return True
