from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import KubeUnavailable, NotDurable, Overloaded, StoreUnsure
from gateway.model import Outcome, WindowView
from tests.unit.web.harness import FakeEngine, Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"


def alert(name: str = "A", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, "namespace": "prod-api", **labels}}


async def test_a_duplicate_is_answered_202_with_all_that_became_of_it(service: Service) -> None:
    reply = await service.post(alert())
    assert reply.status == 202
    assert reply.headers["Content-Type"] == "application/json"
    answer = reply.json
    [verdict] = answer["alerts"]
    assert verdict.pop("fingerprint") == service.engine.accepted[0][0].fingerprint
    assert verdict == {
        "outcome": "duplicate",
        "request": {"namespace": "prod-api", "name": "rr-a-1"},
        "occurrenceCount": 1,
    }
    assert answer["status"] == "accepted"
    assert answer["counts"] == {"duplicate": 1}
    assert answer["requestId"] == reply.headers["X-Request-Id"]


async def test_one_created_request_makes_it_201(service: Service) -> None:
    service.engine.outcome = lambda reading: (
        Outcome.CREATED if reading.alertname == "B" else Outcome.DUPLICATE
    )
    reply = await service.post(alert("A"), alert("B"), alert("C"))
    assert reply.status == 201
    assert reply.json["counts"] == {"duplicate": 2, "created": 1}


async def test_a_held_alert_is_told_its_window(service: Service) -> None:
    service.engine.window = WindowView(id="w-1", due_at="2026-01-31T09:01:00.000000000Z", members=7)
    reply = await service.post(alert())
    assert (reply.status, reply.json["counts"]) == (202, {"buffered": 1})
    (told,) = reply.json["alerts"]
    assert told == {
        "outcome": "buffered",
        "fingerprint": told["fingerprint"],
        "window": {"id": "w-1", "dueAt": "2026-01-31T09:01:00.000000000Z", "members": 7},
    }


@pytest.mark.parametrize("outcome", [Outcome.BUFFERED, Outcome.QUEUED, Outcome.RESOLVED])
async def test_whatever_else_was_accepted_is_202(service: Service, outcome: Outcome) -> None:
    service.engine.outcome = lambda _reading: outcome
    reply = await service.post(alert())
    assert (reply.status, reply.json["counts"]) == (202, {outcome.value: 1})


async def test_an_empty_list_is_202_and_the_engine_is_not_asked(service: Service) -> None:
    reply = await service.post()
    assert (reply.status, reply.json["counts"], reply.json["alerts"]) == (202, {}, [])
    assert service.engine.accepted == []


async def test_verdicts_come_in_the_order_of_the_alerts_with_the_bad_ones_between(
    serve: Serve, engine: FakeEngine
) -> None:
    rule = {"matchers": ['team="x"'], "action": "deny", "reason": "team_x"}
    service = await serve(engine, policy={"rules": [rule]})
    reply = await service.post(
        alert("A"), {"labels": {}}, alert("B", team="x"), 17, alert("C"), alert("D", team="x")
    )
    assert reply.status == 202
    answer = reply.json
    assert [verdict["outcome"] for verdict in answer["alerts"]] == [
        "duplicate", "invalid", "denied", "invalid", "duplicate", "denied",
    ]  # fmt: skip
    assert answer["counts"] == {"duplicate": 2, "denied": 2, "invalid": 2}
    assert [reading.alertname for reading in engine.accepted[0]] == ["A", "C"]
    assert answer["alerts"][0]["fingerprint"] == engine.accepted[0][0].fingerprint
    assert answer["alerts"][4]["fingerprint"] == engine.accepted[0][1].fingerprint
    assert "$.alerts[1]" in answer["alerts"][1]["detail"]
    assert [verdict.get("reason") for verdict in answer["alerts"]] == [
        None, "no_alertname", "team_x", "wrong_type", None, "team_x",
    ]  # fmt: skip
    assert answer["alerts"][2]["detail"] == "denied by policy.rules[0]"
    assert service.value("gateway_alerts_received_total") == 6
    assert service.value("gateway_alerts_processed_total") == 2
    assert service.value("gateway_alerts_invalid_total") == 2
    assert service.value("gateway_policy_denials_total", reason="team_x") == 2


async def test_403_when_nothing_was_accepted_and_the_policy_denied_something(
    serve: Serve, engine: FakeEngine
) -> None:
    service = await serve(engine, policy={"default": "deny"})
    reply = await service.post(alert(), {"labels": {}})
    assert reply.status == 403
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["counts"] == {"denied": 1, "invalid": 1}
    assert [verdict["outcome"] for verdict in reply.json["alerts"]] == ["denied", "invalid"]
    assert [verdict["reason"] for verdict in reply.json["alerts"]] == ["default_deny", "no_alertname"]
    assert service.value("gateway_alerts_received_total") == 2
    assert service.value("gateway_alerts_processed_total") == 0


async def test_422_when_every_alert_is_invalid_and_the_answer_stays_short(service: Service) -> None:
    reply = await service.post(*[{"labels": {"x": "y"}}] * 1000)
    assert reply.status == 422
    assert reply.json["counts"] == {"invalid": 1000}
    assert "$.alerts[0]" in reply.json["detail"]
    assert len(reply.body) < 4096
    assert service.value("gateway_alerts_received_total") == 1000
    assert service.value("gateway_alerts_invalid_total") == 1000


async def test_what_the_engine_finds_invalid_counts_as_invalid(service: Service) -> None:
    service.engine.outcome = lambda _reading: Outcome.INVALID
    reply = await service.post(alert())
    assert reply.status == 422
    assert service.value("gateway_alerts_invalid_total") == 1
    assert service.value("gateway_alerts_processed_total") == 0


async def test_resolved_alerts_are_counted(service: Service) -> None:
    service.engine.outcome = lambda _reading: Outcome.RESOLVED
    await service.post({**alert(), "status": "resolved"}, alert("B"))
    assert service.value("gateway_alerts_resolved_total") == 2


async def test_truncated_alerts_are_counted(service: Service) -> None:
    await service.post(alert(), truncatedAlerts=7)
    await service.post(alert(), truncatedAlerts=0)
    assert (await service.post(alert(), truncatedAlerts=2.0, version=4.0)).status == 202, "whole, to JSON"
    assert (await service.post(alert(), truncatedAlerts=2.5)).status == 422
    assert service.value("gateway_alerts_truncated_total") == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"alerts":[', 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"alerts"', 400),
        (b"{}", 422),
        (b'{"alerts":null}', 422),
        (b'{"alerts":{}}', 422),
        (b'{"alerts":[],"truncatedAlerts":-1}', 422),
    ],
)
async def test_bodies_that_are_no_webhook(service: Service, body: bytes, status: int) -> None:
    reply = await service.ask("POST", WEBHOOK, data=body, headers={"Content-Type": "application/json"})
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert reply.json["detail"]
    assert service.value("gateway_alerts_received_total") == 0


@pytest.mark.parametrize(
    ("error", "reason", "retry_after"),
    [
        (NotDurable("10.0.0.7 refused", retry_after=2.2), "not_durable", "3"),
        (Overloaded("too much", retry_after=0.01), "overloaded", "1"),
        (StoreUnsure("10.0.0.7 timed out", kind="timeout"), "dependency", "1"),
        (KubeUnavailable("10.0.0.7 reset"), "dependency", "1"),
    ],
)
async def test_503_with_retry_after_for_whatever_may_pass_later(
    service: Service, error: Exception, reason: str, retry_after: str
) -> None:
    service.engine.error = error
    reply = await service.post(alert())
    assert reply.status == 503
    assert reply.headers["Retry-After"] == retry_after
    assert reply.json["reason"] == reason
    assert b"10.0.0.7" not in reply.body
    assert service.value("gateway_alerts_received_total") == 0
    assert service.value("gateway_errors_total", type=reason) == 1


async def test_an_unforeseen_error_is_500_and_tells_nothing_of_the_inside(service: Service) -> None:
    service.engine.error = ZeroDivisionError("secret")
    reply = await service.post(alert())
    assert reply.status == 500
    assert reply.json["reason"] == "internal"
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body


async def test_the_alias_is_the_same_route(service: Service) -> None:
    reply = await service.ask("POST", "/api/v1/signals/prometheus", json={"alerts": [alert()]})
    assert reply.status == 202
    name = "gateway_requests_total"
    assert service.value(name, route=WEBHOOK, method="POST", code="202") == 1


async def test_text_of_a_sender_that_utf8_cannot_hold_does_not_break_the_answer(service: Service) -> None:
    body = b'{"alerts":[{"labels":{"\\ud800":1}},{"labels":{"alertname":"\\udfff\\u0000"}}]}'
    reply = await service.ask("POST", WEBHOOK, data=body, headers={"Content-Type": "application/json"})
    assert reply.status == 202
    assert [verdict["outcome"] for verdict in reply.json["alerts"]] == ["invalid", "duplicate"]
