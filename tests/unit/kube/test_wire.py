"""HTTP/1.1 as a server may speak it, in any pieces; and connections that are kept exactly as long as they are sound."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.rig.waiting import eventually
from gateway.kube import wire as module
from gateway.kube.wire import Line, ProtocolError, Wire

Script = Callable[[bytes, asyncio.StreamWriter, int], Awaitable[None]]
"""What a server does with a request: its head, where to write, and the number of its connection."""
OK = b"HTTP/1.1 200 OK\r\n"
FINE = OK + b"Content-Length: 2\r\n\r\nok"


class Server:
    """Answers as the script says; counts connections."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, length = head.partition(b"Content-Length: ")
                body = await reader.readexactly(int(length.split(b"\r\n")[0])) if found else b""
                self.requests.append(head + body)
                await self._script(head, writer, number)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


Start = Callable[..., Awaitable[tuple[Wire, Server]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A server with a script, and a wire to it."""
    async with AsyncExitStack() as stack:

        async def make(script: Script, *, most: int = 4, path: str = "") -> tuple[Wire, Server]:
            server = Server(script)
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
            stack.push_async_callback(listening.wait_closed)
            stack.callback(listening.close)
            port = listening.sockets[0].getsockname()[1]
            wire = Wire(
                f"http://127.0.0.1:{port}{path}", tls=None, server_hostname=None, most=most, connect=5.0
            )
            stack.push_async_callback(wire.close)
            return wire, server

        yield make


def says(*pieces: bytes) -> Script:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)

    return script


async def test_a_request_is_sent_as_it_is_given_and_the_connection_is_used_again(start: Start) -> None:
    wire, server = await start(says(FINE), path="/prefix/")
    first = await wire.exchange("POST", "/x?a=b", {"Accept": "y"}, b"body")
    second = await wire.exchange("GET", "/x", {})

    assert (first.status, first.body, second.body) == (200, b"ok", b"ok")
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /prefix/x?a=b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert head.endswith(b"Accept: y\r\nContent-Length: 4")
    assert body == b"body"
    assert b"Content-Length" not in server.requests[1]


async def test_what_comes_before_the_answer_proper_is_passed_over(start: Start) -> None:
    wire, server = await start(
        says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", FINE)
    )
    told: list[int] = []
    for _ in range(2):
        answer = await wire.exchange("GET", "/", {}, begun=told.append)
        assert (answer.status, answer.fields) == (200, {b"content-length": b"2"})
    assert told == [200, 200]
    assert server.connections == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_an_answer_that_has_no_body_ends_with_its_headers(
    start: Start, status: bytes, length: bytes
) -> None:
    wire, server = await start(says(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n"))
    for _ in range(2):
        answer = await asyncio.wait_for(wire.exchange("GET", "/", {}), 5)
        assert (answer.status, answer.body) == (int(status[:3]), b"")
    assert server.connections == 1


async def test_a_connection_that_ends_has_not_given_its_last_answer_again(start: Start) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        if len(server.requests) == 1:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            writer.close()

    wire, server = await start(script)
    assert (await wire.exchange("GET", "/", {})).status == 204
    with pytest.raises((OSError, EOFError)):
        await wire.exchange("POST", "/", {}, b"x")
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_body_without_a_length_ends_with_the_connection(start: Start) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        writer.close()

    wire, server = await start(script)
    assert (await wire.exchange("GET", "/", {})).body == b"until the end"
    assert (await wire.exchange("GET", "/", {})).body == b"until the end"
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        FINE + b"and something that nobody asked for",
        FINE + FINE,
        FINE + b"HT",
    ],
)
async def test_a_connection_that_is_not_sound_is_not_used_again(start: Start, answer: bytes) -> None:
    wire, server = await start(says(answer))
    for _ in range(2):
        assert (await wire.exchange("GET", "/", {})).body == b"ok"
    assert server.connections == 2


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, server = await start(says(FINE))
    await wire.exchange("GET", "/", {})
    monkeypatch.setattr(module, "KEPT", -1.0)
    await wire.exchange("GET", "/", {})
    assert server.connections == 2


async def test_a_connection_that_the_server_closed_is_forgotten_and_not_used_again(start: Start) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(FINE)
        if number == 1:
            await writer.drain()
            writer.close()

    wire, server = await start(script)
    await wire.exchange("GET", "/", {})
    await eventually(lambda: wire.connections == 0, "the end of the connection to be seen")
    assert (await wire.exchange("GET", "/", {})).body == b"ok"
    assert server.connections == 2


async def test_a_connection_that_ended_leaves_nothing_for_the_garbage_collector(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(FINE)
        if number % 2:
            await writer.drain()
            writer.close()

    lines: list[weakref.ref[Line]] = []

    class Watched(Line):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            lines.append(weakref.ref(self))

    monkeypatch.setattr(module, "Line", Watched)
    wire, _ = await start(script)
    gc.collect()
    gc.disable()
    try:
        await wire.exchange("GET", "/", {})
        await eventually(lambda: wire.connections == 0, "the server's end of the first")
        await wire.exchange("GET", "/", {})
        await wire.close()
        await eventually(lambda: not any(line() for line in lines), "both to be gone")
        assert len(lines) == 2
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + FINE,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + FINE,
        OK + b"no header\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999\r\n\r\nok",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        OK + b"X: " + b"x" * (module.LONGEST_HEAD + 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n") * 3000,
    ],
)
async def test_what_is_no_answer_is_an_error_and_ends_the_connection(start: Start, answer: bytes) -> None:
    wire, server = await start(says(answer))
    for _ in range(2):
        with pytest.raises(ProtocolError):
            await asyncio.wait_for(wire.exchange("GET", "/", {}), 5)
    assert server.connections == 2


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nf4240\r\n", b"\r\n"]
)
async def test_an_answer_that_is_too_long_is_an_error_and_ends_the_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(module, "LONGEST_ANSWER", 1000)
    wire, server = await start(says(OK + head, b"x" * 500, b"x" * 500))
    for _ in range(2):
        with pytest.raises(ProtocolError, match="too long"):
            await asyncio.wait_for(wire.exchange("GET", "/", {}), 5)
    assert server.connections == 2


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: now",
        OK + b"Content-Length: 100\r\n\r\nbegun",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
    ],
)
async def test_a_connection_that_ends_within_an_answer_is_an_error(start: Start, begun: bytes) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(begun)
        writer.close()

    wire, _ = await start(script)
    with pytest.raises(EOFError):
        await wire.exchange("GET", "/", {})


async def test_the_status_is_told_before_the_body_is_there_and_giving_up_ends_the_connection(
    start: Start,
) -> None:
    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n" if number == 1 else FINE)

    wire, server = await start(script, most=1)
    told: list[int] = []
    task = asyncio.create_task(wire.exchange("GET", "/", {}, begun=told.append))
    await eventually(lambda: told == [201], "the status")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await wire.exchange("GET", "/", {})).status == 200
    assert server.connections == 2


async def test_no_more_connections_than_allowed_are_open_at_once(start: Start) -> None:
    under_way = most = 0

    async def script(_: bytes, writer: asyncio.StreamWriter, number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        writer.write(FINE)

    wire, server = await start(script, most=3)
    await asyncio.gather(*(wire.exchange("GET", "/", {}) for _ in range(20)))
    assert most == server.connections == 3


@pytest.mark.parametrize("begun", [b"", OK + b"Content-Length: 2\r\n\r\no", OK + b"\r\nhalf of it"])
async def test_closing_ends_what_is_under_way_and_nothing_begins_after_it(start: Start, begun: bytes) -> None:
    wire, server = await start(says(begun))
    told = asyncio.Event()
    task = asyncio.create_task(wire.exchange("GET", "/", {}, begun=lambda _: told.set()))
    if begun:
        await told.wait()
    else:
        await eventually(lambda: server.requests, "the request")
    await wire.close()
    with pytest.raises((OSError, EOFError)):
        await task
    with pytest.raises(OSError, match="closed"):
        await wire.exchange("GET", "/", {})


async def test_a_header_cannot_smuggle_another(start: Start) -> None:
    wire, server = await start(says(FINE))
    with pytest.raises(ValueError, match="more than one line"):
        await wire.exchange("GET", "/", {"authorization": "Bearer x\r\nX-Other: y"})
    assert not server.requests


def chunked(pieces: list[bytes]) -> bytes:
    coded = b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\nTrailer: x\r\n\r\n"


@given(
    pieces=st.lists(st.binary(max_size=40), max_size=5),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=8),
    coded=st.booleans(),
)
def test_an_answer_may_come_in_any_pieces(pieces: list[bytes], cuts: list[int], coded: bool) -> None:
    body = b"".join(pieces)
    raw = chunked(pieces) if coded else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def read() -> tuple[bytes, bool, bool]:
        line = Line(set(), [])
        line.connection_made(Nowhere())
        asking = asyncio.ensure_future(line.ask(b"", lambda status: None))
        await asyncio.sleep(0)
        places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
        for begin, end in itertools.pairwise(places):
            line.data_received(raw[begin:end])
        answer = await asyncio.wait_for(asking, 5)
        return answer.body, b"trailer" in answer.fields, line.usable

    assert asyncio.run(read()) == (body, False, True)


class Nowhere(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def abort(self) -> None: ...


async def test_header_names_are_the_same_in_any_case(start: Start) -> None:
    head = (
        b"HTTP/1.1 429 Too Many Requests\r\nRETRY-AFTER: 7\r\ndate:  now \r\nX:\r\nContent-Length: 0\r\n\r\n"
    )
    wire, _ = await start(says(head))
    answer = await wire.exchange("GET", "/", {})
    assert answer.fields == {b"retry-after": b"7", b"date": b"now", b"x": b"", b"content-length": b"0"}
    assert (answer.headers["Retry-After"], answer.date) == ("7", "now")
