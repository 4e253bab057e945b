"""What a CRD's schema says about an object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dev.kubernetes.schema import Schema
from gateway.dev.kubernetes.server import project_crds
from tests.unit.dev.conftest import WIDGETS

SOURCE = WIDGETS["spec"]["versions"][0]["schema"]["openAPIV3Schema"]  # type: ignore[index]


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema(SOURCE)


def faults(schema: Schema, **spec: Any) -> set[tuple[str, str]]:
    _, findings = schema.admit({"spec": {"size": 1, **spec}})
    return {(cause.field, cause.reason) for cause in findings.causes}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, set()),
        ({"size": 0}, {("spec.size", "FieldValueInvalid")}),
        ({"size": 10}, {("spec.size", "FieldValueInvalid")}),
        ({"size": True}, {("spec.size", "FieldValueTypeInvalid")}),
        ({"size": None}, {("spec.size", "FieldValueRequired")}),
        ({"colours": ["a", "b", "c"]}, {("spec.colours", "FieldValueTooMany")}),
        ({"colours": ["a", ""]}, {("spec.colours[1]", "FieldValueInvalid")}),
        ({"colours": [None]}, {("spec.colours[0]", "FieldValueTypeInvalid")}),
        ({"port": "http"}, set()),
        ({"port": 80}, set()),
        ({"port": []}, {("spec.port", "FieldValueTypeInvalid")}),
        ({"ratio": 1}, set()),
        ({"ratio": 1.5}, set()),
        ({"ratio": "1"}, {("spec.ratio", "FieldValueTypeInvalid")}),
        ({"free": {"any": [None, {"thing": 1}]}}, set()),
    ],
)
def test_each_rule_finds_its_field(
    schema: Schema, spec: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert faults(schema, **spec) == expected


def test_pruning_defaulting_and_integers(schema: Schema) -> None:
    given = {
        "spec": {"size": 2.0, "note": None, "port": None, "extra": 1, "free": {"kept": None}},
        "other": {},
    }
    admitted, findings = schema.admit(given)
    assert admitted == {"spec": {"size": 2, "note": None, "shape": "round", "free": {"kept": None}}}
    assert isinstance(admitted["spec"]["size"], int)
    assert findings.unknown == ["spec.extra", "other"]
    assert given["spec"]["extra"] == 1  # type: ignore[index]


def test_what_is_immutable_may_be_set_once(schema: Schema) -> None:
    def broken(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        return [cause.field for cause in schema.rules([], {"spec": old}, {"spec": new})]

    assert broken({"owner": "a"}, {"owner": "b"}) == ["spec.owner"]
    assert broken({"owner": "a"}, {"owner": "a"}) == []
    assert broken({}, {"owner": "b"}) == []
    assert broken({"owner": "a"}, {}) == []
    assert schema.rules([], None, {"spec": {"owner": "b"}}) == []


def test_a_rule_that_is_not_known_is_said_to_be_unchecked() -> None:
    rule = {"rule": "self.size() > 3"}
    text = {"type": "string", "x-kubernetes-validations": [rule]}
    assert Schema({"type": "object", "properties": {"a": text}}).unchecked == ["a: self.size() > 3"]


def test_every_rule_of_the_projects_definitions_is_checked() -> None:
    for definition in project_crds():
        for version in definition["spec"]["versions"]:
            assert Schema(version["schema"]["openAPIV3Schema"]).unchecked == []


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("2026-01-31T09:00:00Z", True),
        ("2026-01-31t09:00:00.123456789z", True),
        ("2024-02-29T23:59:59+05:30", True),
        ("2026-01-31", False),
        ("2026-01-31T09:00Z", False),
        ("2026-01-31T09:00:00", False),
        ("2026-13-01T09:00:00Z", False),
        ("2026-01-31T24:00:00Z", False),
        ("2026-1-31T09:00:00Z", False),
        ("20260131T09:00:00Z", False),
    ],
)
def test_times(text: str, valid: bool) -> None:
    moment = Schema({"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}})
    assert (moment.admit({"at": text})[1].causes == []) is valid


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(("size", "colours", "shape", "note", "port", "ratio", "free", "owner", "x"))


@given(st.dictionaries(st.sampled_from(("spec", "status", "other")), st.dictionaries(_FIELDS, _ANY) | _ANY))
def test_any_object_is_judged_and_what_passed_passes_again(body: dict[str, Any]) -> None:
    judge = Schema(SOURCE)
    admitted, findings = judge.admit(body)
    if not findings.causes:
        again, second = judge.admit(admitted)
        assert (again, second.causes, second.unknown) == (admitted, [], [])
