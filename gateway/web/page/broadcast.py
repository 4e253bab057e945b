"""One picture for all who look: taken once an interval, and only while somebody does.

A viewer holds no queue. Whoever reads slowly misses pictures and gets the latest one next, so that a viewer costs one
reference, however slow it is. Places are few; a viewer that is forgotten without a word gives up its place as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from weakref import WeakSet

from gateway.web.problems import Reason, try_again

INTERVAL: Final = 1.0
"""Seconds between two pictures."""
BEAT: Final = 5.0
"""Seconds after which a viewer hears something in any case."""
MOST: Final = 32
"""Viewers at once."""

HEARTBEAT: Final = b": still here\n\n"
FAREWELL: Final = b"event: end\ndata: stopping\n\n"
"""The gateway stops; whoever wants to see more has to come again."""


class Broadcast:
    """Takes pictures, and shows each to everybody."""

    def __init__(
        self,
        take: Callable[[], Awaitable[bytes]],
        *,
        interval: float = INTERVAL,
        beat: float = BEAT,
        most: int = MOST,
    ) -> None:
        """`take` makes a picture: a complete event. `interval` and `beat` in seconds."""
        self._take = take
        self._interval = interval
        self._most = most
        self._viewers: WeakSet[Viewer] = WeakSet()
        self._wanted = asyncio.Event()
        self.beat = beat
        self.latest: bytes | None = None
        """The last picture, while somebody looks."""
        self.ended = False

    def __len__(self) -> int:
        return len(self._viewers)

    def join(self) -> Viewer:
        """A place to look from. Raises `Problem` where there is none."""
        if len(self._viewers) >= self._most:
            raise try_again(Reason.OVERLOADED, "too many are looking already", after=5.0)
        viewer = Viewer(self)
        self._viewers.add(viewer)
        self._wanted.set()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Give the place up. May be told twice."""
        self._viewers.discard(viewer)

    def end(self) -> None:
        """Bid everybody farewell: no stream outlives this by more than its last piece."""
        self.ended = True
        for viewer in list(self._viewers):
            viewer.news.set()

    async def run(self) -> None:
        """Take pictures for as long as somebody looks, wait for somebody otherwise; for ever."""
        while True:
            await self._wanted.wait()
            while self._viewers:
                self.latest = await self._take()
                for viewer in list(self._viewers):
                    viewer.news.set()
                await asyncio.sleep(self._interval)
            self.latest = None
            self._wanted.clear()


class Viewer:
    """One who looks."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self.news = asyncio.Event()
        if broadcast.latest is not None or broadcast.ended:
            self.news.set()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """What it gets to see: the latest picture as soon as there is another, heartbeats meanwhile, a farewell."""
        broadcast = self._broadcast
        try:
            while not broadcast.ended:
                try:
                    async with asyncio.timeout(broadcast.beat):
                        await self.news.wait()
                except TimeoutError:
                    yield HEARTBEAT
                    continue
                self.news.clear()
                if broadcast.latest is not None and not broadcast.ended:
                    yield broadcast.latest
            yield FAREWELL
        finally:
            broadcast.leave(self)
