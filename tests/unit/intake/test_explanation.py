"""An explanation tells what the hot path decides, and which rule decided it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from gateway.intake.explanation import Explanation, Fate, explain
from gateway.intake.payload import decode

NOW = "2026-11-21T05:00:00.000000000Z"

SETS = (
    """policy.rules=[{matchers: ['namespace="kube-system"'], action: deny, reason: system_namespace}]""",
    """dedup.rules=[{matchers: ['team="a"'], by: labels}]""",
    """classify.priority=[{matchers: ['team="a"'], priority: P3}]""",
)


def explained(desk: Any, *alerts: Any) -> list[Explanation]:
    return explain(desk.intake, decode(json.dumps({"alerts": alerts}).encode()), received_at=NOW)


def test_every_decision_is_told_with_its_rule(make_desk: Any) -> None:
    desk = make_desk(*SETS, environments={"prod-api": "production"})
    labels = {"alertname": "A", "namespace": "prod-api", "pod": "web-1", "severity": "page"}
    (found,) = explained(desk, {"labels": labels})
    assert found.fate is Fate.TAKEN
    assert msgspec.to_builtins(found) == {
        "position": 0,
        "fate": "taken",
        "detail": "",
        "alertname": "A",
        "namespace": "prod-api",
        "resolved": False,
        "startsAt": NOW,
        "dated": False,
        "identity": {
            "fingerprint": desk.one(**labels).fingerprint,
            "group": "prod-api/A",
            "resource": "prod-api:Pod:web-1",
            "basis": "resource",
            "rule": "default",
        },
        "classification": {
            "severity": "critical",
            "severityBasis": "synonym",
            "environment": "production",
            "environmentBasis": "namespace",
            "priority": "P0",
            "priorityRule": "shipped: critical in production",
        },
        "policy": {"allowed": True, "rule": "policy.default", "reason": ""},
        "hold": [3, 60_000, 60_000, 300_000, False, 100, 1000],
        "holdRule": "storm",
    }


def test_configured_rules_are_told_by_their_path(make_desk: Any) -> None:
    (found,) = explained(make_desk(*SETS), {"labels": {"alertname": "A", "team": "a"}})
    assert found.identity is not None
    assert found.classification is not None
    assert found.identity.rule == "dedup.rules[0]"
    assert found.classification.priority_rule == "classify.priority[0]"


def test_how_it_is_held_is_told_with_its_rule(make_desk: Any) -> None:
    rules = """storm.rules=[{matchers: ['team="a"'], mode: immediate}, {matchers: ['team="b"'], hold: 5s}]"""
    alerts = [{"labels": {"alertname": "A", "team": team}} for team in "abc"]
    at_once, shortly, default = explained(make_desk(rules), *alerts)
    assert (at_once.hold, at_once.hold_rule) == (None, "storm.rules[0]")
    assert shortly.hold is not None
    assert (shortly.hold.hold, shortly.hold_rule) == (5000, "storm.rules[1]")
    assert default.hold is not None
    assert (default.hold.hold, default.hold_rule) == (60_000, "storm")


def test_what_opens_no_request_is_not_held(make_desk: Any) -> None:
    resolved, denied = explained(
        make_desk(*SETS),
        {"labels": {"alertname": "A"}, "status": "resolved"},
        {"labels": {"alertname": "A", "namespace": "kube-system"}},
    )
    assert (resolved.hold, resolved.hold_rule) == (denied.hold, denied.hold_rule) == (None, "")


def test_what_is_not_taken_is_explained_too(make_desk: Any) -> None:
    denied, invalid = explained(
        make_desk(*SETS), {"labels": {"alertname": "A", "namespace": "kube-system"}}, {}
    )
    assert denied.fate is Fate.DENIED
    assert denied.policy is not None
    assert (denied.policy.rule, denied.policy.reason) == ("policy.rules[0]", "system_namespace")
    assert denied.identity is not None
    assert (invalid.position, invalid.fate, invalid.identity) == (1, Fate.INVALID, None)
    assert invalid.detail == "$.alerts[1].labels: there is no label alertname"
