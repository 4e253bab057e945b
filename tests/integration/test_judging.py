"""What is left open by refusals, and what is not: a judge who forgave too much would see nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gateway.cli.sentlog import Attempt
from tests.integration.judging import Room, refusals, weighed


def attempt(number: int, status: int | None, *, index: int = 0, delivery: str = "d") -> Attempt:
    return Attempt(
        time="2026-01-31T09:00:00Z",
        answered="2026-01-31T09:00:01Z",
        delivery=delivery,
        attempt=number,
        index=index,
        labels={"pod": str(index)},
        status=status,
        fingerprint=f"f{index}" if status == 202 else None,
        outcome="duplicate" if status == 202 else None,
    )


ALONE = [attempt(1, 503), attempt(2, None), attempt(3, 503), attempt(4, 202)]
TOGETHER = [attempt(number, status, index=i) for number, status in ((1, 503), (2, 202)) for i in range(2)]


@pytest.mark.parametrize(
    ("attempts", "room", "expected"),
    [
        (ALONE, Room(), {}),
        (ALONE, Room(notes_lost=True), {}),
        (ALONE, Room(deaths=True), {"f0": 2}),
        (TOGETHER, Room(), {}),
        (TOGETHER, Room(notes_lost=True), {"f0": 1, "f1": 1}),
        ([attempt(1, 202)], Room(notes_lost=True, deaths=True), {}),
    ],
)
def test_only_refusals_whose_notes_can_be_lost_leave_room(
    attempts: list[Attempt], room: Room, expected: dict[str, int]
) -> None:
    assert +refusals(attempts, room) == Counter(expected)


def report(difference: int) -> dict[str, Any]:
    return {
        "accepted": {"low": 10, "high": 11},
        "counted": 10 + difference,
        "lost": max(0, -difference),
        "surplus": max(0, difference),
        "openTwice": 0,
        "findings": [{"fingerprint": "f0", "difference": difference, "findings": ["surplus"]}],
        "faults": [],
    }


def test_what_is_too_many_is_forgiven_up_to_the_room_and_no_further() -> None:
    within, beyond = weighed(report(2), Counter(f0=2)), weighed(report(3), Counter(f0=2, f1=9))

    assert (within.exact, within.surplus, within.counted_again) == (True, 0, 2)
    assert (beyond.exact, beyond.surplus, beyond.counted_again) == (False, 1, 2)
    assert beyond.findings


def test_a_loss_is_never_forgiven() -> None:
    found = weighed(report(-1), Counter(f0=9))

    assert (found.exact, found.lost) == (False, 1)
    assert found.findings
