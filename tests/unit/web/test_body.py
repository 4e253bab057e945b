from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from chaos.rig.waiting import eventually
from tests.unit.web.harness import FakeEngine, Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = b'{"alerts":[{"labels":{"alertname":"A"}}]}'
JSON = {"Content-Type": "application/json"}


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {WEBHOOK} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def test_a_body_up_to_the_limit_is_taken(serve: Serve) -> None:
    service = await serve(server={"max_body": "1KiB"})
    exact = BODY + b" " * (1024 - len(BODY))
    assert (await service.ask("POST", WEBHOOK, data=exact, headers=JSON)).status == 202
    assert (await service.ask("POST", WEBHOOK, data=exact + b" ", headers=JSON)).status == 413


async def test_413_comes_before_a_byte_of_a_body_that_says_it_is_too_large(serve: Serve) -> None:
    service = await serve(server={"max_body": "1KiB"})
    answer = await service.raw(head("Content-Length: 1000000000"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer
    assert b'"reason":"body_too_large"' in answer


async def test_413_comes_while_a_chunked_body_is_still_being_sent(serve: Serve) -> None:
    service = await serve(server={"max_body": "1KiB"})
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = await service.raw(head("Transfer-Encoding: chunked"), chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_large_body_can_come_in_chunks(service: Service) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield BODY
        for _ in range(100):
            yield b" " * 10_000

    reply = await service.ask("POST", WEBHOOK, data=pieces(), headers=JSON)
    assert reply.status == 202
    assert service.web._shell._body._inflight.held == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/vnd.alertmanager+json",
        "application/json; version=4",
    ],
)
async def test_json_is_taken_under_all_its_names(service: Service, content_type: str) -> None:
    reply = await service.ask("POST", WEBHOOK, data=BODY, headers={"Content-Type": content_type})
    assert reply.status == 202


async def test_a_missing_content_type_is_taken_for_json(service: Service) -> None:
    answer = await service.raw(head(f"Content-Length: {len(BODY)}", "Connection: close") + BODY)
    assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": "+json"},
        {"Content-Type": "application/json; charset=latin-1"},
        {**JSON, "Content-Encoding": "compress"},
        {**JSON, "Content-Encoding": "br"},  # refused by aiohttp's parser where it lacks the library
        {**JSON, "Content-Encoding": "zstd"},
        {**JSON, "Content-Encoding": "deflate"},
        {**JSON, "Content-Encoding": "gzip, gzip"},
    ],
)
async def test_any_other_content_is_415(service: Service, headers: dict[str, str]) -> None:
    data = zlib.compress(BODY) if headers.get("Content-Encoding") == "deflate" else BODY
    reply = await service.ask(
        "POST", WEBHOOK, data=data, headers={**headers, "Content-Length": str(len(data))}
    )
    assert reply.status == 415
    assert reply.json["reason"] == "unsupported_media_type"


async def test_gzip_is_taken(service: Service) -> None:
    packed = gzip.compress(BODY)
    headers = {**JSON, "Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    assert (await service.ask("POST", WEBHOOK, data=packed, headers=headers)).status == 202


async def test_a_small_body_that_unpacks_into_a_large_one_is_413(serve: Serve) -> None:
    service = await serve(server={"max_body": "64KiB"})
    packed = gzip.compress(b" " * 50_000_000)
    answer = await service.raw(
        head("Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed[:60_000]
    )
    assert len(packed) < 64 * 1024
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_is_not_what_its_encoding_says_is_400(service: Service) -> None:
    packed = b"\x1f\x8b\x08\x00" + b"nonsense" * 4
    answer = await service.raw(
        head("Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close") + packed
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    answer = await service.raw(head("Transfer-Encoding: chunked") + b"zz\r\nnot hex\r\n")
    assert b" 400 " in answer.split(b"\r\n")[0]


async def test_a_refused_body_that_turns_out_to_be_broken_is_no_error_in_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head("Content-Encoding: gzip", "Content-Length: 100").replace(WEBHOOK.encode(), b"/nowhere"))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
        writer.write(b"this is not what gzip writes")
        await reader.read()
    writer.close()
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_sender_that_asks_first_is_told_to_continue(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head("Expect: 100-continue", f"Content-Length: {len(BODY)}", "Connection: close"))
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await reader.read()).startswith(b"HTTP/1.1 202 ")
    writer.close()


async def test_a_sender_that_asks_first_hears_of_the_limit_instead(serve: Serve) -> None:
    service = await serve(server={"max_body": "1KiB"})
    answer = await service.raw(head("Expect: 100-continue", "Content-Length: 5000"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    answer = await service.raw(head("Expect: a-miracle", "Content-Length: 5", "Connection: close"), b"[][][")
    assert answer.startswith(b"HTTP/1.1 417 ")


async def test_all_bodies_together_are_bounded_and_their_room_is_given_back(
    serve: Serve, engine: FakeEngine
) -> None:
    service = await serve(engine, server={"max_body": "1KiB", "max_inflight_bytes": "1500B"})
    engine.gate = asyncio.Event()
    large = BODY + b" " * (1000 - len(BODY))
    first = asyncio.create_task(service.ask("POST", WEBHOOK, data=large, headers=JSON))
    await asyncio.wait_for(engine.entered.wait(), 5)
    refused = await service.ask("POST", WEBHOOK, data=large, headers=JSON)
    assert (refused.status, refused.json["reason"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    engine.gate.set()
    assert (await first).status == 202
    assert (await service.ask("POST", WEBHOOK, data=large, headers=JSON)).status == 202
    assert service.web._shell._body._inflight.held == 0


async def test_a_sender_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(service: Service) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(head("Content-Length: 1000") + b"{")
    await writer.drain()
    inflight = service.web._shell._body._inflight
    await eventually(lambda: inflight.held, "the body has room")
    writer.close()
    await eventually(lambda: not inflight.held, "its room is given back")
    counted = {"route": WEBHOOK, "method": "POST", "code": "499"}
    await eventually(lambda: service.value("gateway_requests_total", **counted) == 1, "its end to be counted")
