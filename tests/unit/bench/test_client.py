"""The load generator hides nothing of a server that falls silent."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from tests.bench.client import run

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


class Server(asyncio.Protocol):
    """Answers so many requests at once, and none after them."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"POST ")):
            if self._left:
                self._left -= 1
                self._transport.write(ANSWER)


@pytest.mark.parametrize("rate", [100.0, 0.0])
async def test_what_was_due_and_never_answered_counts_until_the_end_at_a_rate(
    rate: float, tmp_path: Path
) -> None:
    """Without a rate nothing is due but what was asked for, one webhook a connection."""
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b"{}")
    server = await asyncio.get_running_loop().create_server(lambda: Server(10), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        options = argparse.Namespace(
            host="127.0.0.1",
            port=port,
            file=bodies,
            connections=1,
            seconds=1.0,
            rate=rate,
            authorization="",
        )
        for _ in range(10):
            seen = await run(options)
            # Else the machine was busy, and the end too late for what is reckoned here.
            if seen["seconds"] < 1.1:
                break

    assert (seen["requests"], seen["errors"]) == (10, 0)
    if rate:
        assert 80 <= seen["unanswered"] <= 92
        # They were due from 0.1 s on, evenly, and waited until 1 s.
        assert 300 < seen["p50_ms"] < 700
        assert seen["p99_ms"] > 800
    else:
        assert seen["unanswered"] == 0
