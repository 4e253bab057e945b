"""The plan: what is written next, for each thing that may be known."""

from __future__ import annotations

from gateway.engine.marks import Marks
from gateway.engine.planning import (
    Arrange,
    Count,
    Create,
    Demand,
    Entry,
    Gone,
    Knowledge,
    Known,
    Place,
    Refresh,
    Settled,
    Step,
    View,
    joining,
    on_request,
    place,
    plan,
)
from gateway.model import RequestRef

EARLY, LATE = "2026-01-01T00:00:00.000000000Z", "2026-01-02T00:00:00.000000000Z"


def request(generation: int, marks: Marks, *, opened: bool = True, since: str = "", at: str = "") -> Known:
    ref = RequestRef("prod", f"rr-a-{generation}")
    return Known(ref, f"uid-{generation}", generation * 10, generation, opened, marks, since, at)


def wanted(generation: int = 0, firing: str = "", since: str = "", at: str = "", **entries: int) -> Demand:
    return Demand({slot: Entry(value) for slot, value in entries.items()}, generation, firing, since, at)


def step(
    view: View, demand: Demand, *, arbitrated: bool = True, knowledge: Knowledge = Knowledge.WATCHED
) -> Step:
    return plan(view, demand, arbitrated=arbitrated, knowledge=knowledge)


def test_the_first_occurrence_creates_generation_one() -> None:
    planned = step(View(), wanted(1, s=1))

    assert planned == Create(1, {"s": ((0, 1),)}, 1, None)


def test_a_duplicate_raises_the_mark_of_the_open_request() -> None:
    opened = request(1, {"s": ((0, 1),)})

    planned = step(View([opened]), wanted(1, s=3, t=2))

    assert isinstance(planned, Count)
    assert planned.request is opened
    assert planned.marks == {"s": ((0, 3),), "t": ((0, 2),)}
    assert planned.total == 5


def test_what_is_covered_is_not_written_again() -> None:
    opened = request(1, {"s": ((0, 3),)})

    planned = step(View([opened]), wanted(1, s=3))

    assert planned == Settled({"s": 3}, opened)


def test_a_closed_request_is_never_written_and_its_successor_counts_only_the_rest() -> None:
    closed = request(1, {"s": ((0, 3),), "t": ((0, 2),)}, opened=False)

    planned = step(View([closed]), wanted(2, s=5))

    assert planned == Create(2, {"s": ((3, 5),), "t": ((2, 2),)}, 2, closed.ref)


def test_nothing_is_created_where_there_is_no_rest() -> None:
    closed = request(1, {"s": ((0, 3),)}, opened=False)

    assert step(View([closed]), wanted(2, s=3)) == Settled({"s": 3}, None)


def test_a_generation_that_is_used_up_is_arranged_anew() -> None:
    closed = request(2, {"s": ((0, 3),)}, opened=False)

    assert step(View([closed]), wanted(2, s=4)) == Arrange(2)


def test_a_view_that_misses_a_generation_is_refreshed_before_anything_is_created() -> None:
    assert step(View(), wanted(2, s=1)) == Refresh()
    assert isinstance(step(View(), wanted(2, s=1), knowledge=Knowledge.LISTED), Create)


def test_without_redis_a_fresh_list_comes_before_a_create() -> None:
    demand = wanted(s=1)

    assert step(View(), demand, arbitrated=False) == Refresh()
    assert isinstance(step(View(), demand, arbitrated=False, knowledge=Knowledge.LISTED), Create)


def test_doubt_asks_for_a_list_but_counting_needs_none() -> None:
    opened = request(1, {"s": ((0, 1),)})

    assert step(View(), wanted(1, s=1), knowledge=Knowledge.DOUBTFUL) == Refresh()
    assert isinstance(step(View([opened]), wanted(1, s=2), knowledge=Knowledge.DOUBTFUL), Count)


def test_a_deleted_request_is_remembered_and_not_named_as_predecessor() -> None:
    planned = step(View([], [Gone(1, {"s": ((0, 3),)})]), wanted(2, s=4))

    assert planned == Create(2, {"s": ((3, 4),)}, 1, None)


def test_what_redis_knows_as_settled_is_not_counted_again() -> None:
    demand = Demand({"s": Entry(5, 3)}, 1)

    assert step(View(), demand) == Create(1, {"s": ((3, 5),)}, 2, None)


def test_a_slot_stays_with_the_open_request_that_holds_it() -> None:
    older, newer = request(1, {"s": ((0, 2),)}), request(2, {"t": ((0, 1),)})

    planned = step(View([older, newer]), wanted(2, s=3, u=1))

    assert isinstance(planned, Count)
    assert planned.request is newer
    assert planned.marks == {"t": ((0, 1),), "u": ((0, 1),)}


def test_the_end_of_an_episode_is_annotated_until_a_later_one_fires() -> None:
    opened = request(1, {"s": ((0, 1),)})

    ended = step(View([opened]), wanted(1, firing=EARLY, since=EARLY, at=LATE, s=1))
    assert isinstance(ended, Count)
    assert ended.resolved_at == LATE

    annotated = request(1, {"s": ((0, 1),)}, since=EARLY, at=LATE)
    again = step(View([annotated]), wanted(1, firing=LATE, since=EARLY, at=LATE, s=2))
    assert isinstance(again, Count)
    assert again.resolved_at == ""


def test_a_stale_snapshot_leaves_the_annotation_alone() -> None:
    annotated = request(1, {"s": ((0, 1),)}, since=EARLY, at=LATE)

    planned = step(View([annotated]), wanted(firing=EARLY, s=2), arbitrated=False)

    assert isinstance(planned, Count)
    assert planned.resolved_at == LATE


def storm(window: str, marks: Marks, *, opened: bool = True) -> Known:
    ref = RequestRef("prod", f"rr-a-storm-{window}")
    return Known(ref, f"uid-{window}", 7, 0, opened, marks, window=window, count=9)


def test_a_member_that_nobody_holds_belongs_to_its_window() -> None:
    assert place(View(), wanted(s=2), "w") is Place.HERE
    assert place(View([request(1, {"s": ((0, 1),)}, opened=False)]), wanted(s=2), "w") is Place.HERE


def test_a_member_with_an_open_request_of_its_own_is_counted_there() -> None:
    view = View([request(1, {"t": ((0, 1),)}), storm("w", {"u": ((0, 1),)})])

    assert place(view, wanted(s=2), "w") is Place.ELSEWHERE


def test_a_slot_that_the_window_counts_already_goes_on_there() -> None:
    view = View([request(1, {"t": ((0, 1),)}), storm("w", {"s": ((0, 1),)})])

    assert place(view, wanted(s=2), "w") is Place.HERE
    assert on_request(view, wanted(s=2), "w").marks == {"s": ((0, 2),)}


def test_a_member_that_another_window_holds_is_counted_there() -> None:
    view = View([storm("v", {"t": ((0, 1),)})])

    assert place(view, wanted(s=2), "w") is Place.ELSEWHERE


def test_a_member_of_which_all_is_counted_has_no_place() -> None:
    closed = View([storm("w", {"s": ((0, 2),)}, opened=False)])

    assert place(closed, wanted(s=2), "w") is Place.NOWHERE
    assert place(View([storm("w", {"s": ((0, 2),)})]), wanted(s=2), "w") is Place.NOWHERE
    assert place(View(gone=[Gone(0, {"s": ((0, 2),)})]), wanted(s=2), "w") is Place.NOWHERE


def test_who_joins_brings_the_rest_and_what_is_settled() -> None:
    view = View([request(1, {"s": ((0, 3),), "t": ((0, 5),)}, opened=False)])

    assert joining(view, wanted(s=4)) == {"s": ((3, 4),), "t": ((5, 5),)}


def test_a_duplicate_without_an_own_request_is_counted_on_the_aggregated_one() -> None:
    held = storm("w", {"s": ((0, 1),)})

    planned = step(View([held]), wanted(s=2), arbitrated=False)

    assert isinstance(planned, Count)
    assert planned.request is held
