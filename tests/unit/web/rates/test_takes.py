from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.rates.takes import PIECES, Takes

steps = st.lists(st.tuples(st.floats(0, 1) | st.floats(0, 20), st.integers(0, 5)), max_size=60)
"""Pauses, and how much is taken then; 0 only looks."""


@given(steps=steps, span=st.floats(0.1, 60))
def test_without_a_grain_exactly_what_was_taken_within_the_span_is_known(
    steps: list[tuple[float, int]], span: float
) -> None:
    takes, now, log = Takes(span), 0.0, []
    for pause, count in steps:
        now += pause
        if count:
            takes.add(now, count)
        log.append((now, count))
        assert takes.used(now) == sum(count for at, count in log if now - at < span)


@given(steps=steps, span=st.floats(0.1, 60))
def test_with_a_grain_a_window_is_never_thought_emptier_than_it_is_and_stays_small(
    steps: list[tuple[float, int]], span: float
) -> None:
    grain = Takes.grain(span, 1000)
    takes, now, log = Takes(span, grain=grain), 0.0, []
    for pause, count in steps:
        now += pause
        if count:
            takes.add(now, count)
        log.append((now, count))
        exact = sum(count for at, count in log if now - at < span)
        assert exact <= takes.used(now) <= sum(count for at, count in log if now - at < span + grain)
        assert len(list(takes)) <= PIECES + 1


@pytest.mark.parametrize(("most", "told_apart"), [(1, True), (PIECES, True), (PIECES + 1, False)])
def test_few_takes_are_told_apart(most: int, told_apart: bool) -> None:
    assert (Takes.grain(60.0, most) == 0) is told_apart


def test_what_is_told_as_ages_comes_back_and_never_older_than_it_was() -> None:
    takes = Takes(10.0)
    takes.add(1.0)
    takes.add(3.0004, 2)
    assert takes.ages(5.0) == [4000, 1, 1999, 2]
    other = Takes(10.0)
    other.replace([1999, 2, 4000, 1], 105.0)
    assert list(other) == [(101.0, 1), (105.0 - 1.999, 2)]
    assert (other.used(110.9), other.used(111.0), other.used(113.1)) == (3, 2, 0)


def test_takes_that_count_as_one_leave_with_the_last_of_them() -> None:
    takes = Takes(64.0, grain=1.0)
    for now in (0.0, 0.5, 0.9, 1.0):
        takes.add(now)
    assert list(takes) == [(0.9, 3), (1.0, 1)]
    assert (takes.used(64.8), takes.used(64.9), takes.used(65.0)) == (4, 1, 0)
