"""What fires against what is open: each alert's verdict, the requests that are left over, and the order of both."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.cli.alertmanager import Firing
from gateway.cli.firing import Comparison, Question, State, compare
from gateway.cli.holdings import Request, read_request
from gateway.config.settings import Dedup, DedupRule, Policy, PolicyRule, Settings
from gateway.intake.payload import Alert
from gateway.intake.reading import Intake

NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
LONG_AGO = "2026-01-31T08:00:00.000Z"
PREFIX = "remediation.kubernaut.io/"


def fires(pod: str = "a", *, starts_at: str = LONG_AGO, **more: Any) -> Firing:
    labels = more.pop("labels", {"alertname": "Down", "namespace": "prod", "pod": pod})
    fields = {"annotations": {}, "receivers": ("gateway",), **more}
    return Firing(labels=labels, starts_at=starts_at, **fields)


def intake(settings: Settings | None = None) -> Intake:
    return Intake(settings or Settings(), lambda _: None)


def fingerprint(alert: Firing, settings: Settings | None = None) -> str:
    return intake(settings).identify(Alert(labels=alert.labels, annotations=alert.annotations)).fingerprint


def stored(alert: Firing, number: int = 1, **changes: Any) -> Request:
    """The gateway's own request of an alert."""
    found = fingerprint(alert)
    metadata = {
        "namespace": "prod",
        "name": f"rr-down-{alert.labels['pod']}-{number}",
        "labels": {
            "app.kubernetes.io/managed-by": "gateway",
            PREFIX + "generation": str(number),
        },
        "annotations": {PREFIX + "applied": json.dumps({found: {"p.1": "0-1"}})},
    }
    spec = {
        "signalFingerprint": found,
        "signalName": "Down",
        "signalType": "prometheus",
        "deduplication": {"occurrenceCount": 1, "lastSeen": LONG_AGO},
    }
    item = {"metadata": metadata, "spec": spec, **changes}
    return read_request(item, Settings().dedup.terminal_phases)


def storm(*alerts: Firing) -> Request:
    members = [{"fingerprint": fingerprint(alert), "occurrences": 2} for alert in alerts]
    data = base64.b64encode(json.dumps({"members": members}).encode()).decode()
    metadata = {
        "namespace": "prod",
        "name": "rr-down-storm-w1",
        "labels": {"app.kubernetes.io/managed-by": "gateway", PREFIX + "window": "w1"},
    }
    spec = {
        "isStorm": True,
        "signalType": "prometheus",
        "signalFingerprint": "f" * 64,
        "providerData": data,
        "deduplication": {"occurrenceCount": 2 * len(alerts)},
    }
    return read_request({"metadata": metadata, "spec": spec}, ())


def judged(
    alerts: list[Firing],
    requests: list[Request],
    settings: Settings | None = None,
    **question: Any,
) -> Comparison:
    return compare(alerts, requests, intake(settings), Question(**question), now=NOW)


def only(alert: Firing, requests: list[Request], settings: Settings | None = None, **question: Any) -> State:
    """The verdict on the only alert, with the agreement that a finding is never clean."""
    comparison = judged([alert], requests, settings, **question)
    (verdict,) = comparison.verdicts
    findings = {State.MISSING, State.INVALID, State.TWICE}
    assert comparison.clean is (verdict.state not in findings)
    return verdict.state


def test_an_open_request_with_the_alerts_fingerprint_holds_it() -> None:
    comparison = judged([fires()], [stored(fires())])
    assert [(verdict.state, verdict.requests) for verdict in comparison.verdicts] == [
        (State.HELD, ("prod/rr-down-a-1",))
    ]
    assert comparison.verdicts[0].fingerprint == fingerprint(fires())
    assert not comparison.stale


def test_an_alert_without_an_open_request_is_missing() -> None:
    assert only(fires(), []) is State.MISSING
    assert only(fires(), [stored(fires("b"))]) is State.MISSING


def test_a_member_of_an_aggregated_request_is_held_by_it() -> None:
    comparison = judged([fires("a"), fires("b"), fires("c")], [storm(fires("a"), fires("b"))])
    assert [(verdict.alert.labels["pod"], verdict.state) for verdict in comparison.verdicts] == [
        ("c", State.MISSING),
        ("a", State.HELD),
        ("b", State.HELD),
    ]
    assert not comparison.stale


def test_an_aggregated_request_is_stale_once_none_of_its_members_fires() -> None:
    request = storm(fires("a"), fires("b"))
    assert not judged([fires("b")], [request]).stale
    assert judged([fires("c")], [request]).stale == (request,)


def test_a_closed_request_holds_nothing_and_is_named() -> None:
    (verdict,) = judged([fires()], [stored(fires(), status={"overallPhase": "Completed"})]).verdicts
    assert (verdict.state, verdict.detail) == (State.MISSING, "closed: prod/rr-down-a-1 (Completed)")


def test_two_open_requests_are_a_finding() -> None:
    (verdict,) = judged([fires()], [stored(fires()), stored(fires(), 2)]).verdicts
    assert verdict.state is State.TWICE
    assert verdict.requests == ("prod/rr-down-a-1", "prod/rr-down-a-2")
    assert only(fires(), [stored(fires()), storm(fires())]) is State.TWICE


def test_requests_of_others_hold_nothing_and_are_not_stale() -> None:
    nobodys = {"namespace": "prod", "name": "theirs"}
    foreign = read_request({"metadata": nobodys, "spec": _spec(fingerprint(fires()))}, ())
    event = stored(fires("b"), spec={**_spec(fingerprint(fires("b"))), "signalType": "kubernetes-event"})
    assert foreign.occurrences
    assert event.occurrences
    comparison = judged([fires()], [foreign, event])
    assert comparison.verdicts[0].state is State.MISSING
    assert not comparison.stale


@pytest.mark.parametrize(
    "mark",
    [
        {"labels": {"app.kubernetes.io/managed-by": "gateway"}},
        {"labels": {PREFIX + "window": "w1"}},
        {"annotations": {PREFIX + "applied": "{}"}},
    ],
)
def test_any_of_the_gateways_marks_makes_a_request_its_own(mark: dict[str, Any]) -> None:
    assert only(fires(), [stored(fires(), metadata={"namespace": "prod", "name": "x", **mark})]) is State.HELD


def test_only_open_requests_are_stale() -> None:
    left = stored(fires("b"))
    closed = stored(fires("c"), status={"overallPhase": "Completed"})
    assert judged([fires()], [left, closed]).stale == (left,)


@pytest.mark.parametrize(
    ("starts_at", "state"),
    [
        ("2026-01-31T08:58:00.001Z", State.PENDING),
        ("2026-01-31T08:58:00Z", State.MISSING),
        ("2026-01-31T10:59:59+02:00", State.PENDING),
        ("2026-01-31T12:00:00Z", State.PENDING),
    ],
)
def test_a_young_alert_is_pending(starts_at: str, state: State) -> None:
    assert only(fires(starts_at=starts_at), []) is state
    assert only(fires(starts_at=starts_at), [], grace=0.0) is (
        State.PENDING if "12:00" in starts_at else State.MISSING
    )
    assert only(fires(starts_at=starts_at), [stored(fires())]) is State.HELD


def test_an_alert_in_no_group_yet_is_pending_whenever_it_began() -> None:
    assert only(fires(unprocessed=True), []) is State.PENDING


@pytest.mark.parametrize(
    ("reasons", "include", "state"),
    [
        (("silenced",), (), State.SUPPRESSED),
        (("silenced",), ("silenced",), State.MISSING),
        (("silenced",), ("inhibited", "muted"), State.SUPPRESSED),
        (("silenced", "inhibited"), ("silenced",), State.SUPPRESSED),
        (("silenced", "inhibited"), ("silenced", "inhibited"), State.MISSING),
        (("muted",), ("muted",), State.MISSING),
    ],
)
def test_a_suppressed_alert_needs_no_request_unless_it_is_asked_for(
    reasons: tuple[str, ...], include: tuple[str, ...], state: State
) -> None:
    assert only(fires(suppressed=reasons), [], include=frozenset(include)) is state


def test_a_suppressed_alert_still_fires_so_its_request_is_not_stale() -> None:
    comparison = judged([fires(suppressed=("silenced",))], [stored(fires())])
    assert comparison.verdicts[0].state is State.HELD
    assert not comparison.stale


def test_alerts_of_other_receivers_are_left_out_but_still_fire() -> None:
    elsewhere = fires("b", receivers=("pager",))
    comparison = judged(
        [fires("a", receivers=("pager", "gateway")), elsewhere],
        [stored(fires("b"))],
        receivers=frozenset({"gateway"}),
    )
    assert [verdict.alert.labels["pod"] for verdict in comparison.verdicts] == ["a"]
    assert not comparison.stale


def test_what_the_policy_denies_needs_no_request() -> None:
    rule = PolicyRule(
        matchers=('identity="am"', 'namespace="prod"'), action="deny", reason="system_namespace"
    )
    settings = Settings(policy=Policy(rules=(rule,)))
    assert only(fires(), [], settings, identity="am") is State.DENIED
    assert only(fires(), [], settings) is State.MISSING
    assert only(fires(), [stored(fires())], settings, identity="am") is State.HELD


def test_what_the_gateway_cannot_take_is_a_finding_of_its_own() -> None:
    comparison = judged([fires(labels={"namespace": "prod"})], [])
    (verdict,) = comparison.verdicts
    assert not comparison.clean
    assert (verdict.state, verdict.fingerprint) == (State.INVALID, "")
    assert verdict.detail == "there is no label alertname"


def test_alerts_are_identified_by_the_rules_of_the_settings() -> None:
    rule = DedupRule(matchers=('alertname="Down"',), ignore=("pod",))
    settings = Settings(dedup=Dedup(rules=(rule,)))
    moved = fires("other-pod")
    assert fingerprint(moved, settings) != fingerprint(moved)
    request = stored(fires(), spec=_spec(fingerprint(fires(), settings)))
    assert only(moved, [request], settings) is State.HELD
    assert only(moved, [request]) is State.MISSING


def test_a_request_that_cannot_be_read_is_told_and_not_stale() -> None:
    broken = read_request(
        {
            "metadata": {"namespace": "prod", "name": "x", "labels": {PREFIX + "window": "w"}},
            "spec": {"isStorm": True, "providerData": "?", "deduplication": {"occurrenceCount": 1}},
        },
        (),
    )
    comparison = judged([fires()], [broken])
    assert comparison.unreadable == (broken,)
    assert not comparison.stale


def test_a_stale_request_tells_when_its_alert_resolved() -> None:
    metadata = {
        "namespace": "prod",
        "name": "rr-down-a-1",
        "annotations": {
            PREFIX + "applied": "{}",
            PREFIX + "signal-resolved-at": "2026-01-31T08:30:00Z",
        },
    }
    (request,) = judged([], [stored(fires(), metadata=metadata)]).stale
    assert request.resolved_at == "2026-01-31T08:30:00Z"
    assert request.last_seen == LONG_AGO


def test_findings_come_first() -> None:
    comparison = judged(
        [
            fires("held"),
            fires("quiet", suppressed=("silenced",)),
            fires("young", starts_at="2026-01-31T08:59:59Z"),
            fires("lost"),
        ],
        [stored(fires("held"))],
    )
    assert [verdict.alert.labels["pod"] for verdict in comparison.verdicts] == [
        "lost",
        "young",
        "quiet",
        "held",
    ]
    assert comparison.total(State.MISSING) == comparison.total(State.HELD) == 1


def _spec(found: str) -> dict[str, Any]:
    return {
        "signalFingerprint": found,
        "signalType": "prometheus",
        "deduplication": {"occurrenceCount": 1},
    }
