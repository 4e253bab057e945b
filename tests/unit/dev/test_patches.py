"""The examples of RFC 7396 and RFC 6902, and what holds for all patches."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dev.kubernetes.patches import PatchError, json_patch, merge_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"baz": "qux", "foo": "bar"}),
        (
            {"foo": ["bar", "baz"]},
            {"op": "add", "path": "/foo/1", "value": "qux"},
            {"foo": ["bar", "qux", "baz"]},
        ),
        ({"baz": 1, "foo": 2}, {"op": "remove", "path": "/baz"}, {"foo": 2}),
        ({"foo": [1, 2, 3]}, {"op": "remove", "path": "/foo/1"}, {"foo": [1, 3]}),
        ({"baz": 1}, {"op": "replace", "path": "/baz", "value": 2}, {"baz": 2}),
        ({"a": {"b": 1}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"}, {"a": {}, "c": {"d": 1}}),
        ({"foo": [1, 2, 3]}, {"op": "move", "from": "/foo/0", "path": "/foo/2"}, {"foo": [2, 3, 1]}),
        ({"a": {"b": []}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": []}, "c": {"b": []}}),
        ({"~/": 1}, {"op": "test", "path": "/~0~1", "value": 1.0}, {"~/": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": [2]}, {"a": [1, [2]]}),
        ({"a": 1}, {"op": "add", "path": "", "value": 2}, 2),
        ({"a": 1}, {"op": "replace", "path": "/b", "value": 2}, {"a": 1, "b": 2}),  # as the API server does
    ],
)
def test_operations(document: Any, operation: Any, result: Any) -> None:
    assert json_patch(document, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": "1"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/none", "value": 1},
        {"op": "remove", "path": "/none"},
        {"op": "remove", "path": "/list/2"},
        {"op": "remove", "path": "/list/01"},
        {"op": "remove", "path": "/list/-1"},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/none/b", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/b"},
        {"op": "move", "from": "/none", "path": "/b"},
        {"op": "dance", "path": "/a"},
        {"path": "/a"},
        "text",
    ],
)
def test_an_operation_that_cannot_be_done_is_an_error(operation: Any) -> None:
    with pytest.raises(PatchError):
        json_patch({"a": 1, "list": [1, 2]}, [operation])


def test_no_operation_is_done_when_one_fails() -> None:
    document = {"a": [1]}
    with pytest.raises(PatchError):
        json_patch(
            document, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "test", "path": "/a", "value": []}]
        )
    assert document == {"a": [1]}


@given(JSON, JSON)
def test_a_merge_is_idempotent_and_changes_nothing_that_it_was_given(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert (target, patch) == before


@given(
    JSON,
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(("add", "remove", "replace", "test", "move"))},
            optional={
                "path": st.text("/ab~01-", max_size=5),
                "from": st.text("/ab~01-", max_size=5),
                "value": JSON,
            },
        ),
        max_size=4,
    ),
)
def test_any_json_patch_applies_or_is_refused(document: Any, operations: list[Any]) -> None:
    before = copy.deepcopy(document)
    with contextlib.suppress(PatchError):
        json_patch(document, operations)
    assert document == before
