"""The judge of rehearsals finds exactly what is missing and what is too much, and reads requests by itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.alerts import Key
from chaos.oracle import Room, held, judge, owed

POD = Key("shop", "PodDown", "p0")


def sent(
    status: int | None = 201,
    *,
    delivery: str = "d1",
    attempt: int = 1,
    index: int = 0,
    outcome: str | None = "created",
    pod: str = "p0",
    connected: bool = True,
) -> dict[str, Any]:
    """One line of a log."""
    return {
        "delivery": delivery,
        "attempt": attempt,
        "index": index,
        "labels": {"namespace": "shop", "alertname": "PodDown", "pod": pod},
        "status": status,
        "outcome": outcome if status is not None and status < 300 else None,
        "connected": connected,
    }


def own(count: int, *, pod: str = "p0", name: str = "rr-1", phase: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "isStorm": False,
            "signalLabels": {"namespace": "shop", "alertname": "PodDown", "pod": pod},
            "deduplication": {"occurrenceCount": count},
        },
        "status": {"overallPhase": phase},
    }


def aggregated(members: dict[str, int], *, count: int | None = None) -> dict[str, Any]:
    listed = [{"labels": {"pod": pod}, "occurrences": number} for pod, number in members.items()]
    data = json.dumps({"members": listed}).encode()
    return {
        "metadata": {"name": "rr-storm"},
        "spec": {
            "isStorm": True,
            "signalLabels": {"namespace": "shop", "alertname": "PodDown"},
            "providerData": base64.b64encode(data).decode(),
            "deduplication": {"occurrenceCount": sum(members.values()) if count is None else count},
        },
    }


def limits(*lines: dict[str, Any], room: Room = Room()) -> tuple[int, int]:  # noqa: B008 - frozen
    found = owed(lines, room)[POD]
    return found.low, found.high


def test_what_was_answered_2xx_is_owed_exactly() -> None:
    assert limits(sent(), sent(202, delivery="d2", outcome="duplicate")) == (2, 2)


@pytest.mark.parametrize("outcome", ["denied", "invalid", "resolved"])
def test_what_the_answer_says_is_not_counted_is_not_owed(outcome: str) -> None:
    assert limits(sent(202, outcome=outcome)) == (0, 0)


def test_an_attempt_without_an_answer_may_count_unless_nobody_took_the_connection() -> None:
    assert limits(sent(None), sent(attempt=2)) == (1, 2)
    assert limits(sent(None, connected=False), sent(attempt=2)) == (1, 1)


def test_a_refusal_leaves_room_only_where_its_note_may_be_lost() -> None:
    alone = [sent(503), sent(attempt=2)]
    both = [sent(503), sent(503, index=1, pod="p1"), sent(attempt=2), sent(attempt=2, index=1, pod="p1")]

    assert limits(*alone) == limits(*both) == (1, 1)
    assert limits(*alone, room=Room(notes_lost=True)) == (1, 1)
    assert limits(*both, room=Room(notes_lost=True)) == (1, 2)
    assert limits(*alone, room=Room(deaths=True)) == (1, 2)


def test_members_are_read_with_the_labels_that_all_have_in_common() -> None:
    found, faults = held([aggregated({"p0": 3, "p1": 1}), own(2, name="rr-2", phase="Completed")])

    assert {key.pod: one.count for key, one in found.items()} == {"p0": 5, "p1": 1}
    assert found[POD].open == ["rr-storm"]
    assert faults == []


@pytest.mark.parametrize(
    "broken",
    [
        aggregated({"p0": 1}, count=2),
        {**aggregated({"p0": 1}), "spec": {**aggregated({"p0": 1})["spec"], "providerData": "?"}},
    ],
    ids=["the sum is not that of the members", "unreadable"],
)
def test_a_request_that_contradicts_itself_is_a_finding(broken: dict[str, Any]) -> None:
    judgement = judge([sent()], [broken], Room())

    assert judgement.contradictory
    assert not judgement.exact


def test_problems_in_two_open_requests_are_told_and_are_no_loss() -> None:
    judgement = judge([sent(), sent(delivery="d2")], [own(1), own(1, name="rr-2")], Room())

    assert judgement.exact
    assert judgement.open_twice == 1


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 8))
def test_losses_and_surpluses_are_the_distance_from_what_is_owed(
    answered: int, unanswered: int, count: int
) -> None:
    lines = [sent(delivery=f"a{n}") for n in range(answered)]
    lines += [sent(None, delivery=f"u{n}") for n in range(unanswered)]
    judgement = judge(lines, [own(count)], Room())

    assert judgement.lost == max(0, answered - count)
    assert judgement.surplus == max(0, count - answered - unanswered)
    assert judgement.exact == (answered <= count <= answered + unanswered)
