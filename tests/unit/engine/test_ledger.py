"""The ledger: numbers that only this process assigns, and never twice."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.ledger import FIRST_ASSERTION, GHOST_LIFE, LONGEST_ASSERTION, Kept, Ledger
from gateway.model import Severity, Signal

FINGERPRINT = "f" * 64


def a_signal() -> Signal:
    return Signal(
        fingerprint=FINGERPRINT,
        alertname="A",
        namespace="n",
        group="n/A",
        labels={},
        annotations={},
        severity=Severity.INFO,
        environment="e",
        priority="P2",
        starts_at="",
        received_at="",
    )


@dataclass
class Source:
    starts_at: str = ""

    def signal(self) -> Signal:
        return a_signal()

    def hold(self) -> None:
        return None


def test_a_slot_counts_from_one_and_goes_on() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)

    assert ledger.send(slot, 2, 0.0) == 2
    ledger.taken(slot, 2, Source(), 0.0)
    assert ledger.send(slot, 1, 0.0) == 3
    assert ledger.unconfirmed == 1


def test_a_ghost_is_sent_again_under_the_same_number() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)

    assert ledger.send(slot, 3, 0.0) == 3
    assert ledger.send(slot, 1, 0.0) == 1
    assert not slot.idle


def test_confirmed_occurrences_are_told_once() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)

    assert ledger.confirm(slot, 2) == 0  # the watch was quicker than the answer
    assert ledger.taken(slot, 3, Source(), 0.0) == 2
    assert ledger.confirm(slot, 3) == 1
    assert ledger.confirm(slot, 3) == 0
    assert ledger.unconfirmed == 0
    assert slot.source is None


def test_unconfirmed_slots_are_asserted_later_and_later() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)
    ledger.taken(slot, 1, Source(), 0.0)

    assert list(ledger.due(FIRST_ASSERTION - 0.1)) == []
    times, now = [], 0.0
    while len(times) < 8:
        now += 0.5
        if list(ledger.due(now)):
            times.append(now)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] == FIRST_ASSERTION
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST_ASSERTION
    assert isinstance(slot.source, Kept)


def test_what_waits_for_its_turn_is_asserted_later_but_not_where_redis_is_a_new_one() -> None:
    ledger = Ledger("p")
    ledger.taken(ledger.open(FINGERPRINT, 0.0), 1, Source(), 0.0)

    assert list(ledger.due(FIRST_ASSERTION + 2.9, behind=3.0)) == []
    assert len(list(ledger.due(FIRST_ASSERTION + 3.0, behind=3.0))) == 1
    ledger.hurry()
    assert len(list(ledger.due(FIRST_ASSERTION + 3.1, behind=3.0))) == 1


def test_a_new_redis_makes_everything_unconfirmed_due_at_once() -> None:
    ledger = Ledger("p")
    ledger.taken(ledger.open(FINGERPRINT, 0.0), 1, Source(), 0.0)

    ledger.hurry()

    assert len(list(ledger.due(0.1))) == 1


def test_a_slot_name_is_never_used_again() -> None:
    ledger = Ledger("p")
    names = []
    for _ in range(5):
        slot = ledger.open(FINGERPRINT, 0.0)
        names.append(slot.name)
        ledger.taken(slot, ledger.send(slot, 1, 0.0), Source(), 0.0)
        ledger.confirm(slot, slot.acc)
        assert ledger.forget([FINGERPRINT], 0.0) == 1

    assert len(set(names)) == 5


def test_what_is_unconfirmed_or_unknown_is_not_forgotten() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)
    ledger.taken(slot, ledger.send(slot, 1, 0.0), Source(), 0.0)
    assert ledger.forget([FINGERPRINT], GHOST_LIFE * 2) == 0

    ledger.confirm(slot, 1)
    ledger.send(slot, 1, 0.0)
    assert ledger.forget([FINGERPRINT], 1.0) == 0
    assert ledger.forget([FINGERPRINT], GHOST_LIFE + 1.0) == 1


@given(st.lists(st.one_of(st.integers(1, 4), st.integers(-9, 0)), max_size=30))
def test_any_order_of_taking_and_confirming_tells_each_occurrence_once(moves: list[int]) -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)
    told = 0
    for move in moves:
        if move > 0:
            told += ledger.taken(slot, ledger.send(slot, move, 0.0), Source(), 0.0)
        else:
            told += ledger.confirm(slot, min(slot.sent, -move))

    assert told == min(slot.acc, slot.conf)
    assert slot.unconfirmed == slot.acc - told
    assert ledger.unconfirmed == (1 if slot.acc > slot.conf else 0)


def test_what_resolved_in_its_window_is_settled_without_being_confirmed() -> None:
    ledger = Ledger("p")
    slot = ledger.open(FINGERPRINT, 0.0)
    ledger.taken(slot, ledger.send(slot, 2, 0.0), Source(), 0.0)

    ledger.withdraw(slot, 2)

    assert slot.unconfirmed == 0
    assert ledger.unconfirmed == 0
    assert ledger.send(slot, 1, 1.0) == 3
    assert ledger.taken(slot, 3, Source(), 1.0) == 0
    assert ledger.confirm(slot, 3) == 1


def test_window_ids_are_never_proposed_twice() -> None:
    ledger = Ledger("p")

    assert len({ledger.propose_window() for _ in range(100)}) == 100
