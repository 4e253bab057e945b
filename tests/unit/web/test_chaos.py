"""Faults injected over HTTP: by whom, what makes sense, what acts now, and what they do to senders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chaos.rig.waiting import eventually
from gateway.resilience.faults import MODES, FaultMode, FaultPoints, FaultTarget
from tests.integration.described import Described
from tests.unit.web.harness import WEBHOOK, FakeEngine, Serve, Service

CHAOS = "/v1/admin/chaos"
ENABLED = {"enabled": True}
ALERT = {"labels": {"alertname": "A", "namespace": "n"}}


class Stage:
    """Points whose clock and chances the test decides."""

    def __init__(self) -> None:
        self.now = 0.0
        self.chance = 0.0
        self.points = FaultPoints(clock=lambda: self.now, struck=lambda *_: None, chance=lambda: self.chance)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def wish(target: str = "redis", mode: str = "timeout", **more: Any) -> dict[str, Any]:
    found = {"target": target, "mode": mode, "pct": 30, "delay": "500ms", "ttl": "5m", **more}
    return {name: value for name, value in found.items() if value is not None}


async def test_the_routes_are_absent_unless_faults_are_enabled(service: Service) -> None:
    for method, path in (("GET", CHAOS), ("POST", CHAOS), ("DELETE", f"{CHAOS}/redis")):
        assert (await service.ask(method, path, json=wish())).status == 404
    assert (await service.ask("GET", "/readyz")).json["warnings"] == []


async def test_a_fault_is_injected_shown_with_what_is_left_of_it_and_ended(
    serve: Serve, stage: Stage
) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    assert (await service.ask("GET", CHAOS)).json == {"faults": []}

    made = await service.ask("POST", CHAOS, json=wish(mode="latency"))
    shown = {
        "target": "redis",
        "mode": "latency",
        "pct": 30.0,
        "delay": "500ms",
        "ttl": "5m",
        "by": "",
        "remainingSeconds": 300.0,
        "calls": 0,
        "struck": 0,
    }
    assert (made.status, made.json) == (201, shown)
    stage.now += 60.04
    stage.points.points[FaultTarget.REDIS].strike()
    later = {**shown, "remainingSeconds": 240.0, "calls": 1, "struck": 1}
    assert (await service.ask("GET", CHAOS)).json == {"faults": [later]}
    warnings = (await service.ask("GET", "/readyz")).json["warnings"]
    assert warnings[0] == "chaos.enabled: faults can be injected here"
    assert "redis latency" in warnings[1]

    ended = await service.ask("DELETE", f"{CHAOS}/redis")
    assert (ended.status, ended.json) == (200, later)
    assert (await service.ask("GET", CHAOS)).json == {"faults": []}
    assert (await service.ask("DELETE", f"{CHAOS}/redis")).status == 404
    assert (await service.ask("DELETE", f"{CHAOS}/etcd")).status == 404
    assert len((await service.ask("GET", "/readyz")).json["warnings"]) == 1


async def test_it_is_gone_when_its_time_is_over(serve: Serve, stage: Stage) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    await service.ask("POST", CHAOS, json=wish("webhook", "error", pct=100, ttl="2s"))
    assert (await service.post(ALERT)).status == 503
    stage.now += 2
    assert (await service.post(ALERT)).status == 202
    assert (await service.ask("GET", CHAOS)).json == {"faults": []}


@pytest.mark.parametrize("target", FaultTarget)
@pytest.mark.parametrize("mode", FaultMode)
async def test_every_pair_that_makes_sense_is_taken_and_no_other(
    serve: Serve, stage: Stage, target: FaultTarget, mode: FaultMode
) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    reply = await service.ask("POST", CHAOS, json=wish(target.value, mode.value))
    if mode in MODES[target]:
        assert reply.status == 201
    else:
        assert reply.status == 422
        assert f"{target.value} does not fail with {mode.value}" in reply.json["detail"]
        assert all(known in reply.json["detail"] for known in MODES[target])
        assert not list(stage.points.active())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (wish("etcd"), "targets are redis, kubernetes, webhook"),
        (wish(mode="slow"), "modes are timeout"),
        (wish(pct=0), "pct"),
        (wish(pct=100.1), "pct"),
        (wish(pct="30"), "pct"),
        (wish(pct=None), "pct"),
        (wish(ttl=None), "ttl"),
        (wish(ttl="0"), "ttl: expected more than 0"),
        (wish(ttl="61m"), "at most 1h"),
        (wish(ttl="soon"), "ttl: 'soon' is not a duration"),
        (wish(mode="jitter", delay=None), "delay: jitter needs it"),
        (wish(mode="latency", delay="2m"), "at most 60s"),
        (wish(more=1), "more"),
        ([], "object"),
    ],
)
async def test_what_makes_no_sense_is_told(serve: Serve, stage: Stage, body: object, told: str) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    reply = await service.ask("POST", CHAOS, json=body)
    assert reply.status == 422
    assert told in reply.json["detail"]
    assert not list(stage.points.active())


async def test_a_body_must_say_that_it_is_json_and_be_it(serve: Serve, stage: Stage) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    assert (
        await service.ask("POST", CHAOS, data=b"{", headers={"Content-Type": "application/json"})
    ).status == 400
    text = b'{"target":"redis","mode":"error","pct":1,"ttl":"1s"}'
    head = f"POST {CHAOS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n"
    assert (await service.raw(head.encode() + text)).startswith(b"HTTP/1.1 415 ")
    assert not list(stage.points.active())


async def test_every_example_of_the_description_is_answered_as_it_says(serve: Serve, stage: Stage) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    description = Described((await service.ask("GET", "/openapi.json")).body)
    examples = [example for example in description.requests() if example.path == CHAOS]
    assert {example.answer for example in examples} == {201, 422}
    headers = {"Content-Type": "application/json"}
    for example in examples:
        reply = await service.ask("POST", CHAOS, data=example.content, headers=headers)
        assert reply.status == example.answer
        description.check("POST", CHAOS, reply.status, reply.headers["Content-Type"], reply.body)
    for method, path in (("GET", CHAOS), ("DELETE", f"{CHAOS}/redis"), ("DELETE", f"{CHAOS}/redis")):
        reply = await service.ask(method, path)
        shown = path.replace("/redis", "/{target}")
        description.check(method, shown, reply.status, reply.headers["Content-Type"], reply.body)


async def test_only_an_admin_may(serve: Serve, stage: Stage, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alertmanager:one\nops:two\nadmin:three\n")
    service = await serve(
        faults=stage.points,
        auth={"mode": "bearer", "tokens_file": str(tokens)},
        chaos={"enabled": True, "admins": ["ops"]},
    )
    for token, status in (("one", 403), ("three", 403), ("wrong", 401)):
        headers = {"Authorization": f"Bearer {token}"}
        for method, path in (("GET", CHAOS), ("POST", CHAOS), ("DELETE", f"{CHAOS}/redis")):
            reply = await service.ask(method, path, json=wish(), headers=headers)
            assert reply.status == status
    assert not list(stage.points.active())
    headers = {"Authorization": "Bearer two"}
    reply = await service.ask("POST", CHAOS, json=wish(), headers=headers)
    assert (reply.status, reply.json["by"]) == (201, "ops")
    assert "ops" not in (await service.ask("GET", "/readyz")).body.decode()


async def test_an_injected_error_is_503_with_when_to_come_back_and_nothing_is_taken(
    serve: Serve, stage: Stage, engine: FakeEngine
) -> None:
    service = await serve(engine, faults=stage.points, chaos=ENABLED)
    await service.ask("POST", CHAOS, json=wish("webhook", "error", delay=None))
    reply = await service.post(ALERT)
    assert (reply.status, reply.json["reason"], reply.headers["Retry-After"]) == (503, "injected", "1")
    assert engine.accepted == []
    stage.chance = 0.5
    assert (await service.post(ALERT)).status == 202


@pytest.mark.parametrize("mode", ["latency", "jitter"])
async def test_a_late_answer_is_right_all_the_same(serve: Serve, stage: Stage, mode: str) -> None:
    service = await serve(faults=stage.points, chaos=ENABLED)
    await service.ask("POST", CHAOS, json=wish("webhook", mode, delay="200ms", pct=100))
    stage.chance = 0.9
    began = time.monotonic()
    assert (await service.post(ALERT)).status == 202
    assert time.monotonic() - began >= 0.18


@pytest.mark.parametrize("taken", [False, True])
async def test_a_sender_that_waits_in_vain_gets_no_answer_whether_its_alerts_were_taken_or_not(
    serve: Serve, stage: Stage, engine: FakeEngine, *, taken: bool
) -> None:
    service = await serve(engine, faults=stage.points, chaos=ENABLED, server={"request_timeout": "300ms"})
    await service.ask("POST", CHAOS, json=wish("webhook", pct=100, delay=None))
    stage.chance = 0.1 if taken else 0.9
    began = time.monotonic()
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await service.post(ALERT)
    assert 0.25 < time.monotonic() - began < 5
    assert len(engine.accepted) == taken
    counted = {"route": WEBHOOK, "method": "POST", "code": "499"}
    await eventually(lambda: service.value("gateway_requests_total", **counted) == 1, "its end to be counted")
    stage.points.points[FaultTarget.WEBHOOK].end()
    assert (await service.post(ALERT)).status == 202


async def test_a_sender_that_waits_in_vain_does_not_hear_of_a_refusal_either(
    serve: Serve, stage: Stage, engine: FakeEngine
) -> None:
    service = await serve(engine, faults=stage.points, chaos=ENABLED, server={"request_timeout": "300ms"})
    await service.ask("POST", CHAOS, json=wish("webhook", pct=100, delay=None))
    stage.chance = 0.1
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await service.post({"labels": {}})
    stage.points.points[FaultTarget.WEBHOOK].end()
    assert (await service.post({"labels": {}})).status == 422
