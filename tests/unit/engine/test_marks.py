"""Marks: merging by max, growing behind what others counted, and giving up exactly an overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine import marks
from gateway.engine.marks import Mark

FINGERPRINT = "a" * 64


@st.composite
def some_marks(draw: st.DrawFn) -> Mark:
    """A mark as it can be stored: ascending, disjoint intervals, the last one perhaps empty."""
    edges = sorted(draw(st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True)))
    intervals = [(edges[n], edges[n + 1]) for n in range(0, len(edges) - 1, 2)]
    if draw(st.booleans()):
        top = intervals[-1][1] + draw(st.integers(0, 5))
        intervals.append((top, top))
    return tuple(intervals)


def numbers(mark: Mark) -> set[int]:
    return {number for lo, hi in mark for number in range(lo + 1, hi + 1)}


@given(st.dictionaries(st.sampled_from(["p1.1", "p2.1", "p2.2"]), some_marks()))
def test_what_is_stored_is_read_again(stored: marks.Marks) -> None:
    assert marks.parse(marks.dump(stored, FINGERPRINT), FINGERPRINT) == stored


@given(st.text())
def test_a_damaged_annotation_reads_as_no_marks(text: str) -> None:
    assert isinstance(marks.parse(text, FINGERPRINT), dict)


def test_intervals_out_of_order_are_damage() -> None:
    assert marks.parse('{"' + FINGERPRINT + '":{"p.1":"5-3"}}', FINGERPRINT) == {}
    assert marks.parse('{"' + FINGERPRINT + '":{"p.1":"3-5,1-2"}}', FINGERPRINT) == {}


@given(some_marks(), st.integers(0, 60), st.integers(0, 60))
def test_raising_never_takes_anything_away_and_settles_up_to_the_value(
    mark: Mark, value: int, floor: int
) -> None:
    raised = marks.raised(mark, value, floor)

    assert numbers(mark) <= numbers(raised)
    assert marks.settled(raised) >= marks.settled(mark)
    assert marks.settled(raised) >= value or floor >= value


@given(some_marks(), st.integers(0, 60), st.integers(0, 60))
def test_raising_counts_nothing_that_is_settled_elsewhere(mark: Mark, value: int, floor: int) -> None:
    added = numbers(marks.raised(mark, value, floor)) - numbers(mark)

    assert all(number > max(floor, marks.settled(mark)) for number in added)
    assert all(number <= value for number in added)


@given(some_marks(), st.lists(st.integers(0, 60), min_size=1))
def test_raising_is_the_same_in_any_order_and_however_often(mark: Mark, values: list[int]) -> None:
    upwards, downwards = mark, mark
    for value in sorted(values):
        upwards = marks.raised(marks.raised(upwards, value, 0), value, 0)
    for value in sorted(values, reverse=True):
        downwards = marks.raised(downwards, value, 0)

    assert upwards == downwards


def test_a_new_slot_counts_only_what_is_not_settled() -> None:
    assert marks.raised(None, 7, 4) == ((4, 7),)
    assert marks.raised(None, 3, 4) == ((4, 4),)


@given(some_marks(), some_marks())
def test_giving_up_takes_exactly_the_overlap_and_keeps_the_settled_value(one: Mark, other: Mark) -> None:
    left = marks.without(one, marks.overlap(one, other))

    assert numbers(left) == numbers(one) - numbers(other)
    assert marks.settled(left) == marks.settled(one)
    assert marks.parse(marks.dump({"s": left}, FINGERPRINT), FINGERPRINT) == {"s": left}


@given(some_marks(), some_marks())
def test_after_giving_up_nothing_overlaps(one: Mark, other: Mark) -> None:
    left = marks.without(one, marks.overlap(one, other))

    assert marks.overlap(left, other) == ()
    assert marks.without(left, marks.overlap(left, other)) == left


def test_a_new_generation_remembers_and_counts_nothing() -> None:
    carried = marks.carried([{"p1.1": ((0, 3),)}, {"p1.1": ((3, 5),), "p2.1": ((0, 2),)}])

    assert carried == {"p1.1": ((5, 5),), "p2.1": ((2, 2),)}
    assert marks.total(carried) == 0


def test_the_first_slot_is_the_one_that_opened_the_request() -> None:
    assert marks.opener({"p2.1": ((0, 1),), "p1.1": ((0, 4),)}) == "p2.1"
    assert marks.opener({}) is None
