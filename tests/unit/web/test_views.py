from __future__ import annotations

import json

from gateway.errors import KubeUnavailable
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


async def test_the_status_is_that_of_the_engine_with_the_version_before_it(service: Service) -> None:
    assert (await service.ask("GET", "/v1/status")).json == {"version": "0", "queue": {"depth": 3}}


async def test_one_alert(serve: Serve, engine: FakeEngine) -> None:
    engine.known[FINGERPRINT] = {"fingerprint": FINGERPRINT, "unconfirmed": 0}
    service = await serve(engine)
    for path in (FINGERPRINT, FINGERPRINT.upper(), FINGERPRINT + "/"):
        reply = await service.ask("GET", f"/v1/alerts/{path}")
        assert (reply.status, reply.json["fingerprint"]) == (200, FINGERPRINT)
    for path in ("f" * 64, "xyz", FINGERPRINT + "0", FINGERPRINT + "/x", "%2e%2e"):
        assert (await service.ask("GET", f"/v1/alerts/{path}")).status == 404


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
