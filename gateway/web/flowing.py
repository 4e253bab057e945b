"""An answer that goes on: its pieces are written as they come, until they end, nobody reads, or the sender may no more.

It begins when the handler has returned, so it is no request under way any more: no deadline cuts it, and the stop does
not wait for it. It has no length, and its connection ends with it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.web.answers import DEFAULTS, UNREAD, taken
from gateway.web.problems import Problem

CHECK: Final = 5.0
"""Seconds after which the sender's credential is looked at again: one that was taken back shows nothing more."""


class Flowing(web.StreamResponse):
    """Status 200 and pieces."""

    def __init__(
        self,
        headers: Mapping[str, str],
        pieces: AsyncGenerator[bytes, None],
        *,
        still: Callable[[], Awaitable[object]],
        patience: float = UNREAD,
        check: float = CHECK,
    ) -> None:
        """`still` raises `Problem` where the sender may not see more, and is asked every `check` seconds; who does not
        read for `patience` seconds has left.
        """
        super().__init__(status=200)
        self._lines = {**DEFAULTS, **headers, "Connection": "close"}
        self._pieces = pieces
        self._still = still
        self._patience = patience
        self._check = check

    @property
    def keep_alive(self) -> bool:
        """Never: its end is how the reader knows that it is over."""
        return False

    def force_close(self) -> None:
        """It ends its connection anyway."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write everything; called once. Raises `ConnectionError` where nobody reads."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        lines = "".join(f"{name}: {value}\r\n" for name, value in self._lines.items())
        transport.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("ascii"))
        writer = request.writer
        if request.method == "HEAD":
            return writer
        checked = time.monotonic()
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                if transport.is_closing():
                    raise ConnectionResetError("the client is gone")
                transport.write(piece)
                await taken(writer, transport, self._patience)
                if time.monotonic() - checked >= self._check:
                    try:
                        await self._still()
                    except Problem:
                        break
                    checked = time.monotonic()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""
