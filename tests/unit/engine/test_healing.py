"""Healing: of two requests that count the same, exactly one gives it up, whoever looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.healing import Discard, GiveUp, heal
from gateway.engine.marks import Marks, total
from gateway.engine.planning import Known, View
from gateway.model import RequestRef
from tests.unit.engine.test_marks import numbers, some_marks


def request(generation: int, marks: Marks, *, opened: bool = True) -> Known:
    return Known(RequestRef("n", f"r{generation}"), f"u{generation}", 1, generation, opened, marks)


def test_requests_that_agree_are_left_alone() -> None:
    assert heal(View([request(1, {"s": ((0, 3),)}, opened=False), request(2, {"s": ((3, 5),)})])) is None


def test_of_two_open_ones_the_lower_generation_gives_up_the_overlap() -> None:
    step = heal(View([request(1, {"s": ((0, 5),)}), request(2, {"s": ((2, 4),)})]))

    assert isinstance(step, GiveUp)
    assert step.request.generation == 1
    assert step.marks == {"s": ((0, 2), (4, 5))}
    assert step.total == 3


def test_a_closed_one_keeps_what_it_counts() -> None:
    step = heal(View([request(1, {"s": ((0, 5),)}, opened=False), request(2, {"s": ((3, 7),)})]))

    assert isinstance(step, GiveUp)
    assert step.request.generation == 2
    assert step.marks == {"s": ((5, 7),)}


def test_an_open_one_that_counts_nothing_any_more_is_deleted() -> None:
    empty = request(1, {"s": ((5, 5),)})

    step = heal(View([empty, request(2, {"s": ((0, 5),)})]))

    assert step == Discard(empty)


def test_a_request_without_marks_is_somebody_elses_and_stays() -> None:
    assert heal(View([request(1, {}), request(2, {"s": ((0, 5),)})])) is None
    assert heal(View([request(1, {}), request(2, {})])) is None


def test_the_only_request_is_never_deleted() -> None:
    assert heal(View([request(1, {"s": ((5, 5),)})])) is None


@given(st.lists(st.tuples(some_marks(), some_marks(), st.booleans()), min_size=2, max_size=4))
def test_healing_ends_and_loses_nothing(several: list[tuple[tuple[tuple[int, int], ...], ...]]) -> None:
    requests = {
        number: request(number, {"s": one, "t": other}, opened=bool(opened))
        for number, (one, other, opened) in enumerate(several, 1)
    }
    before = {slot: set().union(*(numbers(r.marks[slot]) for r in requests.values())) for slot in ("s", "t")}
    closed = [r for r in requests.values() if not r.open]

    for _ in range(20):
        step = heal(View(list(requests.values())))
        if step is None:
            break
        assert step.request.open
        if isinstance(step, GiveUp):
            requests[step.request.generation] = request(step.request.generation, step.marks)
        else:
            del requests[step.request.generation]
    else:
        raise AssertionError("it does not end")

    after = {
        slot: set().union(*(numbers(r.marks[slot]) for r in requests.values() if slot in r.marks))
        for slot in ("s", "t")
    }
    assert after == before
    if len(closed) <= 1:  # two closed ones that overlap cannot be mended: they are never written again
        assert sum(total(r.marks) for r in requests.values()) == sum(len(found) for found in after.values())
