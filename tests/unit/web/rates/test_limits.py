"""The rate limit as a sender meets it, over real HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Outcome
from gateway.web.ports import Backends
from tests.unit.web.harness import WEBHOOK, FakeEngine, Reply, Serve, Service
from tests.unit.web.rates.shared import Clock, Server, State

ALERTMANAGER = {"User-Agent": "Alertmanager/0.31.1"}


@pytest.fixture
def server() -> Server:
    clock = Clock()
    return Server(clock, most=3, span=60.0)


async def limited(serve: Serve, server: Server, by: str, **sections: Any) -> Service:
    rules = {"requests": 3, "window": "60s", "by": by}
    return await serve(backends=Backends(windows=server.replica()), rate_limit=rules, **sections)


def fires(*namespaces: str) -> list[dict[str, Any]]:
    return [{"labels": {"alertname": "A", "namespace": name}} for name in namespaces]


async def post(service: Service, *namespaces: str, **headers: str) -> Reply:
    return await service.ask("POST", WEBHOOK, json={"alerts": fires(*namespaces)}, headers=headers)


@pytest.mark.parametrize("by", ["identity", "source", "namespace"])
@pytest.mark.parametrize("state", State)
async def test_beyond_the_limit_the_answer_is_429_and_says_when_to_come_back(
    serve: Serve, server: Server, by: str, state: State
) -> None:
    server.state = state
    service = await limited(serve, server, by)
    assert [(await post(service, "prod")).status for _ in range(4)] == [202, 202, 202, 429]
    reply = await post(service, "prod")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert 58 <= int(reply.headers["Retry-After"]) <= 60
    assert reply.json["reason"] == "rate_limited"
    assert service.value("gateway_rate_limited_total", scope=by) == 2
    assert service.value("gateway_alerts_received_total") == 3
    assert len(service.engine.accepted) == 3


async def test_alertmanager_is_answered_503_as_it_drops_what_is_answered_429(
    serve: Serve, server: Server
) -> None:
    service = await limited(serve, server, "source")
    statuses = [(await post(service, "prod", **ALERTMANAGER)).status for _ in range(4)]
    assert statuses == [202, 202, 202, 503]
    assert int((await post(service, "prod", **ALERTMANAGER)).headers["Retry-After"]) >= 58
    assert (await post(service, "prod")).status == 429
    assert service.value("gateway_rate_limited_total", scope="source") == 3


async def test_who_is_over_the_limit_is_told_before_the_body_is_read(serve: Serve, server: Server) -> None:
    service = await limited(serve, server, "source")
    for _ in range(3):
        await post(service, "prod")
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
    async with asyncio.timeout(8):  # with the rest of the body it would be ten seconds
        assert (await service.raw(head.encode())).startswith(b"HTTP/1.1 429 ")


async def test_each_identity_has_a_limit_of_its_own_and_strangers_use_up_nobodys(
    serve: Serve, server: Server, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("one:first-secret-token\ntwo:second-secret-token\n")
    auth = {"mode": "bearer", "tokens_file": str(tokens)}
    service = await limited(serve, server, "identity", auth=auth)
    one, two = ({"Authorization": f"Bearer {which}-secret-token"} for which in ("first", "second"))
    assert [(await post(service, "prod", Authorization="Bearer x")).status for _ in range(5)] == [401] * 5
    assert server.calls == 0
    assert [(await post(service, "prod", **one)).status for _ in range(4)] == [202, 202, 202, 429]
    assert [(await post(service, "prod", **two)).status for _ in range(4)] == [202, 202, 202, 429]
    assert (await post(service, "prod", Authorization="Bearer x")).status == 401


async def test_a_webhook_with_one_namespace_over_its_limit_is_refused_whole_and_charges_no_other(
    serve: Serve, server: Server
) -> None:
    service = await limited(serve, server, "namespace")
    for _ in range(3):
        assert (await post(service, "busy")).status == 202
    reply = await post(service, "calm", "busy")
    assert reply.status == 429
    assert "busy" in reply.json["detail"]
    assert (await post(service, "calm", "busy", **ALERTMANAGER)).status == 503
    assert len(service.engine.accepted) == 3
    assert [(await post(service, "calm", "calm")).status for _ in range(4)] == [202, 202, 202, 429]
    assert (await post(service)).status == 202  # nothing in it, so nothing to count


async def test_what_is_denied_or_invalid_counts_for_no_namespace(serve: Serve, server: Server) -> None:
    rules = [{"matchers": ['namespace="secret"'], "action": "deny", "reason": "secret"}]
    service = await limited(serve, server, "namespace", policy={"rules": rules})
    assert [(await post(service, "secret")).status for _ in range(5)] == [403] * 5
    assert [(await service.post({"labels": {}})).status for _ in range(5)] == [422] * 5
    assert server.calls == 0


async def test_what_could_not_be_taken_counts_and_what_is_no_webhook_does_not(
    serve: Serve, server: Server
) -> None:
    service = await limited(serve, server, "source")
    for _ in range(5):
        assert (await service.ask("GET", "/v1/status")).status == 200
        assert (await service.ask("GET", "/healthz")).status == 200
    bad = await service.ask("POST", WEBHOOK, data=b"{", headers={"Content-Type": "application/json"})
    assert bad.status == 400
    assert [(await post(service, "prod")).status for _ in range(3)] == [202, 202, 429]


async def test_without_a_limit_nobody_is_asked(serve: Serve, server: Server, engine: FakeEngine) -> None:
    engine.outcome = lambda _reading: Outcome.CREATED
    service = await serve(engine, backends=Backends(windows=server.replica()))
    assert [(await post(service, "prod")).status for _ in range(10)] == [201] * 10
    assert server.calls == 0
