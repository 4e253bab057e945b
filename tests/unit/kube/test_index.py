"""The index: whatever the order of sightings, it ends up with the newest state and forgets no mark too
early."""

from __future__ import annotations

import gc
import tracemalloc
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube import objects
from gateway.kube.decoding import RequestDecoder
from gateway.kube.index import TOMB_LIFE, Index, Listing
from gateway.kube.objects import window_fingerprint
from gateway.kube.stored import MemberMarks, Stored
from gateway.model import RequestRef

FP = "a" * 64
OTHER = "b" * 64


def stored(name: str = "rr-a-1", version: int = 1, **fields: Any) -> Stored:
    namespace = fields.pop("namespace", "prod")
    fields.setdefault("uid", f"uid-{name}")
    fields.setdefault("fingerprint", FP)
    fields.setdefault("generation", 1)
    return Stored(ref=RequestRef(namespace, name), resource_version=version, **fields)


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def told(index: Index) -> list[str]:
    calls: list[str] = []
    index.subscribe(calls.append)
    return calls


def test_a_new_request_can_be_read_by_fingerprint_and_by_name(index: Index) -> None:
    request = stored()
    index.apply(request)
    assert index.requests(FP) == (request,)
    assert index.open(FP) is request
    assert index.get(request.ref) is request
    assert index.highest_generation(FP) == 1
    assert len(index) == 1
    assert list(index) == [request]


def test_an_unknown_fingerprint_has_nothing(index: Index) -> None:
    assert index.requests(FP) == ()
    assert index.open(FP) is None
    assert index.tombs(FP) == ()
    assert index.highest_generation(FP) == 0


def test_an_own_write_is_not_undone_by_a_lagging_watch(index: Index, told: list[str]) -> None:
    own = stored(version=7, count=11)
    index.apply(own)
    index.apply(stored(version=5, count=3))
    index.apply(stored(version=7, count=3))
    assert index.requests(FP) == (own,)
    assert told == [FP]


def test_a_newer_sighting_replaces_the_older(index: Index, told: list[str]) -> None:
    index.apply(stored(version=5))
    closed = stored(version=9, open=False, phase="Completed")
    index.apply(closed)
    assert index.requests(FP) == (closed,)
    assert index.open(FP) is None
    assert told == [FP, FP]


def test_requests_come_by_generation_and_the_open_one_is_the_highest(index: Index) -> None:
    third, first, second = (
        stored(f"rr-a-{n}", version=10 + n, generation=n, open=is_open)
        for n, is_open in ((3, False), (1, True), (2, True))
    )
    for request in (third, first, second):
        index.apply(request)
    assert index.requests(FP) == (first, second, third)
    assert index.open(FP) is second
    assert index.highest_generation(FP) == 3


def test_generations_beyond_nine_come_in_number_order(index: Index) -> None:
    for generation in (10, 9, 2):
        index.apply(stored(f"rr-a-{generation}", generation=generation, version=generation))
    assert [s.generation for s in index.requests(FP)] == [2, 9, 10]


def test_an_aggregated_request_is_listed_but_is_not_the_open_own_one(index: Index) -> None:
    storm = stored("rr-a-storm-w1", is_storm=True, generation=0, window="w1")
    index.apply(storm)
    assert index.requests(FP) == (storm,)
    assert index.open(FP) is None


def test_a_deleted_request_leaves_its_final_marks(index: Index, told: list[str]) -> None:
    index.apply(stored(version=5, applied="old"))
    last = stored(version=9, applied="final", count=4, resolved_starts_at="2026-01-01T00:00:00.000000000Z")
    index.remove(last.ref, last.uid, 100.0, last)
    (tomb,) = index.tombs(FP)
    assert (tomb.applied, tomb.count, tomb.generation, tomb.died_at) == ("final", 4, 1, 100.0)
    assert tomb.resolved_starts_at == "2026-01-01T00:00:00.000000000Z"
    assert index.requests(FP) == ()
    assert index.highest_generation(FP) == 1
    assert told == [FP, FP]


def test_without_a_final_state_the_tomb_holds_the_last_known_one(index: Index) -> None:
    index.apply(stored(version=5, applied="known"))
    index.remove(RequestRef("prod", "rr-a-1"), "uid-rr-a-1", 100.0)
    assert [t.applied for t in index.tombs(FP)] == ["known"]


def test_a_final_state_that_is_older_than_the_known_one_does_not_count(index: Index) -> None:
    index.apply(stored(version=9, applied="own write"))
    last = stored(version=5, applied="old")
    index.remove(last.ref, last.uid, 1.0, last)
    assert [t.applied for t in index.tombs(FP)] == ["own write"]


def test_a_tomb_learns_the_final_state_that_arrives_after_it(index: Index, told: list[str]) -> None:
    index.apply(stored(version=5, applied="known"))
    index.remove(RequestRef("prod", "rr-a-1"), "uid-rr-a-1", 100.0)
    last = stored(version=8, applied="final")
    index.remove(last.ref, last.uid, 200.0, last)
    assert [(t.applied, t.died_at) for t in index.tombs(FP)] == [("final", 100.0)]
    assert told == [FP, FP, FP]


def test_a_late_event_does_not_revive_a_deleted_request(index: Index, told: list[str]) -> None:
    index.apply(stored(version=5))
    index.remove(RequestRef("prod", "rr-a-1"), "uid-rr-a-1", 100.0)
    del told[:]
    index.apply(stored(version=6))
    index.apply(stored(version=999))
    assert index.requests(FP) == ()
    assert told == []


def test_a_deletion_of_something_unknown_still_leaves_a_tomb(index: Index) -> None:
    last = stored(version=8, applied="final", generation=4)
    index.remove(last.ref, last.uid, 1.0, last)
    assert index.highest_generation(FP) == 4
    index.apply(stored(version=7, generation=4))
    assert index.requests(FP) == ()


def test_a_deletion_of_something_unknown_without_a_state_changes_nothing(
    index: Index, told: list[str]
) -> None:
    index.remove(RequestRef("prod", "rr-a-1"), "uid", 1.0)
    assert index.tombs(FP) == ()
    assert told == []


def test_a_request_made_again_under_its_name_buries_the_one_before(index: Index, told: list[str]) -> None:
    index.remove(RequestRef("prod", "nothing"), "none", 50.0)
    index.apply(stored(version=5, uid="first", applied="first's"))
    second = stored(version=9, uid="second", applied="")
    index.apply(second)
    assert index.requests(FP) == (second,)
    assert [(t.uid, t.applied, t.died_at) for t in index.tombs(FP)] == [("first", "first's", 50.0)]
    assert told == [FP, FP]
    index.remove(second.ref, "first", 60.0)
    assert index.requests(FP) == (second,)


def test_a_late_sighting_of_the_one_before_becomes_its_tomb(index: Index) -> None:
    second = stored(version=9, uid="second")
    index.apply(second)
    index.apply(stored(version=5, uid="first", applied="first's"), 10.0)
    assert index.requests(FP) == (second,)
    assert [(t.uid, t.applied) for t in index.tombs(FP)] == [("first", "first's")]


def test_a_list_buries_what_vanished_and_keeps_what_is_newer(index: Index, told: list[str]) -> None:
    gone = stored("rr-gone-1", version=5, fingerprint=OTHER, applied="gone's")
    own = stored("rr-own-1", version=101)
    kept = stored("rr-kept-1", version=6, generation=2)
    for request in (gone, own, kept):
        index.apply(request)
    del told[:]
    index.replace([kept], 100, 7.0)
    assert index.requests(OTHER) == ()
    assert [(t.applied, t.died_at) for t in index.tombs(OTHER)] == [("gone's", 7.0)]
    assert {s.name for s in index.requests(FP)} == {"rr-own-1", "rr-kept-1"}
    assert told == [OTHER]


def test_a_list_of_some_namespaces_says_nothing_about_others(index: Index) -> None:
    here, there = stored("a", namespace="here"), stored("b", namespace="there", fingerprint=OTHER)
    index.apply(here)
    index.apply(there)
    index.replace([], 100, 7.0, namespaces=["here"])
    assert index.requests(FP) == ()
    assert index.requests(OTHER) == (there,)


def test_what_is_listed_is_there_with_its_page_and_what_vanished_goes_with_the_last(
    index: Index, told: list[str]
) -> None:
    index.apply(stored("rr-gone-1", version=5, fingerprint=OTHER))
    listing = Listing(index, lambda: 7.0)
    listing.take([stored("rr-a-1")])
    assert [s.name for s in index.requests(FP)] == ["rr-a-1"]
    listing.take([stored("rr-a-2", generation=2)])
    assert [s.name for s in index.requests(FP)] == ["rr-a-1", "rr-a-2"]
    assert index.requests(OTHER)
    assert not index.tombs(OTHER)
    listing.complete(100)
    assert not index.requests(OTHER)
    assert [t.died_at for t in index.tombs(OTHER)] == [7.0]
    assert told == [OTHER, FP, FP, OTHER]


def test_a_list_that_breaks_off_buries_nothing(index: Index) -> None:
    known = stored("rr-known-1", version=5, fingerprint=OTHER)
    index.apply(known)
    Listing(index, lambda: 7.0).take([stored("rr-a-1")])
    again = Listing(index, lambda: 8.0)
    again.take([known])
    again.complete(100)
    assert index.requests(OTHER) == (known,)
    assert index.requests(FP) == ()


def test_a_list_replaces_a_request_that_was_made_again(index: Index) -> None:
    index.apply(stored(version=5, uid="first"))
    second = stored(version=50, uid="second")
    index.replace([second], 100, 7.0)
    assert index.requests(FP) == (second,)
    assert [t.uid for t in index.tombs(FP)] == ["first"]


def test_tombs_live_an_hour(index: Index) -> None:
    for name, died in (("rr-a-1", 0.0), ("rr-a-2", 10.0)):
        request = stored(name, generation=int(name[-1]))
        index.apply(request)
        index.remove(request.ref, request.uid, died)
    assert index.expire(TOMB_LIFE - 1) == 0
    assert index.expire(TOMB_LIFE) == 1
    assert [t.name for t in (tomb.ref for tomb in index.tombs(FP))] == ["rr-a-2"]
    assert index.expire(TOMB_LIFE + 10) == 1
    assert index.tombs(FP) == ()
    assert index.highest_generation(FP) == 0


def test_tombs_live_as_long_as_somebody_says() -> None:
    index = Index(tomb_life=60.0)
    request = stored("rr-a-1")
    index.apply(request)
    index.remove(request.ref, request.uid, 0.0)
    assert index.expire(59.0) == 0
    assert index.expire(60.0) == 1


def test_requests_without_a_fingerprint_are_known_by_name_only(index: Index) -> None:
    request = stored("foreign", fingerprint="")
    index.apply(request)
    assert index.get(request.ref) is request
    assert index.requests("") == ()
    index.remove(request.ref, request.uid, 1.0)
    assert len(index) == 0


MANY = 50_000


def realistic(number: int) -> bytes:
    """A request as the API server answers it, without what nobody reads."""
    fingerprint = f"{number:064x}"
    marks = {fingerprint: {f"p1a2b3c4d5e6f.{number}": "0-12", f"p9a8b7c6d5e4f.{number}": "0-7"}}
    return msgspec.json.encode(
        {
            "metadata": {
                "name": f"rr-kubepodcrashlooping-{number:010x}-1",
                "namespace": "prod-api",
                "uid": f"{number:08x}-0000-4000-8000-000000000000",
                "resourceVersion": str(10**9 + number),
                "labels": {objects.LABEL_FINGERPRINT: fingerprint[:63], objects.LABEL_GENERATION: "1"},
                "annotations": {
                    objects.ANNOTATION_APPLIED: msgspec.json.encode(marks).decode(),
                    objects.ANNOTATION_SOURCE: "immediate",
                },
            },
            "spec": {
                "signalFingerprint": fingerprint,
                "signalName": "KubePodCrashLooping",
                "deduplication": {"occurrenceCount": 19},
            },
        }
    )


def test_fifty_thousand_requests_fit_into_40_mebibytes_and_the_garbage_collector_visits_none() -> None:
    decode = RequestDecoder(("Completed",))
    gc.collect()
    visited = len(gc.get_objects())
    tracemalloc.start()
    try:
        index = Index()
        listing = Listing(index, lambda: 0.0)
        for start in range(0, MANY, 500):
            listing.take([decode(realistic(number)) for number in range(start, start + 500)])
        listing.complete(2 * 10**9)
        del listing
        used, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index) == MANY
    print(f"{used / MANY:.0f} bytes each, {used / 2**20:.1f} MiB, {peak / 2**20:.1f} at the most", end="")
    assert used < 40 * 2**20
    assert peak < 50 * 2**20
    gc.collect()
    assert len(gc.get_objects()) - visited < 100


# --- aggregated requests


def storm(version: int = 1, window: str = "w1", **fields: Any) -> Stored:
    """`members`: fingerprint → marks of one slot, as text."""
    marks = {key: MemberMarks({"p.1": text}) for key, text in fields.pop("members", {}).items()}
    fields = {"fingerprint": window_fingerprint(window), "generation": 0, "is_storm": True} | fields
    return stored(f"rr-a-storm-{window}", version, window=window, members=marks, **fields)


def test_a_storm_can_be_read_by_its_window_and_by_each_member(index: Index) -> None:
    request = storm(members={FP: "0-1", OTHER: "0-2"})
    index.apply(request)
    assert index.window("w1") is request
    assert list(index.holding(FP)) == list(index.holding(OTHER)) == [request]
    assert index.requests(FP) == ()
    assert index.open(FP) is None
    assert index.window("w2") is None
    assert list(index.holding("c" * 64)) == []


def test_closed_storms_still_hold_their_members(index: Index) -> None:
    first, second = storm(members={FP: "0-1"}, open=False), storm(2, "w2", members={FP: "1-2", OTHER: "0-1"})
    index.apply(first)
    index.apply(second)
    assert {request.window for request in index.holding(FP)} == {"w1", "w2"}
    assert [request.window for request in index.holding(OTHER)] == ["w2"]
    assert index.window("w1") is first


def test_of_one_window_s_requests_in_two_namespaces_the_open_one_is_named(index: Index) -> None:
    index.apply(storm(9, members={FP: "0-1"}, open=False))
    there = storm(3, members={FP: "0-1"}, namespace="fallback", uid="other")
    index.apply(there)
    assert index.window("w1") is there


def test_members_hear_of_a_storm_when_it_is_new_when_it_closes_and_when_it_is_gone(
    index: Index, told: list[str]
) -> None:
    everyone = [window_fingerprint("w1"), FP, OTHER]
    members = {FP: "0-1", OTHER: "0-2"}
    index.apply(storm(1, members=members))
    assert told == everyone
    index.apply(storm(2, members=members, open=False))
    assert told == 2 * everyone
    index.remove(RequestRef("prod", "rr-a-storm-w1"), "uid-rr-a-storm-w1", 1.0)
    assert told == 3 * everyone
    assert [tomb.members for tomb in index.holding_tombs(FP)] == [storm(members=members).members]


def test_otherwise_only_those_whose_marks_changed_hear_of_it(index: Index, told: list[str]) -> None:
    own = window_fingerprint("w1")
    index.apply(storm(1, members={FP: "0-1", OTHER: "0-2"}))
    del told[:]
    index.apply(storm(2, members={FP: "0-1", OTHER: "0-3"}))
    assert told == [own, OTHER]
    index.apply(storm(3, members={FP: "0-1", OTHER: "0-3"}, phase="Analyzing"))
    assert told == [own, OTHER, own]
    index.apply(storm(4, members={FP: "0-1", OTHER: "0-3", "c" * 64: "0-1"}))
    assert told == [own, OTHER, own, own, "c" * 64]
    index.apply(storm(2, members={FP: "0-1"}))
    assert len(told) == 5
    index.apply(storm(5, members={FP: "0-1"}))
    assert told[5:] == [own, OTHER, "c" * 64]
    assert list(index.holding(OTHER)) == []


def test_a_storm_whose_members_can_no_longer_be_read_holds_none(index: Index, told: list[str]) -> None:
    index.apply(storm(1, members={FP: "0-1"}))
    del told[:]
    index.apply(storm(2, members={}, damaged=True))
    assert list(index.holding(FP)) == []
    assert told == [window_fingerprint("w1"), FP]
    index.apply(storm(3, members={FP: "0-1"}))
    assert len(index.holding(FP)) == 1


def test_a_tomb_of_a_storm_lives_an_hour(index: Index) -> None:
    request = storm(members={FP: "0-1", OTHER: "0-1"})
    index.apply(request)
    index.remove(request.ref, request.uid, 0.0)
    tomb = index.window_tomb("w1")
    assert tomb is not None
    assert list(index.holding_tombs(OTHER)) == [tomb]
    assert index.window("w1") is None
    assert index.expire(TOMB_LIFE) == 1
    assert index.window_tomb("w1") is None
    assert list(index.holding_tombs(OTHER)) == []


def test_a_tomb_learns_the_final_members_that_arrive_after_it(index: Index, told: list[str]) -> None:
    index.apply(storm(5, members={FP: "0-1"}))
    index.remove(RequestRef("prod", "rr-a-storm-w1"), "uid-rr-a-storm-w1", 1.0)
    del told[:]
    last = storm(8, members={FP: "0-1", OTHER: "0-4"})
    index.remove(last.ref, last.uid, 2.0, last)
    assert OTHER in told
    assert [tomb.resource_version for tomb in index.holding_tombs(OTHER)] == [8]
    assert len(index.holding_tombs(FP)) == 1


def test_a_thousand_members_take_less_than_a_megabyte_however_often_they_are_seen() -> None:
    def sighting(version: int) -> Stored:
        members = {
            sha256(str(n).encode()).hexdigest(): MemberMarks(
                {f"{process}.{n + 1000}": f"0-{n % 90 + 10}" for process in ("0123456789", "abcdef0123")}
            )
            for n in range(1000)
        }
        return msgspec.structs.replace(storm(version), members=members)

    tracemalloc.start()
    index = Index()
    for version in range(1, 6):
        index.apply(sighting(version))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 1e6


_MEMBERS = st.dictionaries(st.sampled_from(["a" * 64, "b" * 64, "c" * 64]), st.sampled_from(["0-1", "0-2"]))
_SIGHTINGS = st.lists(
    st.tuples(st.sampled_from(["w1", "w2"]), st.integers(1, 6), st.integers(0, 1), _MEMBERS, st.booleans()),
    max_size=12,
)


@given(_SIGHTINGS, st.sets(st.integers(0, 11)))
def test_who_is_held_by_what_is_always_what_the_requests_say(
    sightings: list[tuple[str, int, int, dict[str, str], bool]], deletions: set[int]
) -> None:
    index = Index()
    heard: dict[str, list[tuple[str, MemberMarks, bool]]] = {}

    def look(fingerprint: str) -> list[tuple[str, MemberMarks, bool]]:
        return sorted(
            (s.uid, s.members[fingerprint], s.open) for s in index.holding(fingerprint) if s.members
        ) + sorted(
            (t.uid, t.members[fingerprint], True) for t in index.holding_tombs(fingerprint) if t.members
        )

    index.subscribe(lambda fingerprint: heard.update({fingerprint: look(fingerprint)}))
    for place, (window, version, life, members, is_open) in enumerate(sightings):
        seen = storm(version, window, members=members, uid=f"{window}-{life}", open=is_open)
        if place in deletions:
            index.remove(seen.ref, seen.uid, 1.0, seen)
        else:
            index.apply(seen, 1.0)
        for fingerprint in ("a" * 64, "b" * 64, "c" * 64):
            assert len(index.holding(fingerprint)) == sum(fingerprint in (s.members or {}) for s in index)
            # Whoever only listens knows what whoever looks sees.
            assert heard.get(fingerprint, []) == look(fingerprint)
    index.replace([], 100, 2.0)
    assert index.expire(TOMB_LIFE + 2) >= 0
    assert not any(index.holding(f) or index.holding_tombs(f) for f in ("a" * 64, "b" * 64, "c" * 64))


# A small history of two names, three lives each, seen in any order: as events, and as lists of a moment.
HISTORY = [
    (version, f"rr-a-{name}", life, kind)
    for version, (name, life, kind) in enumerate(
        [(n, life, kind) for life in range(3) for n in (1, 2) for kind in ("born", "counted", "died")],
        start=1,
    )
]


def _sighting(version: int, name: str, life: int) -> Stored:
    return stored(name, version, uid=f"{name}-{life}", generation=int(name[-1]), applied=str(version))


@given(st.permutations(HISTORY))
def test_events_in_any_order_end_in_the_same_state(events: list[tuple[int, str, int, str]]) -> None:
    index = Index()
    for version, name, life, kind in events:
        seen = _sighting(version, name, life)
        if kind == "died":
            index.remove(seen.ref, seen.uid, 1.0, seen)
        else:
            index.apply(seen, 1.0)
    assert index.requests(FP) == ()
    final = {(name, life): str(version) for version, name, life, kind in HISTORY if kind == "died"}
    assert {(t.ref.name, int(t.uid[-1])): t.applied for t in index.tombs(FP)} == final


@given(st.permutations([e for e in HISTORY if e[0] < 18]), st.integers(0, 17))
def test_lists_between_the_events_change_nothing_in_the_end(
    events: list[tuple[int, str, int, str]], moment: int
) -> None:
    index = Index()
    told: dict[str, tuple[Stored, ...]] = {}
    index.subscribe(lambda fingerprint: told.update({fingerprint: tuple(index.requests(fingerprint))}))
    for version, name, life, kind in events:
        seen = _sighting(version, name, life)
        if kind == "died":
            index.remove(seen.ref, seen.uid, 1.0, seen)
        else:
            index.apply(seen, 1.0)
    alive = {name: _sighting(version, name, life) for version, name, life, _ in HISTORY if version == 17}
    index.replace(list(alive.values()), 17, 1.0)
    index.replace([], moment if moment < 17 else 16, 1.0)
    assert index.requests(FP) == tuple(alive.values())
    assert told[FP] == tuple(alive.values())
