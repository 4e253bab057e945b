"""The open connections of a listener: how many there may be, and whose turn to go it is.

A connection that does nothing holds the place of one that would. So where all places are taken, a newcomer gets that of
the connection that has been idle longest, else of the one that takes longest over its headers; only where every
connection is at work is the newcomer turned away. The headers of a request have their time, however they trickle.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

import structlog

from gateway.web.problems import Problem, Reason, try_again

log = structlog.get_logger(__name__)

HASTE: Final = 1.0
"""Seconds for which headers may be on their way before a newcomer takes the place: a crowd has to begin somehow."""
OTHER_FILES: Final = 256
"""Files that a process needs beside its senders' connections: to Redis, to Kubernetes, the log, the journal."""
SELDOM: Final = 10.0
"""Seconds between two lines of the log about full places."""


class Connection(Protocol):
    """One of them."""

    source: str
    """Where it comes from."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no request at work, and none of whose headers a part is here."""

    def end(self, problem: Problem | None = None) -> None:
        """Close it now, after telling the problem if there is one."""


class Connections:
    """The open connections of a listener."""

    def __init__(
        self,
        *,
        most: int,
        most_per_source: int,
        header_timeout: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`header_timeout` in seconds."""
        self._most = most
        self._most_per_source = most_per_source
        self._header_timeout = header_timeout
        self._loop = loop
        self._open: dict[Connection, None] = {}
        """The one whose latest request came longest ago first."""
        self._of_source: Counter[str] = Counter()
        self._beginning: dict[Connection, float] = {}
        """Part of a request's headers is here: since when; the longest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._told = -SELDOM

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> Problem | None:
        """Give a new connection its place; where there is none, what it is to be told."""
        source = connection.source
        if self._of_source[source] >= self._most_per_source:
            place = self._make_room(one for one in self._open if one.source == source)
        elif len(self._open) >= self._most:
            place = self._make_room(self._open)
        else:
            place = True
        if not place:
            self._tell()
            return try_again(Reason.CONNECTIONS, "too many connections are open", close=True)
        self._open[connection] = None
        self._of_source[source] += 1
        return None

    def leave(self, connection: Connection) -> None:
        """Its place is free. May be told twice."""
        self._beginning.pop(connection, None)
        if connection in self._open:
            del self._open[connection]
            source = connection.source
            self._of_source[source] -= 1
            if not self._of_source[source]:
                del self._of_source[source]

    def begun(self, connection: Connection) -> None:
        """A part of a request's headers is here."""
        self._beginning.setdefault(connection, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(self._header_timeout, self._expire)

    def asked(self, connection: Connection) -> None:
        """The headers of a request are here."""
        self._beginning.pop(connection, None)
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def close(self) -> None:
        """No timer remains."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _make_room(self, candidates: Iterable[Connection]) -> bool:
        now = self._loop.time()
        slow: Connection | None = None
        since = now - HASTE
        for one in candidates:
            began = self._beginning.get(one)
            if began is None:
                if one.idle:
                    self._end(one)
                    return True
            elif began <= since:
                slow, since = one, began
        if slow is None:
            return False
        self._end(slow, _too_slow())
        return True

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._beginning:
            connection, began = next(iter(self._beginning.items()))
            if began + self._header_timeout > now:
                self._timer = self._loop.call_at(began + self._header_timeout, self._expire)
                return
            self._end(connection, _too_slow())

    def _end(self, connection: Connection, problem: Problem | None = None) -> None:
        self.leave(connection)
        connection.end(problem)

    def _tell(self) -> None:
        now = self._loop.time()
        if now - self._told >= SELDOM:
            self._told = now
            log.warning(
                "connections refused: every place is taken by one at work", connections=len(self._open)
            )


def affordable(most: int) -> int:
    """How many of `most` connections this process may open files for, so that it never runs out of them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = soft - OTHER_FILES
    if soft == resource.RLIM_INFINITY or most <= room:
        return most
    log.warning(
        "server.max_connections is more than the process may open", open_files=soft, connections=max(1, room)
    )
    return max(1, room)


def _too_slow() -> Problem:
    return try_again(Reason.TIMEOUT, "the headers took too long", close=True)
