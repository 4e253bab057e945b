"""The page, its files, and the stream of what it shows, over a web layer that listens."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chaos.rig.waiting import eventually
from gateway import errors
from gateway.engine.reports import RecentRequest, WindowReport, WindowState
from gateway.resilience.faults import Fault, FaultMode, FaultPoints, FaultTarget
from gateway.web.page.broadcast import MOST
from gateway.web.page.overview import MOST_WINDOWS
from gateway.web.page.serving import FILES
from tests.integration.described import Described
from tests.unit.web.harness import NOW, FakeEngine, Serve, Service

OVERVIEW = "/v1/overview"
EVENTS = {"Accept": "text/event-stream"}


def window(number: int) -> WindowReport:
    return WindowReport(
        id=f"p1-{number}",
        group="prod-api/PodOOMKilled",
        state=WindowState.STORMING,
        members=7,
        threshold=3,
        opened_at="2026-01-31T09:00:00.000Z",
        last_member_at="2026-01-31T09:00:05.000Z",
        due_at="2026-01-31T09:01:05.000Z",
        due_in=42.5,
        spilled=0,
    )


REQUEST = RecentRequest(
    namespace="prod-api",
    name="rr-podoomkilled-6a9dd7e5c3-1",
    fingerprint="6a" * 32,
    signal="PodOOMKilled",
    generation=1,
    phase="",
    open=True,
    resolved=False,
    problems=None,
    occurrence_count=17,
    unconfirmed=2,
    taken_seconds_ago=1.5,
)


@asynccontextmanager
async def watching(service: Service, **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
    """An open stream."""
    url = service.web.gateway.url + OVERVIEW
    async with service.client.get(url, headers={**EVENTS, **headers}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield response.content


async def event(stream: aiohttp.StreamReader) -> tuple[str, Any]:
    """The next event: its name, and its data as far as that is JSON."""
    async with asyncio.timeout(10):
        lines = (await stream.readuntil(b"\n\n")).decode().splitlines()
    name, data = (line.partition(": ")[2] for line in lines[:2])
    return name, json.loads(data) if name == "overview" else data


async def test_it_shows_what_the_gateway_knows_once_as_json_and_then_as_events(serve: Serve) -> None:
    points = FaultPoints(clock=time.monotonic, struck=lambda *_: None)
    points.points[FaultTarget.REDIS].inject(
        Fault(target=FaultTarget.REDIS, mode=FaultMode.JITTER, pct=30, ttl=60, delay=0.5, by="someone")
    )
    engine = FakeEngine(windows=[window(1)], requests=[REQUEST])
    service = await serve(engine, faults=points, chaos={"enabled": True})
    await service.post({"labels": {"alertname": "A"}}, {"labels": {}})
    once = await service.ask("GET", OVERVIEW)
    assert once.headers["Content-Type"] == "application/json"
    described = Described((await service.ask("GET", "/openapi.json")).body)
    described.check("GET", OVERVIEW, 200, "application/json", once.body)
    async with watching(service) as stream:
        name, shown = await event(stream)
    assert name == "overview"
    assert shown["at"] == NOW
    assert shown["totals"]["received"] == 2
    assert shown["totals"]["invalid"] == 1
    assert [one["id"] for one in shown["windows"]] == ["p1-1"]
    assert shown["recent"][0]["occurrenceCount"] == 17
    assert shown["faults"][0]["mode"] == "jitter"
    assert "someone" not in once.body.decode()
    assert any("a fault is injected" in warning for warning in shown["status"]["warnings"])
    once_, twice = once.json, shown
    for moving in ("faults", "at"):
        once_.pop(moving)
        twice.pop(moving)
    once_["status"].pop("warnings")
    twice["status"].pop("warnings")
    assert once_ == twice


async def test_without_redis_the_windows_are_unknown_and_all_else_is_shown(serve: Serve) -> None:
    engine = FakeEngine(error=errors.StoreUnsure("no answer", kind="timeout"), requests=[REQUEST])
    service = await serve(engine)
    shown = (await service.ask("GET", OVERVIEW)).json
    assert (shown["windows"], shown["faults"], len(shown["recent"])) == (None, None, 1)


async def test_a_picture_has_a_bounded_size(serve: Serve) -> None:
    service = await serve(FakeEngine(windows=[window(n) for n in range(500)], requests=[REQUEST] * 500))
    shown = (await service.ask("GET", OVERVIEW)).json
    assert (len(shown["windows"]), len(shown["recent"])) == (MOST_WINDOWS, 30)


async def test_a_stream_outlives_the_deadline_of_requests(serve: Serve) -> None:
    service = await serve(server={"request_timeout": "500ms"})
    async with watching(service) as stream:
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            assert (await event(stream))[0] == "overview"


async def test_a_stream_does_not_hold_the_drain_and_ends_with_a_word(service: Service) -> None:
    async with watching(service) as stream:
        await event(stream)
        began = time.monotonic()
        assert await service.web.drain(10.0)
        while (told := await event(stream))[0] == "overview":
            pass
        assert told == ("end", "stopping")
        assert await stream.read() == b""
        assert time.monotonic() - began < 5
    assert (await service.ask("GET", OVERVIEW, headers=EVENTS)).status == 503


async def test_streams_are_bounded_and_one_that_is_closed_makes_room(service: Service) -> None:
    request = b"GET /v1/overview HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    connections = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(MOST)]
    for reader, writer in connections:
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    refused = await service.ask("GET", OVERVIEW, headers=EVENTS)
    assert (refused.status, refused.json["reason"]) == (503, "overloaded")
    assert "Retry-After" in refused.headers
    assert (await service.ask("GET", OVERVIEW)).status == 200  # one look is no stream
    for _, writer in connections:
        writer.close()
    await eventually(lambda: len(service.web.broadcast) == 0, "their places", seconds=10)
    async with watching(service) as stream:
        await event(stream)


async def test_head_takes_no_place(service: Service) -> None:
    for _ in range(MOST + 1):
        assert (await service.ask("HEAD", OVERVIEW, headers=EVENTS)).status == 200


async def test_what_it_shows_is_guarded_and_the_page_is_not(serve: Serve, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("someone:secret\n")
    service = await serve(auth={"mode": "bearer", "tokens_file": str(tokens)})
    for headers in ({}, EVENTS, {**EVENTS, "Authorization": "Bearer wrong"}):
        assert (await service.ask("GET", OVERVIEW, headers=headers)).status == 401
    for path in ("/", *(f"/page/{name}" for name in FILES)):
        assert (await service.ask("GET", path)).status == 200
    async with watching(service, Authorization="Bearer secret") as stream:
        assert (await event(stream))[0] == "overview"


async def test_the_page_runs_nothing_inline_and_loads_only_its_own_files(service: Service) -> None:
    reply = await service.ask("GET", "/")
    page = reply.body.decode()
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r"<script>|<style|style=|\son\w+=", page) == []
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    texts = [(await service.ask("GET", f"/page/{name}")).body.decode() for name in FILES]
    named = {name for text in [page, *texts] for name in re.findall(r'"(?:/page/|\./)([^"]+)"', text)}
    assert named <= set(FILES)
    for text in [page, *texts]:
        assert [where for where in re.findall(r"https?://[\w.]+", text) if "www.w3.org" not in where] == []


def test_all_files_and_no_others_are_served() -> None:
    there = {file.name for file in (resources.files("gateway.web.page") / "files").iterdir()}
    assert there == {*FILES, "index.html"}


@pytest.mark.parametrize("name", ["index.html", "%2e%2e%2f__init__.py", "serving.py", "page.css%00", "x"])
async def test_no_other_file_is_served(service: Service, name: str) -> None:
    reply = await service.ask("GET", f"/page/{name}")
    assert (reply.status, reply.json["reason"]) == (404, "not_found")
