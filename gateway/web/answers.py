"""The answer on the wire.

Every answer has the same few headers and a body that is complete, so it is put together as one piece of bytes
and written at once, instead of header by header into a mapping and out of it again: a fifth of what a
duplicate's webhook costs. What goes in is either ours or, like the request id, checked before; nothing a
sender chooses can end a line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

UNREAD: Final = 10.0
"""Seconds after which a client that does not read its answer has left."""
DEFAULTS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer that has no others of these names. A browser that is led here shows text, runs nothing, and
tells nobody; a page that is meant for browsers says what it needs. No header names a program or a version.
"""

_ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in DEFAULTS.items())
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Answer(web.StreamResponse):
    """A complete answer. `close` ends the connection after it."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str], *, close: bool = False) -> None:
        """`headers` come beside `DEFAULTS`, and before them where both have a name."""
        super().__init__(status=status)
        self.payload = body
        always = _ALWAYS
        if not DEFAULTS.keys().isdisjoint(headers):
            always = "".join(
                f"{name}: {value}\r\n" for name, value in DEFAULTS.items() if name not in headers
            )
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        # What follows the version of HTTP, up to what depends on the connection.
        self.head = f"{_STATUS_LINES[status]}\r\n{own}Content-Length: {len(body)}\r\n{always}"
        self._close = close

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request; asked by the server once the answer is written."""
        return not self._close

    def force_close(self) -> None:
        """End the connection after this answer."""
        self._close = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write the whole answer; called once. Raises `ConnectionError` where nobody is left."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        major, minor = request.version
        head = f"HTTP/{major}.{minor} {self.head}"
        if self._close or not request.keep_alive:
            self._close = True
            head += "Connection: close\r\n"
        elif minor == 0:
            head += "Connection: keep-alive\r\n"
        body = b"" if request.method == "HEAD" else self.payload
        transport.write(head.encode("ascii") + b"\r\n" + body)
        writer = request.writer
        if request.protocol.writing_paused:
            await taken(writer, transport, UNREAD)
        return writer

    def wire(self) -> bytes:
        """The whole answer, for a connection that ends with it and has no request."""
        return f"HTTP/1.1 {self.head}Connection: close\r\n\r\n".encode("ascii") + self.payload

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


async def taken(writer: AbstractStreamWriter, transport: asyncio.Transport, patience: float) -> None:
    """Wait until the client has read most of what was written. Raises `ConnectionError` where it does not, in so many
    seconds.
    """
    try:
        async with asyncio.timeout(patience):
            await writer.drain()
    except TimeoutError as error:
        transport.abort()
        raise ConnectionResetError("the client does not read") from error


class HttpDate:
    """The current time as the header `Date` has it; formatted once a second."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` is the wall clock, in seconds."""
        self._clock = clock
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text
