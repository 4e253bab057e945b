"""Connections to one server: a bounded number of them, a bounded queue for them, each opened in the background.

A call waits for a connection no longer than its own time-out, and what it waits for is whichever comes first: one
that another call gives back, or a new one. Opening goes on when the call has given up, since a TLS handshake takes
longer than a call may. After a failure nothing is opened for a moment, and calls fail at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection

from gateway.errors import StoreError, StoreRefused
from gateway.state.access import CONNECT_TIMEOUT
from gateway.state.answers import translate

MOST_WAITING = 1000
"""Calls that wait for a connection at most; the next one is refused."""

OPENED_AT_ONCE = 4
"""Handshakes under way at most: a burst of them would keep the event loop from the calls."""

PAUSE = 0.1
"""Seconds after a failed opening in which no other is tried."""


class Link:
    """One open connection, used by one call at a time."""

    __slots__ = ("_connection", "version")

    def __init__(self, connection: AbstractConnection, version: int) -> None:
        """`version` is the server's major one, 0 where it is not known."""
        self._connection = connection
        self.version = version

    async def ask(self, *arguments: str | bytes | int) -> Any:
        """Send one command and read its answer. Raises the library's errors."""
        try:
            await self._connection.send_command(*arguments)
        except RuntimeError as error:
            # So says uvloop of a transport that was lost since somebody looked.
            raise redis_errors.ConnectionError("Connection lost before the command was sent") from error
        return await self._connection.read_response()

    async def fit(self) -> bool:
        """Whether it can be used: nothing was closed, and nothing came that nobody asked for."""
        return self._connection.is_connected and not await self._connection.can_read()

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


@dataclass(frozen=True)
class Events:
    """Who is told what happens to the connections of a pool."""

    reconnected: Callable[[], None]
    """A connection was made in the place of one that was lost."""
    unreachable: Callable[[], None]
    """A connection broke, or could not be made."""


class Pool:
    """The connections to one server."""

    def __init__(
        self,
        open_link: Callable[[], Awaitable[Link]],
        *,
        size: int,
        events: Events,
        replaces: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most `size` connections, each made by `open_link`. `replaces`: these come after others that were lost."""
        self._open_link = open_link
        self._size = size
        self._events = events
        self._clock = clock
        self._idle: list[Link] = []
        self._waiting: deque[asyncio.Future[Link]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._opening = 0
        self._lost = int(replaces)
        self._failure: StoreError | None = None
        self._not_before = 0.0
        self._closed = False

    @property
    def in_use(self) -> int:
        return self._busy

    async def take(self) -> Link:
        """A connection for one call; to be given back or dropped. Raises `StoreRefused`.

        May wait for ever: the caller sets the limit.
        """
        while self._idle:
            link = self._idle.pop()
            if await link.fit():
                self._busy += 1
                return link
            self._forget(link)
        if self._closed:
            raise StoreRefused("this connection to Redis is closed", kind="connection")
        if self._failure is not None and not self._busy and self._clock() < self._not_before:
            raise self._failed()
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if len(self._waiting) >= MOST_WAITING:
            raise StoreRefused("too many calls wait for a connection to Redis", kind="pool")
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._open_more()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())
            raise

    def give_back(self, link: Link) -> None:
        """The call ended in order: the connection is the next one's."""
        if self._closed:
            self._busy -= 1
            self._start(link.close())
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return
        self._busy -= 1
        self._idle.append(link)

    def drop(self, link: Link) -> None:
        """The call did not end in order: an answer may still come, so nobody may use the connection again."""
        self._busy -= 1
        self._forget(link)
        self._open_more()

    def renew(self) -> None:
        """Close what is idle: a name may lead to another server by now."""
        idle, self._idle = self._idle, []
        for link in idle:
            self._start(link.close())

    async def close(self) -> None:
        """Close what is idle now, and the rest when it is given back. Nothing is opened any more."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(StoreRefused("this connection to Redis is closed", kind="connection"))
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(link.close() for link in self._idle), return_exceptions=True)
        self._idle.clear()

    def _forget(self, link: Link) -> None:
        self._lost += 1
        self._start(link.close())
        self._events.unreachable()

    def _open_more(self) -> None:
        wanted = sum(not waiter.done() for waiter in self._waiting)
        room = self._size - self._busy - len(self._idle) - self._opening
        if self._closed or self._clock() < self._not_before:
            return
        for _ in range(min(wanted - self._opening, room, OPENED_AT_ONCE - self._opening)):
            self._opening += 1
            self._start(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                link = await self._open_link()
        except (redis_errors.RedisError, OSError, TimeoutError, StoreError) as error:
            self._opening -= 1
            self._cannot_open(error)
            return
        except BaseException:
            self._opening -= 1
            raise
        self._opening -= 1
        self._failure = None
        self._not_before = 0.0
        if self._lost:
            self._lost -= 1
            self._events.reconnected()
        self._busy += 1
        self.give_back(link)
        self._open_more()

    def _cannot_open(self, error: Exception) -> None:
        self._failure = translate(error, sent=False)
        self._not_before = self._clock() + PAUSE
        self._lost = max(self._lost, 1)
        self._events.unreachable()
        if self._busy:
            return  # somebody may still give one back
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(self._failed())

    def _failed(self) -> StoreError:
        """The last failure, as an error of its own for each who is told."""
        failure = self._failure
        assert failure is not None
        return StoreRefused(str(failure), kind=failure.kind)

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # closing a broken connection may fail, and nobody minds
