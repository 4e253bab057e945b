from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chaos.rig.waiting import eventually
from tests.unit.web.harness import FakeEngine, Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = {"alerts": [{"labels": {"alertname": "A"}}]}
ROUTES = [
    ("POST", WEBHOOK),
    ("POST", "/api/v1/signals/prometheus"),
    ("GET", "/healthz"),
    ("GET", "/health"),
    ("GET", "/readyz"),
    ("GET", "/ready"),
    ("GET", "/v1/status"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("tail", ["", "/", "?x=1", "/?x=1"])
async def test_a_trailing_slash_or_query_changes_nothing_and_nothing_redirects(
    service: Service, method: str, path: str, tail: str
) -> None:
    reply = await service.ask(method, path + tail, json=BODY if method == "POST" else None)
    assert reply.status in (200, 202)


@pytest.mark.parametrize(
    "path",
    ["/nope", "/v1", "/v1/webhooks", "//v1/webhooks/prometheus", "/V1/STATUS", "/healthz/x", "/%00"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_a_problem_404(service: Service, method: str, path: str) -> None:
    reply = await service.ask(method, path)
    assert reply.status == 404
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json
    assert problem["type"] == "about:blank"
    assert problem["title"] == "Not Found"
    assert problem["status"] == 404
    assert problem["requestId"] == reply.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", WEBHOOK, "POST"),
        ("PUT", WEBHOOK + "/", "POST"),
        ("OPTIONS", WEBHOOK, "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/v1/status", "GET, HEAD"),
        ("PROPFIND", "/readyz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_a_problem_405_with_allow(
    service: Service, method: str, path: str, allow: str
) -> None:
    reply = await service.ask(method, path)
    assert (reply.status, reply.headers["Allow"]) == (405, allow)
    assert reply.json["status"] == 405


async def test_head_is_get_without_the_body(service: Service) -> None:
    reply = await service.ask("HEAD", "/healthz")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(len((await service.ask("GET", "/healthz")).body))


@pytest.mark.parametrize("given", ["abc", "a-b_c.D:1", "0" * 128])
async def test_a_sane_request_id_is_kept(service: Service, given: str) -> None:
    reply = await service.ask("GET", "/healthz", headers={"X-Request-Id": given})
    assert reply.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "-x", "0" * 129, "x\u00e4", '"', "a;b", "a\tb"])
async def test_any_other_request_id_is_replaced(service: Service, given: str) -> None:
    reply = await service.ask("GET", "/healthz", headers={"X-Request-Id": given})
    assert reply.headers["X-Request-Id"] not in ("", given)


async def test_made_request_ids_differ(service: Service) -> None:
    made = {(await service.ask("GET", "/healthz")).headers["X-Request-Id"] for _ in range(5)}
    assert len(made) == 5


MARKS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/nope", 404),
        ("PUT", "/healthz", 405),
        ("POST", WEBHOOK, 401),
    ],
)
async def test_every_answer_is_marked_and_names_no_program(
    serve: Serve, tmp_path: Path, method: str, path: str, status: int
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a:b\n")
    service = await serve(auth={"mode": "bearer", "tokens_file": str(tokens)})
    reply = await service.ask(method, path)
    assert reply.status == status
    assert {name: reply.headers.get(name) for name in MARKS} == MARKS
    assert "Server" not in reply.headers
    assert reply.headers["Date"].endswith("GMT")
    assert reply.headers["Content-Length"]


async def test_metrics_and_what_is_no_http_are_marked_too(service: Service) -> None:
    metrics = await service.ask("GET", "/metrics", base=service.web.metrics.url)
    assert {name: metrics.headers.get(name) for name in MARKS} == MARKS
    assert "Server" not in metrics.headers
    head, _, _ = (await service.raw(b"no HTTP\r\n\r\n")).partition(b"\r\n\r\n")
    assert [name for name, value in MARKS.items() if f"\r\n{name}: {value}".encode() not in head] == []
    assert b"\r\nServer:" not in head


async def test_requests_are_counted_by_route_method_and_code_with_bounded_labels(service: Service) -> None:
    await service.ask("GET", "/healthz")
    await service.ask("GET", "/healthz/")
    await service.ask("GET", "/a-path-of-the-sender")
    await service.ask("PROPFIND", "/another")
    name = "gateway_requests_total"
    assert service.value(name, route="/healthz", method="GET", code="200") == 2
    assert service.value(name, route="unknown", method="GET", code="404") == 1
    assert service.value(name, route="unknown", method="unknown", code="404") == 1
    assert service.value("gateway_request_duration_seconds_count", route="/healthz") == 2
    assert service.value("gateway_errors_total", type="not_found") == 2


async def test_what_is_no_http_gets_a_problem_too(service: Service) -> None:
    answer = await service.raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"application/problem+json" in head
    assert b'"reason":"bad_http"' in body


async def test_http_1_0_is_answered_and_closed(service: Service) -> None:
    answer = await service.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection: close" in answer


async def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    answer = await service.raw(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: one\r\n\r\n"
        b"GET /nope HTTP/1.1\r\nHost: x\r\nX-Request-Id: two\r\nConnection: close\r\n\r\n"
    )
    assert answer.index(b"X-Request-Id: one") < answer.index(b"X-Request-Id: two")
    assert answer.count(b"HTTP/1.1 ") == 2


async def test_a_connection_serves_many_requests(service: Service) -> None:
    for _ in range(3):
        await service.ask("POST", WEBHOOK, json=BODY)
        await service.ask("GET", "/nope")
    assert len(service.client.connector._conns) == 1


async def test_past_the_request_timeout_the_answer_is_503_and_the_work_is_cancelled(
    serve: Serve, engine: FakeEngine
) -> None:
    service = await serve(engine, server={"request_timeout": "100ms"})
    engine.gate = asyncio.Event()
    reply = await service.ask("POST", WEBHOOK, json=BODY)
    assert (reply.status, reply.json["reason"]) == (503, "timeout")
    assert reply.headers["Retry-After"] == "1"
    assert engine.cancelled == 1
    engine.gate.set()
    assert (await service.ask("POST", WEBHOOK, json=BODY)).status == 202


async def test_each_of_many_slow_requests_has_its_own_time(serve: Serve, engine: FakeEngine) -> None:
    service = await serve(engine, server={"request_timeout": "300ms"})
    engine.gate = asyncio.Event()
    slow = [asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY)) for _ in range(5)]
    assert [reply.status for reply in await asyncio.gather(*slow)] == [503] * 5
    assert engine.cancelled == 5


async def test_a_body_that_never_ends_is_503_in_time(serve: Serve) -> None:
    service = await serve(server={"request_timeout": "100ms"})
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    assert (await service.raw(head, b"{")).startswith(b"HTTP/1.1 503 ")


async def test_a_client_that_leaves_does_not_stop_the_work_it_asked_for(
    serve: Serve, engine: FakeEngine
) -> None:
    service = await serve(engine)
    engine.gate = asyncio.Event()
    leaving = asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY))
    await asyncio.wait_for(engine.entered.wait(), 5)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    engine.gate.set()
    await eventually(lambda: engine.accepted, "the work is done")
    assert engine.cancelled == 0


async def test_stopping_refuses_what_is_new_and_answers_what_is_under_way(
    serve: Serve, engine: FakeEngine
) -> None:
    service = await serve(engine)
    engine.gate = asyncio.Event()
    under_way = asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY))
    await asyncio.wait_for(engine.entered.wait(), 5)
    drained = asyncio.create_task(service.web.gateway.drain(10))
    await asyncio.sleep(0)
    ready = await service.ask("GET", "/readyz")
    assert (ready.status, ready.json["reason"]) == (503, "stopping")
    refused = await service.ask("POST", WEBHOOK, json=BODY)
    assert (refused.status, refused.json["reason"]) == (503, "stopping")
    assert refused.headers["Connection"] == "close"
    assert (await service.ask("GET", "/healthz")).status == 200
    assert not drained.done()
    engine.gate.set()
    assert (await under_way).status == 202
    assert await asyncio.wait_for(drained, 5) is True


async def test_draining_ends_at_its_deadline(serve: Serve, engine: FakeEngine) -> None:
    service = await serve(engine)
    engine.gate = asyncio.Event()
    under_way = asyncio.create_task(service.ask("POST", WEBHOOK, json=BODY))
    await asyncio.wait_for(engine.entered.wait(), 5)
    assert await service.web.gateway.drain(0.05) is False
    engine.gate.set()
    assert (await under_way).status == 202
