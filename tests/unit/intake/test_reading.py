"""Each alert of a webhook is read by itself: taken, denied or invalid, and never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.errors import PayloadError, Unjudged
from gateway.intake.payload import decode
from gateway.intake.reading import LARGEST_ALERT, LARGEST_RAW, Intake, InvalidReason, Reading, Rejected
from gateway.model import Outcome, Severity
from tests.unit.intake.conftest import Desk

NOW = "2026-11-21T05:00:00.000000000Z"
START = "2026-11-21T04:51:54.679799966Z"
GOOD = {"labels": {"alertname": "A"}}

STRICT = (
    """policy.rules=[{matchers: ['environment="test"'], action: deny, reason: test_environment}, """
    """{matchers: ['identity!="team-a"'], action: deny, reason: stranger}]"""
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
LABELS = st.dictionaries(st.text() | st.sampled_from(["alertname", "namespace", "pod", "job"]), st.text())
TIMES = st.sampled_from([START, "0001-01-01T00:00:00Z"])
ALERTS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "labels": JSON | LABELS,
        "annotations": JSON | st.dictionaries(st.text() | st.just("fingerprint"), st.text()),
        "status": JSON | st.sampled_from(["firing", "resolved"]),
        "startsAt": JSON | TIMES,
        "endsAt": JSON | TIMES,
    },
)
INTAKES = [
    Intake(load(None, {}), {}.get),
    Intake(load(None, {}, [STRICT, "policy.default=deny"]), {"n": "test"}.get),
]


def test_an_alert_of_a_real_alertmanager(desk: Any, recorded: bytes) -> None:
    readings = desk.read_bytes(recorded)
    assert len({reading.fingerprint for reading in readings}) == 50
    assert {reading.group for reading in readings} == {"prod/DiskFull"}
    first = readings[0]
    assert (first.resolved, first.dated, first.starts_at, first.ends_at) == (False, True, START, "")
    assert (first.namespace, first.alertname) == ("prod", "DiskFull")
    signal = first.signal()
    assert (signal.severity, signal.environment, signal.priority) == (Severity.WARNING, "unknown", "P2")
    assert signal.labels["instance"] == "node-0000.example.internal:9100"
    assert json.loads(signal.raw)["fingerprint"] == "71add5ca4dff4207"
    assert (signal.fingerprint, signal.group) == (first.fingerprint, first.group)
    assert (signal.starts_at, signal.dated, signal.received_at) == (START, True, NOW)


@pytest.mark.parametrize(
    ("alert", "reason", "detail"),
    [
        ("text", InvalidReason.WRONG_TYPE, "$.alerts[0]: Expected `object`, got `str`"),
        (None, InvalidReason.WRONG_TYPE, "$.alerts[0]: Expected `object`, got `null`"),
        (
            {"labels": {"alertname": 5}},
            InvalidReason.WRONG_TYPE,
            '$.alerts[0].labels["alertname"]: Expected `str`',
        ),
        ({"labels": 5}, InvalidReason.WRONG_TYPE, "$.alerts[0].labels: Expected `object"),
        (
            GOOD | {"status": "maybe"},
            InvalidReason.WRONG_TYPE,
            "$.alerts[0].status: Invalid enum value 'maybe'",
        ),
        ({}, InvalidReason.NO_ALERTNAME, "$.alerts[0].labels: there is no label alertname"),
        ({"labels": None}, InvalidReason.NO_ALERTNAME, "$.alerts[0].labels: there is no label alertname"),
        ({"labels": {"alertname": ""}}, InvalidReason.NO_ALERTNAME, "there is no label alertname"),
        (
            {"labels": {"alertname": "A", "": "x"}},
            InvalidReason.BAD_LABEL,
            '$.alerts[0].labels[""]: a label needs',
        ),
        (
            GOOD | {"startsAt": "today"},
            InvalidReason.BAD_TIME,
            "$.alerts[0].startsAt: 'today' is no RFC 3339 time",
        ),
        (GOOD | {"endsAt": "2026-99-01T00:00:00Z"}, InvalidReason.BAD_TIME, "$.alerts[0].endsAt: "),
        (GOOD | {"startsAt": "9" * 100_000}, InvalidReason.BAD_TIME, "$.alerts[0].startsAt: "),
        (
            {"labels": {"alertname": "A", "x": "y" * LARGEST_ALERT}},
            InvalidReason.TOO_LARGE,
            "$.alerts[0]: labels and annotations exceed 524288 bytes",
        ),
    ],
)
def test_a_bad_alert_is_invalid_and_its_siblings_are_taken(
    desk: Any, alert: Any, reason: InvalidReason, detail: str
) -> None:
    rejected = desk.refused(alert)
    assert (rejected.outcome, rejected.reason, rejected.fingerprint) == (Outcome.INVALID, reason, None)
    assert rejected.detail.startswith(detail) or detail in rejected.detail
    assert len(rejected.detail) < 200
    before, bad, after = desk.read(GOOD, alert, GOOD)
    assert isinstance(before, Reading)
    assert isinstance(after, Reading)
    assert isinstance(bad, Rejected)
    assert bad.detail.startswith("$.alerts[1]")


@pytest.mark.parametrize(
    "labels",
    [
        {"x": "y" * 65536},
        {f"label{number}": "value" for number in range(5000)},
        {"x": "a\0b", "a\0b": "x"},
        {"alertname": "💥 \u062e\u0637\u0623 \u202e reversed", "namespace": "💥"},
        {"alertname": "-not/a:DNS_label-", "namespace": "Not A Namespace/../.."},
        {"alertname": "a" * 65536, "namespace": "n" * 65536},
        {"instance": "\ud800"},
    ],
)
def test_whatever_labels_hold_they_are_taken_as_they_are(desk: Any, labels: dict[str, str]) -> None:
    reading = desk.one(**labels)
    signal = reading.signal()
    sent = {"alertname": "A"} | labels
    assert signal.labels == {name: value.replace("\ud800", "�") for name, value in sent.items()}
    assert len(signal.group) < 200
    assert len(signal.fingerprint) == 64


def test_an_alert_as_large_as_allowed_is_taken(desk: Any) -> None:
    value = "\x01" * (LARGEST_ALERT - len("alertnameAx"))  # six times as long in JSON
    reading = desk.one(x=value)
    assert reading.signal().raw == b""
    assert desk.refused({"labels": {"alertname": "A", "x": value + "y"}}).reason == InvalidReason.TOO_LARGE
    assert desk.refused({"labels": {"alertname": "A", "x": "é" * (LARGEST_ALERT // 2)}}).reason == "too_large"
    assert desk.refused(GOOD | {"annotations": {"x": "y" * LARGEST_ALERT}}).reason == "too_large"


def test_the_json_of_an_alert_is_kept_up_to_a_bound(desk: Any) -> None:
    envelope = len(json.dumps({"labels": {"alertname": "A", "x": ""}, "annotations": None}))
    assert len(desk.one(x="y" * (LARGEST_RAW - envelope)).signal().raw) == LARGEST_RAW
    assert desk.one(x="y" * (LARGEST_RAW - envelope + 1)).signal().raw == b""


def test_each_alert_has_its_own_status(desk: Any) -> None:
    alerts = [GOOD | {"status": "resolved"}, GOOD | {"status": "firing"}, GOOD]
    body = json.dumps({"status": "resolved", "alerts": alerts}).encode()
    assert [reading.resolved for reading in desk.read_bytes(body)] == [True, False, False]


@pytest.mark.parametrize(
    ("times", "starts_at", "dated", "ends_at"),
    [
        ({}, NOW, False, NOW),
        ({"startsAt": None, "endsAt": None}, NOW, False, NOW),
        ({"startsAt": "", "endsAt": ""}, NOW, False, NOW),
        ({"startsAt": "0001-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}, NOW, False, NOW),
        ({"startsAt": NOW}, NOW, True, NOW),
        (
            {"startsAt": "2026-11-21T06:51:54.67+02:00", "endsAt": "2026-11-21T05:00:00Z"},
            "2026-11-21T04:51:54.670000000Z",
            True,
            "2026-11-21T05:00:00.000000000Z",
        ),
    ],
)
def test_times_have_one_form_and_the_time_of_receipt_stands_in(
    desk: Any, times: dict[str, Any], starts_at: str, dated: bool, ends_at: str
) -> None:
    firing, resolved = desk.read(GOOD | times, GOOD | times | {"status": "resolved"})
    assert (firing.starts_at, firing.dated, firing.ends_at) == (starts_at, dated, "")
    assert (resolved.starts_at, resolved.dated, resolved.ends_at) == (starts_at, dated, ends_at)
    assert (firing.signal().starts_at, firing.signal().dated) == (starts_at, dated)


def test_a_signal_is_made_once_and_only_when_it_is_asked_for() -> None:
    asked = []

    def environment_of(namespace: str) -> str:
        asked.append(namespace)
        return "production"

    intake = Intake(load(None, {}), environment_of)
    webhook = decode(
        b'{"alerts":[{"labels":{"alertname":"A","namespace":"n","severity":"critical","empty":""}}]}'
    )
    (reading,) = intake.read(webhook, received_at=NOW)
    assert asked == []
    assert isinstance(reading, Reading)
    signal = reading.signal()
    assert reading.signal() is signal
    assert asked == ["n"]
    assert (signal.environment, signal.priority) == ("production", "P0")
    assert signal.labels == {"alertname": "A", "namespace": "n", "severity": "critical"}


def test_the_label_of_the_severity_stays_as_it_was_sent(desk: Any) -> None:
    signal = desk.one(severity="Page").signal()
    assert (signal.severity, signal.labels["severity"]) == (Severity.CRITICAL, "Page")


def test_a_denied_alert_says_why_and_its_siblings_are_taken(make_desk: Any) -> None:
    desk = make_desk(STRICT, environments={"n": "test"})
    taken, denied = desk.read(GOOD, {"labels": {"alertname": "A", "namespace": "n"}}, identity="team-a")
    assert isinstance(taken, Reading)
    assert (denied.outcome, denied.reason) == (Outcome.DENIED, "test_environment")
    assert denied.detail == "denied by policy.rules[0]"
    assert denied.fingerprint == make_desk().one(namespace="n").fingerprint
    assert desk.refused(GOOD, identity="team-b").reason == "stranger"
    assert desk.refused(GOOD | {"status": "resolved"}).reason == "stranger"
    assert desk.intake.denial_reasons == ("default_deny", "stranger", "test_environment")


def test_a_label_cannot_pass_for_the_sender(make_desk: Any) -> None:
    forged = {"labels": {"alertname": "A", "identity": "team-a"}}
    assert make_desk(STRICT).refused(forged, identity="team-b").reason == "stranger"


def test_an_empty_list_is_read_as_one(desk: Any) -> None:
    assert desk.read() == []


@given(st.lists(ALERTS, max_size=4))
def test_any_alerts_are_read_in_order_and_nothing_is_raised(alerts: list[Any]) -> None:
    webhook = decode(json.dumps({"alerts": alerts}).encode())
    for intake in INTAKES:
        results = intake.read(webhook, received_at=NOW, identity="i", source="s")
        assert len(results) == len(alerts)
        for result in results:
            if isinstance(result, Rejected):
                assert result.reason in {*InvalidReason, *intake.denial_reasons}
            else:
                assert len(result.fingerprint) == 64
                assert len(result.starts_at) == 30
                assert result.signal().fingerprint == result.fingerprint


SIBLINGS = st.lists(
    st.fixed_dictionaries(
        {
            "labels": st.sampled_from(
                [{"alertname": "A"}, {"alertname": "A", "pod": "p"}, {"alertname": ""}, {"": "x"}, 5]
            )
        },
        optional={
            "annotations": st.sampled_from(
                [None, {}, {"fingerprint": "mine"}, {"fingerprint": ""}, {"value": "1"}]
            ),
            "status": st.sampled_from(["firing", "resolved", "odd"]),
            "startsAt": st.sampled_from([START, "0001-01-01T00:00:00Z", "yesterday", None]),
            "endsAt": st.sampled_from([START, "0001-01-01T00:00:00Z", "tomorrow", None]),
        },
    ),
    max_size=8,
)


@given(st.lists(SIBLINGS, min_size=1, max_size=3))
def test_labels_that_were_seen_before_change_nothing(webhooks: list[list[Any]]) -> None:
    def told(intake: Intake, alerts: list[Any]) -> list[Any]:
        webhook = decode(json.dumps({"alerts": alerts}).encode())
        return [
            result
            if isinstance(result, Rejected)
            else (
                result.fingerprint,
                result.group,
                result.resolved,
                result.starts_at,
                result.dated,
                result.ends_at,
                result.namespace,
                result.alertname,
                result.problem,
            )
            for result in intake.read(webhook, received_at=NOW)
        ]

    knowing = Intake(load(None, {}), {}.get)
    for alerts in webhooks:
        alone = [
            told(Intake(load(None, {}), {}.get), [{}] * number + [alert])[-1]
            for number, alert in enumerate(alerts)
        ]
        assert told(knowing, alerts) == alone


@given(st.binary() | st.binary().map(lambda inner: b'{"alerts":[{"labels":{"alertname":"' + inner + b'"}}]}'))
def test_any_bytes_give_a_payload_error_or_readings(body: bytes) -> None:
    try:
        webhook = decode(body)
    except PayloadError:
        return
    for result in INTAKES[0].read(webhook, received_at=NOW):
        assert isinstance(result, Rejected) or result.signal()


def test_what_a_policy_about_environments_cannot_judge_yet_is_not_let_pass(make_desk: type[Desk]) -> None:
    desk = make_desk(STRICT, environments={"n": "test"})
    desk.environments_known = False

    with pytest.raises(Unjudged):
        desk.one(namespace="elsewhere", caller={"identity": "team-a"})
    # Neither does it wait where the alert says it itself, or where there is no namespace to ask.
    assert desk.one(namespace="elsewhere", environment="staging", caller={"identity": "team-a"})
    assert desk.one(caller={"identity": "team-a"})

    desk.environments_known = True
    assert desk.one(namespace="elsewhere", caller={"identity": "team-a"})


def test_a_policy_that_asks_for_no_environment_waits_for_none(make_desk: type[Desk]) -> None:
    desk = make_desk("""policy.rules=[{matchers: ['identity!="team-a"'], action: deny}]""")
    desk.environments_known = False

    assert desk.one(namespace="elsewhere", caller={"identity": "team-a"})


def test_labels_that_are_there_twice_are_the_same_ones_at_every_look(desk: Desk) -> None:
    (reading,) = desk.read_bytes(b'{"alerts":[{"labels":5,"labels":{"alertname":"A"}}]}')
    assert isinstance(reading, Reading)
    assert reading.alertname == "A"
    assert reading.signal().labels == {"alertname": "A"}
