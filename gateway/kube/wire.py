"""HTTP/1.1 to one server over kept connections, as little of it as short calls to an API server need.

A general HTTP client takes some 100 µs of processor for a call, half of what a write costs the gateway; this takes 20.
It speaks neither to proxies nor in streams, and follows nothing: for that, `connection` has aiohttp.

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

KEPT: Final = 15.0
"""Seconds for which an idle connection is used again: API servers close them after more than a minute."""
LONGEST_HEAD: Final = 64 * 1024
LONGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes. An object ends at 1.5 MiB; a list by label may have many."""
_END: Final = b"\r\n\r\n"
_NO_BODY: Final = frozenset({204, 304})


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


@dataclass(slots=True)
class _Head:
    """The part of an answer before its body, and how the body ends."""

    status: int
    fields: dict[bytes, bytes]
    length: int | None
    """None where it does not say."""
    chunked: bool
    keep: bool
    """Whether the connection can be used again."""


class Line(asyncio.Protocol):
    """One connection, used by one exchange at a time."""

    def __init__(self, idle: list[Line]) -> None:
        """`idle`: the lines that wait for work; it leaves them when the connection ends."""
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._begun: Callable[[int], None] = _nobody
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks: list[bytes] = []
        self.used_at = 0.0
        self.usable = False
        """Open, and with nothing under way."""

    async def ask(self, request: bytes, begun: Callable[[int], None]) -> Answer:
        """Send a request and read the answer; given up, the connection is closed."""
        assert self._transport is not None
        self.usable = False
        self._begun = begun
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            if not self.usable:
                self.abort()

    def abort(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self.usable = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done():
            self.abort()  # nobody asked for that
            return
        self._buffer += data
        try:
            found = self._parsed()
        except ValueError as error:
            answer.set_exception(ProtocolError(f"the answer cannot be read: {error}"))
            return
        if found is not None:
            self._done(answer, found, keep=not self._buffer)

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self in self._idle:
            self._idle.remove(self)
        answer, head = self._answer, self._head
        if answer is None or answer.done():
            return
        if error is None and head is not None and head.length is None and not head.chunked:
            self._done(answer, Answer(head.status, head.fields, bytes(self._buffer)), keep=False)
        else:
            answer.set_exception(error or EOFError("the connection was closed before the whole answer came"))

    def _done(self, answer: asyncio.Future[Answer], found: Answer, *, keep: bool) -> None:
        head, self._head = self._head, None
        self._chunks = []
        self.usable = keep and head is not None and head.keep
        answer.set_result(found)

    def _parsed(self) -> Answer | None:
        """The answer, once it is whole; raises `ValueError` where it is none."""
        buffer = self._buffer
        while (
            self._head is None or self._head.status < 200
        ):  # what comes before the answer proper says nothing
            end = buffer.find(_END)
            if end > LONGEST_HEAD or (end < 0 and len(buffer) > LONGEST_HEAD):
                raise ValueError("headers too long")
            if end < 0:
                return None
            self._head = parse_head(bytes(buffer[:end]))
            del buffer[: end + len(_END)]
            self._begun(self._head.status)
        head = self._head
        if len(buffer) > LONGEST_ANSWER:
            raise ValueError("body too long")
        if head.chunked:
            return Answer(head.status, head.fields, b"".join(self._chunks)) if self._dechunked() else None
        length = 0 if head.status in _NO_BODY else head.length
        if length is None or len(buffer) < length:
            return None
        body = bytes(buffer[:length])
        del buffer[:length]
        return Answer(head.status, head.fields, body)

    def _dechunked(self) -> bool:
        """Take the chunks that are whole off the buffer; True once the last one was there."""
        buffer, start = self._buffer, 0
        try:
            while (end := buffer.find(b"\r\n", start)) >= 0:
                size = int(bytes(buffer[start:end]).partition(b";")[0], 16)
                if not 0 <= size <= LONGEST_ANSWER:
                    raise ValueError("a chunk of impossible size")
                if size == 0:
                    last = buffer.find(_END, end)  # after trailers, which nobody needs
                    if last < 0:
                        return False
                    start = last + len(_END)
                    return True
                after = end + 2 + size
                if len(buffer) < after + 2:
                    return False
                self._chunks.append(bytes(buffer[end + 2 : after]))
                start = after + 2
            return False
        finally:
            del buffer[:start]


def parse_head(text: bytes) -> _Head:
    """Status line and headers, without the blank line after them; raises `ValueError`."""
    status, *lines = text.split(b"\r\n")
    version, _, rest = status.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
        raise ValueError(f"no status line: {status[:40]!r}")
    fields = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"no header: {line[:40]!r}")
        fields[name.lower()] = value.strip()
    length = fields.get(b"content-length")
    if length is not None and not length.isdigit():
        raise ValueError(f"no length: {length[:40]!r}")
    chunked = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
    return _Head(
        status=int(rest[:3]),
        fields=fields,
        length=None if length is None else int(length),
        chunked=chunked,
        keep=version == b"HTTP/1.1" and b"close" not in fields.get(b"connection", b"").lower(),
    )


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
                    self._lines.discard(line)

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        self._closed = True
        for line in list(self._lines):
            line.abort()
        self._lines.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # so that transports are gone, not only told to go

    def _take(self) -> Line | None:
        """The connection that was used last; those that were idle for too long are closed."""
        if self._closed:
            raise ConnectionError("closed")
        oldest = time.monotonic() - KEPT
        while self._idle and self._idle[0].used_at < oldest:
            line = self._idle.pop(0)
            line.abort()
            self._lines.discard(line)
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
            self._lines.discard(line)
        return None

    async def _open(self) -> Line:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect):
            _, line = await loop.create_connection(
                lambda: Line(self._idle), self._host, self._port, ssl=self._tls, server_hostname=self._name
            )
        if self._closed:
            line.abort()
            raise ConnectionError("closed")
        self._lines.add(line)
        return line


def _sound(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header of more than one line")
    return value
