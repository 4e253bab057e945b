"""Stored requests are read as they are, and one that contradicts itself is a fault and never an exception."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.holdings import applied_sum, problem_key, read_request

A = "a" * 64
TERMINAL = ("Completed", "Failed")


def own(count: Any = 3, applied: str | None = None, **changes: Any) -> dict[str, Any]:
    marks = json.dumps({A: {"p1.1": "0-2", "p2.1": "0-1"}}) if applied is None else applied
    item = {
        "metadata": {
            "namespace": "prod",
            "name": "rr-down-aaaaaaaaaa-2",
            "labels": {"remediation.kubernaut.io/generation": "2"},
            "annotations": {"remediation.kubernaut.io/applied": marks},
        },
        "spec": {
            "signalFingerprint": A,
            "deduplication": {"occurrenceCount": count},
            "signalLabels": {"alertname": "Down", "pod": "a"},
        },
    }
    return item | changes


def storm(count: int, members: object, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps({"members": members}).encode()).decode()
    return {
        "metadata": {"namespace": "prod", "name": "rr-down-storm-1"},
        "spec": {
            "isStorm": True,
            "signalFingerprint": "f" * 64,
            "signalLabels": {"alertname": "Down"},
            "providerData": data,
            "deduplication": {"occurrenceCount": count},
            **more,
        },
    }


def test_an_own_request_holds_its_count() -> None:
    request = read_request(own(), TERMINAL)
    assert request.fault is None
    assert request.name == "prod/rr-down-aaaaaaaaaa-2"
    assert request.occurrences == {A: 3}
    assert request.generation == 2
    assert request.problems[A] == problem_key({"pod": "a", "alertname": "Down", "empty": ""}, {})


@pytest.mark.parametrize(
    ("changes", "is_open"),
    [
        ({}, True),
        ({"status": {}}, True),
        ({"status": {"overallPhase": "Processing"}}, True),
        ({"status": {"overallPhase": "Completed"}}, False),
        ({"status": {"overallPhase": "Failed"}}, False),
        ({"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
    ],
)
def test_a_request_is_open_until_its_phase_is_terminal_or_it_is_being_deleted(
    changes: dict[str, Any], is_open: bool
) -> None:
    assert read_request(own(**changes), TERMINAL).open is is_open


@pytest.mark.parametrize(
    "item",
    [
        own(count=4),
        own(applied="{}"),
        own(applied=json.dumps({A: {"p1.1": "0-3"}, "b" * 64: {"p1.1": "0-1"}})),
        own(applied=json.dumps({A: {"p1.1": "3-0"}})),
        own(applied="not JSON"),
        own(applied="[]"),
        own(count="3"),
        own(spec={}),
        storm(3, [{"fingerprint": A, "occurrences": 2}]),
        storm(2, [{"fingerprint": A}]),
        storm(2, None),
        storm(2, [{"fingerprint": A, "occurrences": 1}, {"fingerprint": A, "occurrences": 1}]),
        storm(2, [{"fingerprint": A, "occurrences": 2, "marks": {"0.1": "0-1"}}]),
        storm(2, [{"fingerprint": A, "occurrences": 2, "marks": {"0.1": "2"}}]),
        storm(2, [{"fingerprint": A, "occurrences": 2}], stormAlertCount=3),
        {},
    ],
)
def test_a_request_that_contradicts_itself_is_a_fault(item: dict[str, Any]) -> None:
    assert read_request(item, TERMINAL).fault


def test_an_aggregated_request_holds_its_members() -> None:
    members = [
        {"fingerprint": A, "occurrences": 2, "labels": {"pod": "a"}},
        {
            "fingerprint": "b" * 64,
            "occurrences": 1,
            "labels": {"pod": "b"},
            "marks": {"0.1": "0-1", "1.4": "0-0"},
        },
    ]
    request = read_request(storm(3, members, stormAlertCount=2), TERMINAL)
    assert request.fault is None
    assert request.storm
    assert request.occurrences == {A: 2, "b" * 64: 1}
    assert request.problems[A] == problem_key({"alertname": "Down", "pod": "a"}, {})


def test_it_holds_what_it_counts_while_it_is_open() -> None:
    assert read_request(own(), TERMINAL).holds(A)
    assert not read_request(own(), TERMINAL).holds("b" * 64)
    assert not read_request(own(status={"overallPhase": "Failed"}), TERMINAL).holds(A)
    assert read_request(own(count=0, applied="{}"), TERMINAL).holds(A)
    members = [{"fingerprint": A, "occurrences": 0}, {"fingerprint": "b" * 64, "occurrences": 1}]
    request = read_request(storm(1, members), TERMINAL)
    assert (request.holds(A), request.holds("b" * 64)) == (False, True)


@pytest.mark.parametrize(
    ("marks", "total"),
    [({}, 0), ({"p.1": "0-0"}, 0), ({"p.1": "0-2,3-4"}, 3), ({"p.1": "5-7", "q.1": "0-1"}, 3)],
)
def test_marks_are_summed_up(marks: dict[str, str], total: int) -> None:
    assert applied_sum(json.dumps({A: marks})) == {A: total}


@pytest.mark.parametrize("mark", ["", "2", "2-1", "0-2,1-3", "0-2,", "a-b", "0--1", "-1-2"])
def test_a_mark_of_another_form_is_refused(mark: str) -> None:
    with pytest.raises(ValueError, match="mark"):
        applied_sum(json.dumps({A: {"p.1": mark}}))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"metadata": _json, "spec": _json, "status": _json}), _json, _json)
def test_any_object_can_be_read(item: dict[str, Any], provider_data: object, applied: object) -> None:
    read_request(item, TERMINAL)
    read_request(storm(1, provider_data), TERMINAL)
    read_request(own(applied=json.dumps(applied)), TERMINAL)
    read_request(own(status=provider_data, metadata=applied), TERMINAL)
