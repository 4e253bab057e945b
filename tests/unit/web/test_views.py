from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gateway.engine.reports import AlertReport, RecordReport, RecordState, WindowReport, WindowState
from gateway.errors import KubeUnavailable, StoreError, StoreRefused, StoreUnsure
from tests.unit.web.harness import FakeEngine, Serve, Service

FINGERPRINT = "0123456789abcdef" * 4


async def test_alive_whatever_else_is_broken(serve: Serve, engine: FakeEngine) -> None:
    engine.is_ready = False
    service = await serve(engine)
    reply = await service.ask("GET", "/healthz")
    assert (reply.status, reply.json) == (200, {"status": "ok"})


async def test_ready_tells_of_each_component_in_a_line(service: Service) -> None:
    reply = await service.ask("GET", "/readyz")
    assert reply.status == 200
    assert reply.json == {
        "status": "ready",
        "components": {"redis": {"ok": True, "detail": ""}, "kubernetes": {"ok": True, "detail": ""}},
        "warnings": [],
    }
    lines = reply.body.decode().splitlines()
    assert len([line for line in lines if '"ok"' in line]) == 2


async def test_a_degraded_gateway_is_ready_and_says_what_is_missing(serve: Serve, engine: FakeEngine) -> None:
    engine.parts[0].ok = False
    engine.parts[0].detail = 'does "not" answer'
    service = await serve(engine)
    reply = await service.ask("GET", "/readyz")
    assert (reply.status, reply.json["status"]) == (200, "degraded")
    assert reply.json["components"]["redis"] == {"ok": False, "detail": 'does "not" answer'}


async def test_not_ready_when_alerts_cannot_be_accepted(serve: Serve, engine: FakeEngine) -> None:
    engine.is_ready = False
    engine.parts[0].ok = engine.parts[1].ok = False
    service = await serve(engine)
    reply = await service.ask("GET", "/readyz")
    assert reply.status == 503
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["reason"] == "not_ready"
    assert reply.json["components"]["kubernetes"]["ok"] is False


async def test_the_status_is_that_of_the_engine_and_says_what_readyz_says(
    serve: Serve, engine: FakeEngine
) -> None:
    engine.parts[0].ok, engine.parts[0].detail = False, "does not answer"
    service = await serve(engine, server={"host": "0.0.0.0"}, auth={"allow_anonymous": True})
    status = (await service.ask("GET", "/v1/status")).json
    assert (status["version"], status["uptimeSeconds"], status["tasks"]["sweep"]["running"]) == (
        "0",
        1.2,
        True,
    )
    assert (status["queue"], status["unconfirmed"], status["mode"]) == (
        {"depth": 3, "failing": False},
        1,
        "normal",
    )
    ready = (await service.ask("GET", "/readyz")).json
    assert status["ready"] is True
    assert (status["components"], status["warnings"]) == (ready["components"], ready["warnings"])
    assert status["components"]["redis"] == {"ok": False, "detail": "does not answer"}
    assert len(status["warnings"]) == 1
    engine.is_ready = False
    assert (await service.ask("GET", "/v1/status")).json["ready"] is False


OPEN = WindowReport(
    id="w-1",
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
WINDOW = {
    "id": "w-1",
    "group": "prod-api/PodOOMKilled",
    "state": "storming",
    "members": 7,
    "threshold": 3,
    "openedAt": "2026-01-31T09:00:00.000Z",
    "lastMemberAt": "2026-01-31T09:00:05.000Z",
    "dueAt": "2026-01-31T09:01:05.000Z",
    "dueIn": 42.5,
    "spilled": 0,
}


async def test_the_open_windows_are_told_as_the_engine_has_them(serve: Serve, engine: FakeEngine) -> None:
    service = await serve(engine)
    nothing = await service.ask("GET", "/v1/storms")
    assert (nothing.status, nothing.json) == (200, {"windows": []})
    engine.windows = [OPEN, msgspec.structs.replace(OPEN, id="w-2")]
    told = await service.ask("GET", "/v1/storms/")
    assert (told.status, told.json) == (200, {"windows": [WINDOW, {**WINDOW, "id": "w-2"}]})
    head = await service.ask("HEAD", "/v1/storms")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(told.body))
    assert (await service.ask("POST", "/v1/storms")).status == 405


@pytest.mark.parametrize(
    "error", [StoreUnsure("no answer", kind="timeout"), StoreRefused("no list", kind="other")]
)
async def test_windows_that_redis_does_not_tell_now_are_503(
    serve: Serve, engine: FakeEngine, error: StoreError
) -> None:
    engine.error = error
    service = await serve(engine)
    reply = await service.ask("GET", "/v1/storms")
    assert (reply.status, reply.json["reason"]) == (503, "dependency")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in reply.headers


async def test_whoever_may_not_post_may_not_see_the_windows(serve: Serve, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alertmanager:" + "s" * 32 + "\n")
    tokens.chmod(0o600)
    service = await serve(auth={"mode": "bearer", "tokens_file": str(tokens)})
    assert (await service.ask("GET", "/v1/storms")).status == 401
    known = {"Authorization": "Bearer " + "s" * 32}
    assert (await service.ask("GET", "/v1/storms", headers=known)).status == 200


async def test_one_alert(serve: Serve, engine: FakeEngine) -> None:
    engine.known[FINGERPRINT] = AlertReport(
        fingerprint=FINGERPRINT,
        unconfirmed=0,
        requests=[],
        storms=[],
        window=None,
        redis=RecordReport(state=RecordState.SETTLED),
    )
    service = await serve(engine)
    for path in (FINGERPRINT, FINGERPRINT.upper(), FINGERPRINT + "/"):
        reply = await service.ask("GET", f"/v1/alerts/{path}")
        assert (reply.status, reply.json["fingerprint"]) == (200, FINGERPRINT)
    for path in ("f" * 64, FINGERPRINT + "/x", ""):
        assert (await service.ask("GET", f"/v1/alerts/{path}")).status == 404


@pytest.mark.parametrize(
    "garbage", ["xyz", FINGERPRINT + "0", "g" * 64, "%2e%2e", "%00", "%ff", "%C3%BC" * 64, "%2F"]
)
async def test_what_is_no_fingerprint_is_told_so(service: Service, garbage: str) -> None:
    target = f"/v1/alerts/{garbage}"
    reply = await service.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int(reply.split()[1])
    assert status == (404 if garbage == "%2F" else 400)
    assert (b'"reason":"bad_parameter"' in reply) is (status == 400)


async def test_an_alert_that_cannot_be_looked_up_now_is_503(serve: Serve, engine: FakeEngine) -> None:
    engine.error = KubeUnavailable("no answer")
    service = await serve(engine)
    assert (await service.ask("GET", f"/v1/alerts/{FINGERPRINT}")).status == 503


async def test_metrics_are_on_their_own_listener_in_the_format_asked_for(service: Service) -> None:
    base = service.web.metrics.url
    plain = await service.ask("GET", "/metrics", base=base)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"gateway_alerts_received_total 0.0" in plain.body
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    modern = await service.ask("GET", "/metrics/", base=base, headers=accept)
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text")
    assert modern.body.endswith(b"# EOF\n")
    assert (await service.ask("GET", "/metrics")).status == 404
    assert (await service.ask("POST", "/metrics", base=base)).status == 405
    missing = await service.ask("GET", "/v1/status", base=base)
    assert (missing.status, json.loads(missing.body)["status"]) == (404, 404)
