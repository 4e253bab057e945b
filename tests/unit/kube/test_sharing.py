"""What is said of many alerts at once: only what is true of all, or the worst of it."""

from __future__ import annotations

import pytest

from gateway.kube.members import Member
from gateway.kube.sharing import (
    MIXED,
    RESOURCES_BUDGET,
    affected,
    length,
    shared_environment,
    shared_texts,
    worst,
)


def test_what_all_share_keeps_its_order() -> None:
    first = {"c": "1", "a": "2", "b": "3", "empty": ""}
    assert list(shared_texts(first, [{"a": "2", "b": "x", "c": "1"}]).items()) == [("c", "1"), ("a", "2")]
    assert shared_texts(first, []) == first


def test_a_label_that_is_empty_is_not_one_that_is_missing() -> None:
    assert shared_texts({"a": ""}, [{}]) == {}
    assert shared_texts({"a": ""}, [{"a": ""}]) == {"a": ""}


def test_a_value_that_was_cut_agrees_with_what_it_begins_and_only_if_something_was_cut() -> None:
    assert shared_texts({"a": "long…"}, [{"a": "longer"}], cut=True) == {"a": "long…"}
    assert shared_texts({"a": "long…"}, [{"a": "short"}], cut=True) == {}
    assert shared_texts({"a": "long…"}, [{"a": "longer"}]) == {}
    assert shared_texts({"a": "long"}, [{"a": "longer"}], cut=True) == {}


def test_one_environment_or_none() -> None:
    assert shared_environment(["production", "production"]) == "production"
    assert shared_environment(["production", "staging"]) == MIXED


@pytest.mark.parametrize(
    ("severities", "expected"),
    [(["info", "critical", "warning"], "critical"), (["info"], "info"), (["info", "warning"], "warning")],
)
def test_the_worst_severity_speaks_for_all(severities: list[str], expected: str) -> None:
    assert worst(severities) == expected


@pytest.mark.parametrize(
    ("first", "last", "at_least", "expected"),
    [
        ("2026-01-31T09:00:00.000000000Z", "2026-01-31T09:00:42.000000000Z", "", "42s"),
        ("2026-01-31T09:00:00.900000000Z", "2026-01-31T09:00:42.000000000Z", "", "42s"),
        ("2026-01-31T09:00:00.000000000Z", "2026-01-31T09:00:00.000000000Z", "", "0s"),
        ("2026-01-31T09:00:00.000000000Z", "2026-01-31T09:01:30.000001000Z", "5s", "91s"),
        ("2026-01-31T09:00:42.000000000Z", "2026-01-31T09:00:00.000000000Z", "7s", "7s"),
        ("yesterday", "2026-01-31T09:00:00.000000000Z", "7s", "7s"),
        ("2026-01-31T09:00:00.000000000Z", "2026-01-31T09:00:09.000000000Z", "5m0s", "9s"),
        ("2026-01-31T09:00:00Z", "2026-01-31T09:00:09.000000000Z", "9" * 5000 + "s", "9s"),
    ],
)
def test_a_length_is_in_whole_seconds_and_never_shrinks(
    first: str, last: str, at_least: str, expected: str
) -> None:
    assert length(first, last, at_least=at_least) == expected


def test_resources_beyond_their_budget_are_left_out_and_that_is_said() -> None:
    def member(n: int, resource: str) -> Member:
        return Member(fingerprint=str(n), resource=resource, occurrences=1, starts_at="", labels={}, marks={})

    few = [member(n, f"n:Pod:{n}") for n in range(10)]
    assert affected(few) == ([f"n:Pod:{n}" for n in range(10)], False)
    many = [member(n, f"{n:05}" + "<" * 100) for n in range(1000)]
    found, cut = affected(many)
    assert cut
    assert found == [m.resource for m in many[: len(found)]]
    assert 0.98 * RESOURCES_BUDGET < len(found) * (5 + 600 + 3) <= RESOURCES_BUDGET
