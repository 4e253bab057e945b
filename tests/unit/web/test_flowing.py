"""An answer that goes on ends when it should, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from chaos.rig.waiting import eventually
from gateway.web.flowing import Flowing
from gateway.web.problems import Problem, Reason


class Source:
    """Pieces without an end, and whether they are still asked for."""

    def __init__(self, piece: bytes = b"piece\n", every: float = 0.01) -> None:
        self.piece = piece
        self.every = every
        self.made = 0
        self.over = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.made += 1
                yield self.piece
                await asyncio.sleep(self.every)
        finally:
            self.over = True


async def _may() -> None:
    """The sender may see more."""


Serve = Callable[..., Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Answer every request with a flow; returns the port."""
    runners: list[web.ServerRunner] = []

    async def start(source: Source, still: Callable[[], Awaitable[object]] = _may, **options: Any) -> int:
        async def handler(_request: web.BaseRequest) -> web.StreamResponse:
            return Flowing({"Content-Type": "text/plain"}, source.pieces(), still=still, **options)

        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def _asked(port: int, method: bytes = b"GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    return reader, writer


async def test_pieces_come_as_they_are_made_under_the_headers_of_every_answer(serve: Serve) -> None:
    reader, writer = await _asked(await serve(Source()))
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert [await reader.readline() for _ in range(3)] == [b"piece\n"] * 3
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    for line in (b"Content-Type: text/plain", b"Connection: close", b"X-Content-Type-Options: nosniff"):
        assert b"\r\n" + line + b"\r\n" in head
    assert b"Content-Length" not in head
    assert b"Server:" not in head


async def test_it_ends_when_the_sender_may_see_no_more(serve: Serve) -> None:
    asked = 0

    async def until_the_third() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Problem(401, Reason.UNAUTHENTICATED, "revoked")

    source = Source()
    reader, writer = await _asked(await serve(source, until_the_third, check=0.0))
    async with asyncio.timeout(5):
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    assert body == b"piece\n" * 3
    assert source.over


async def test_the_credential_is_not_asked_for_with_every_piece(serve: Serve) -> None:
    async def never() -> None:
        raise AssertionError("it is too early")

    reader, writer = await _asked(await serve(Source(), never, check=60.0))
    async with asyncio.timeout(5):
        await reader.readuntil(b"piece\n" * 20)
    writer.close()


async def test_nothing_is_made_for_a_client_that_has_left(serve: Serve) -> None:
    source = Source()
    reader, writer = await _asked(await serve(source))
    await reader.readuntil(b"piece\n")
    writer.close()
    await eventually(lambda: source.over, "the end of the source", seconds=5)


async def test_who_does_not_read_is_cut_and_never_more_than_buffers_are_full(serve: Serve) -> None:
    source = Source(b"x" * 1_000_000, every=0)
    _, writer = await _asked(await serve(source, patience=0.2))
    await eventually(lambda: source.over, "the end of the source", seconds=10)
    assert source.made < 30
    writer.close()


async def test_head_has_no_pieces(serve: Serve) -> None:
    source = Source()
    reader, writer = await _asked(await serve(source), b"HEAD")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    assert answer.endswith(b"\r\n\r\n")
    assert source.made == 0
