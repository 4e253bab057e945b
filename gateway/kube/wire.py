"""HTTP/1.1 to one server over kept connections, as little of it as short calls to an API server need.

A general HTTP client takes some 80 µs of processor for a call, a good part of what a write costs the gateway; this
takes 25. Answers are read by httptools; what is here are the connections. It speaks neither to proxies nor in streams,
makes no `HEAD`, and follows nothing: for that, `connection` has aiohttp.

Every failure is an `OSError`, an `EOFError` or a `ProtocolError`. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

KEPT: Final = 15.0
"""Seconds for which an idle connection is used again: API servers close them after more than a minute."""
LONGEST_HEAD: Final = 64 * 1024
"""Bytes after which the headers have to be there."""
LONGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes. An object ends at 1.5 MiB; a list by label may have many."""
_BOUNDED_BY: Final = frozenset({b"content-length", b"transfer-encoding"})
"""The headers that say where a body ends; without them it is where the connection ends."""


def _nobody(_status: int) -> None:
    """Nobody wants to know."""


class ProtocolError(ConnectionError):
    """What came is no HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; its headers with names in lower case."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as text, by names in their usual case: `Retry-After`."""
        return {
            name.decode("latin-1").title(): value.decode("latin-1") for name, value in self.fields.items()
        }

    @property
    def date(self) -> str:
        return self.fields.get(b"date", b"").decode("latin-1")


class Line(asyncio.Protocol):
    """One connection, used by one exchange at a time. The `on_…` are for its parser."""

    def __init__(self, lines: set[Line], idle: list[Line]) -> None:
        """`lines`: it is among them for as long as the connection lasts. `idle`: those that wait for work, which it
        leaves when the connection ends, too.
        """
        self._lines = lines
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._begun: Callable[[int], None] = _nobody
        self._parser = HttpResponseParser(self)
        self._taken = 0
        """Bytes of the answer."""
        self._status = 0
        """0 until the headers are there; what comes before the answer proper (1xx) says nothing."""
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.used_at = 0.0
        self.usable = False
        """Open, and with nothing under way."""

    async def ask(self, request: bytes, begun: Callable[[int], None]) -> Answer:
        """Send a request and read the answer; given up, the connection is closed."""
        assert self._transport is not None
        self.usable = False
        self._begun = begun
        self._taken = self._status = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            if not self.usable:
                self.abort()

    def abort(self) -> None:
        """End the connection; what is under way on it fails."""
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed"))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self._lines.add(self)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self.abort()  # nobody asked for that
            return
        self._taken += len(data)
        why = ""
        try:
            self._parser.feed_data(data)
            if self._taken > (LONGEST_ANSWER if self._status else LONGEST_HEAD):
                why = "it is too long"
        except (HttpParserError, HttpParserUpgrade) as error:
            self.usable = False
            why = str(error)
        if why and not answer.done():
            answer.set_exception(ProtocolError(f"the answer cannot be read: {why}"))

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._lines.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        # Both refer to this line. In a circle they would wait for the garbage collector, which comes rarely, and with
        # TLS a connection holds more than 300 KiB.
        self._transport = None
        del self._parser
        answer = self._answer
        if answer is None or answer.done():
            return
        if error is None and self._status and not _BOUNDED_BY & self._fields.keys():
            self._done(keep=False)
        else:
            answer.set_exception(error or EOFError("the connection was closed before the whole answer came"))

    def on_message_begin(self) -> None:
        if self._status:
            raise ProtocolError("nobody asked for a second answer")
        self._fields, self._body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else a trailer, which nobody needs
            self._fields[name.lower()] = value.strip()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
            self._begun(status)

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)

    def on_message_complete(self) -> None:
        if self._status:
            self._done(keep=self._parser.should_keep_alive())

    def _done(self, *, keep: bool) -> None:
        assert self._answer is not None
        self._answer.set_result(Answer(self._status, self._fields, b"".join(self._body)))
        self._body = []
        self.usable = keep


class Wire:
    """The connections to one server, at most `most` at once; opened when they are needed."""

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None, server_hostname: str | None, most: int, connect: float
    ) -> None:
        """`tls`: None for plain HTTP. `server_hostname`: what its certificate has to say, None for the URL's host.
        `connect`: seconds for TCP and TLS.
        """
        where = urlsplit(url)
        self._tls = tls if where.scheme == "https" else None
        self._host = where.hostname or ""
        self._port = where.port or (443 if self._tls else 80)
        self._name = (server_hostname or self._host) if self._tls else None
        self._prefix = where.path.rstrip("/")
        self._common = f"Host: {where.netloc.rpartition('@')[2]}\r\n"
        self._connect = connect
        self._places = asyncio.Semaphore(most)
        self._idle: list[Line] = []
        self._lines: set[Line] = set()
        self._closed = False

    async def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        begun: Callable[[int], None] = _nobody,
    ) -> Answer:
        """One request and its answer, whatever its status. `target`: quoted path and query. `begun` is told the status
        as soon as the headers are there.

        Raises `ValueError` for a header that is none; who gives up waiting closes the connection.
        """
        head = [f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._common}"]
        head += [f"{name}: {_sound(value)}\r\n" for name, value in headers.items()]
        if body is not None:
            head.append(f"Content-Length: {len(body)}\r\n")
        head.append("\r\n")
        request = "".join(head).encode("latin-1") + (body or b"")
        async with self._places:
            line = self._take() or await self._open()
            try:
                return await line.ask(request, begun)
            finally:
                if line.usable and not self._closed:
                    line.used_at = time.monotonic()
                    self._idle.append(line)
                else:
                    line.abort()

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        self._closed = True
        for line in list(self._lines):
            line.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # so that transports are gone, not only told to go

    def _take(self) -> Line | None:
        """The connection that was used last; those that were idle for too long are closed."""
        if self._closed:
            raise ConnectionError("closed")
        oldest = time.monotonic() - KEPT
        while self._idle and self._idle[0].used_at < oldest:
            self._idle.pop(0).abort()
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
        return None

    @property
    def connections(self) -> int:
        """Those that are open, idle ones included."""
        return len(self._lines)

    async def _open(self) -> Line:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect):
            _, line = await loop.create_connection(
                lambda: Line(self._lines, self._idle),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._name,
            )
        if self._closed:
            line.abort()
            raise ConnectionError("closed")
        return line


def _sound(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header of more than one line")
    return value
