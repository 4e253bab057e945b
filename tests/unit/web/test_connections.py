"""Slow senders, crowds and large headers: everybody else is served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chaos.rig.waiting import eventually
from gateway.web import answers
from gateway.web.connections import OTHER_FILES, affordable
from tests.unit.web.harness import WEBHOOK, FakeEngine, Serve, Service

BODY = {"alerts": [{"labels": {"alertname": "A"}}]}
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Peer:
    """One connection of a sender."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> int:
        """The status of the next answer, whose rest is read."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def asks(self) -> int:
        self.send(GET)
        return await self.answer()

    async def ended(self) -> bytes:
        """All that comes until the gateway closes the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(8):
                return await self.reader.read()
        return b""

    @property
    def open(self) -> bool:
        return not self.reader.at_eof()


Connect = Callable[..., "asyncio.Future[Peer]"]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with AsyncExitStack() as exits:

        async def connect(service: Service) -> Peer:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            exits.callback(writer.close)
            return Peer(reader, writer)

        yield connect  # type: ignore[misc]


def places(service: Service) -> int:
    return len(service.web.gateway._server.places)  # type: ignore[union-attr]


def beginning(service: Service) -> dict[Any, float]:
    return service.web.gateway._server.places._beginning  # type: ignore[union-attr]


async def test_a_newcomer_gets_the_place_of_whoever_was_idle_longest(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"max_connections": 3})
    one, two, three = [await connect(service) for _ in range(3)]
    for peer in (one, two, three, one):
        assert await peer.asks() == 200
    four = await connect(service)
    assert await four.asks() == 200
    assert await two.ended() == b""
    assert [await peer.asks() for peer in (one, three, four)] == [200] * 3
    assert places(service) == 3


async def test_who_is_at_work_keeps_its_place_and_the_newcomer_is_told_to_come_back(
    serve: Serve, engine: FakeEngine, connect: Connect
) -> None:
    service = await serve(engine, server={"max_connections": 2})
    engine.gate = asyncio.Event()
    busy = [asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY)) for _ in range(2)]
    await eventually(lambda: service.web._shell._under_way == 2, "both to be at work")
    newcomer = await connect(service)
    told = await newcomer.ended()
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in head
    assert b"Connection: close" in head
    assert json.loads(body)["reason"] == "too_many_connections"
    assert service.value("gateway_errors_total", type="too_many_connections") == 1
    engine.gate.set()
    assert [reply.status for reply in await asyncio.gather(*busy)] == [202, 202]
    assert await (await connect(service)).asks() == 200


async def test_one_address_cannot_take_all_places(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"max_connections": 100, "max_connections_per_source": 2})
    one, two = await connect(service), await connect(service)
    assert [await one.asks(), await two.asks()] == [200, 200]
    assert await (await connect(service)).asks() == 200
    assert await one.ended() == b""
    assert places(service) == 2
    assert len(service.web.gateway._server.places._of_source) == 1  # type: ignore[union-attr]


async def test_where_nobody_is_idle_who_takes_longest_over_the_headers_goes(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.web.connections.HASTE", 0.2)
    service = await serve(server={"max_connections": 2})
    slow, slower = await connect(service), await connect(service)
    for number, peer in enumerate((slower, slow), 1):
        peer.send(b"GET /hea")
        await eventually(lambda n=number: len(beginning(service)) == n, "the headers to have begun")
    longest = min(beginning(service).values())
    await eventually(lambda: asyncio.get_running_loop().time() > longest + 0.2, "one of them to be late")
    assert await (await connect(service)).asks() == 200
    assert (await slower.ended()).startswith(b"HTTP/1.1 503 ")
    assert slow.open


async def test_headers_that_have_just_begun_are_no_reason_to_go(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"max_connections": 2})
    one, two = await connect(service), await connect(service)
    for peer in (one, two):
        peer.send(GET[:9])
    await eventually(lambda: len(beginning(service)) == 2, "the headers to have begun")
    assert (await (await connect(service)).ended()).startswith(b"HTTP/1.1 503 ")
    for peer in (one, two):
        peer.send(GET[9:])
        assert await peer.answer() == 200


async def test_a_connection_that_is_closed_leaves_its_place(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"max_connections_per_source": 2})
    for number in range(6):
        peer = await connect(service)
        if number % 2:
            assert await peer.asks() == 200
        else:
            peer.send(GET[:9])
            await eventually(lambda: beginning(service), "the headers to have begun")
        peer.writer.close()
        await eventually(lambda: not places(service), "its place to be free")
        assert not beginning(service)


async def test_headers_have_their_time_however_they_trickle(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"header_timeout": "1s"})
    first, later, quick = [await connect(service) for _ in range(3)]
    assert [await later.asks(), await quick.asks()] == [200, 200]
    told = [asyncio.create_task(peer.answer()) for peer in (first, later)]
    for byte in GET[:10]:
        for peer in (first, later):
            peer.send(bytes([byte]))
        await asyncio.sleep(0.15)
    assert await asyncio.gather(*told) == [503, 503]
    assert service.value("gateway_errors_total", type="timeout") == 2
    assert await quick.asks() == 200, "an idle connection has all the time of keepalive"
    assert places(service) == 1


async def test_slow_headers_that_come_in_time_are_served(serve: Serve, connect: Connect) -> None:
    service = await serve(server={"header_timeout": "20s"})
    peer = await connect(service)
    for _ in range(2):
        for start in range(0, len(GET), 4):
            peer.send(GET[start : start + 4])
            await asyncio.sleep(0.01)
        assert await peer.answer() == 200
    assert not beginning(service)


HEAD = b"POST /v1/webhooks/prometheus HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Large: " + b"x" * 40_000 + b"\r\n\r\n",
        HEAD + b"X-Endless: " + b"x" * 40_000,
        HEAD + b"x" * 40_000,
        b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(100)) + b"\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(100)),
        HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(40)),
    ],
    ids=["field", "endless field", "name", "path", "count", "endless count", "sum"],
)
async def test_too_large_headers_are_431_in_one_piece_and_in_many(
    service: Service, connect: Connect, head: bytes
) -> None:
    for size in (len(head), 1000):
        peer = await connect(service)
        for start in range(0, len(head), size):
            peer.send(head[start : start + size])
            await peer.writer.drain()
            await asyncio.sleep(0)
        told = await peer.ended()
        assert told.startswith((b"HTTP/1.1 431 ", b"HTTP/1.0 431 "))
        assert b'"reason":"headers_too_large"' in told
        assert b"application/problem+json" in told
    assert service.value("gateway_errors_total", type="headers_too_large") == 2
    assert service.engine.accepted == []


async def test_headers_up_to_the_limit_are_taken(service: Service) -> None:
    headers = {f"X-{number}": "y" * 400 for number in range(50)} | {"Authorization": "Bearer " + "t" * 8000}
    assert (await service.ask("GET", "/healthz", headers=headers)).status == 200


async def test_bodies_that_are_declared_and_never_come_take_no_room_from_others(
    serve: Serve, connect: Connect
) -> None:
    service = await serve(server={"max_inflight_bytes": "8MiB"})
    head = HEAD + b"Content-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{"
    for _ in range(20):
        (await connect(service)).send(head)
    await eventually(lambda: service.web._shell._under_way == 20, "all bodies to have begun")
    assert (await service.ask("POST", WEBHOOK, json=BODY)).status == 202


async def test_more_webhooks_at_once_than_can_be_worked_on_are_503_and_bodies_on_their_way_are_none_of_them(
    serve: Serve, engine: FakeEngine, connect: Connect
) -> None:
    service = await serve(engine, server={"max_requests": 2})
    engine.gate = asyncio.Event()
    for _ in range(5):
        (await connect(service)).send(HEAD + b"Content-Length: 100\r\n\r\n{")
    busy = [asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY)) for _ in range(2)]
    await eventually(lambda: service.web._shell._under_way == 7, "all to be under way")
    refused = await service.ask("POST", WEBHOOK, json=BODY)
    assert (refused.status, refused.json["reason"]) == (503, "overloaded")
    assert (await service.ask("GET", "/v1/status")).status == 200
    engine.gate.set()
    assert [reply.status for reply in await asyncio.gather(*busy)] == [202, 202]
    assert (await service.ask("POST", WEBHOOK, json=BODY)).status == 202


async def test_who_does_not_read_the_answer_is_cut_off(
    serve: Serve, engine: FakeEngine, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "UNREAD", 0.2)
    service = await serve(engine)
    engine.known["f" * 64] = {"text": "x" * 20_000_000}
    peer = await connect(service)
    peer.send(b"GET /v1/alerts/" + b"f" * 64 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: places(service) == 1, "the connection to be there")
    await eventually(lambda: not places(service), "the connection to be cut off")


def test_no_more_connections_are_taken_than_files_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert affordable(1) == 1
    assert affordable(10**9) == max(1, soft - OTHER_FILES)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY,) * 2)
    assert affordable(10**9) == 10**9
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (100, 100))
    assert affordable(2048) == 1
