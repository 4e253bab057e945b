"""What is kept of members: their marks always, their labels as far as there is room, shared fairly."""

from __future__ import annotations

import json
from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.members import Member, read_marks, read_members, render

_TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('"\\\x00<…')), max_size=8)
_LABELS = st.dictionaries(
    st.sampled_from(["namespace", "pod", "node", "a", "b", "zone", "ü"]),
    st.builds(lambda text, times: text * times, _TEXT, st.sampled_from([0, 1, 5, 100])),
)
_MEMBERS = st.lists(
    st.builds(
        Member,
        fingerprint=st.sampled_from("abcdef"),
        resource=_TEXT,
        occurrences=st.integers(0, 10**6),
        starts_at=st.just("2026-01-31T09:00:00.000000000Z"),
        labels=_LABELS,
        marks=st.dictionaries(
            st.from_regex(r"[0-9a-f]{1,10}\.[0-9]{1,7}", fullmatch=True), _TEXT, max_size=4
        ),
        resolved_since=_TEXT,
        resolved_at=_TEXT,
    ),
    unique_by=lambda member: member.fingerprint,
    max_size=6,
)


def as_field(text: str) -> bytes:
    return json.dumps(text).encode()


def without_labels(member: Member) -> tuple[object, ...]:
    return (
        member.fingerprint,
        member.resource,
        member.occurrences,
        member.starts_at,
        tuple(member.marks.items()),
        member.resolved_since,
        member.resolved_at,
    )


@given(_MEMBERS, st.integers(0, 5000))
def test_whatever_the_room_only_labels_give_way_and_only_where_it_is_needed(
    members: list[Member], room: int
) -> None:
    text, trimmed = render(members, room)
    kept = read_members(as_field(text))
    assert list(map(without_labels, kept)) == list(map(without_labels, members))
    assert {
        fingerprint: (marks.applied, marks.resolved_since, marks.resolved_at)
        for fingerprint, marks in read_marks(as_field(text)).items()
    } == {m.fingerprint: (m.marks, m.resolved_since, m.resolved_at) for m in members}
    whole, _ = render(members)
    assert trimmed == (len(b64decode(whole)) > room)
    if not trimmed:
        assert kept == tuple(members)
    elif any(member.labels for member in kept):
        assert len(b64decode(text)) <= room
    for before, after in zip(members, kept, strict=True):
        assert list(after.labels) == [key for key in before.labels if key in after.labels]
        for key, value in after.labels.items():
            assert value == before.labels[key] or (
                value.endswith("…") and before.labels[key].startswith(value[:-1])
            )


@given(_MEMBERS, st.integers(0, 5000))
def test_what_was_fitted_fits(members: list[Member], room: int) -> None:
    text, _ = render(members, room)
    again, _ = render(read_members(as_field(text)), room)
    assert again == text


def test_a_process_is_named_once_however_many_members_it_counts() -> None:
    def member(name: str, *slots: str) -> Member:
        return Member(
            fingerprint=name,
            resource="",
            occurrences=0,
            starts_at="",
            labels={},
            marks=dict.fromkeys(slots, "0-1"),
        )

    text, _ = render([member("x", "p1.1", "p2.1"), member("y", "p3.1", "p1.2")])
    data = json.loads(b64decode(text))
    assert data["processes"] == ["p1", "p2", "p3"]
    assert [list(stored["marks"]) for stored in data["members"]] == [["0.1", "1.1"], ["2.1", "0.2"]]


def test_those_with_little_keep_all_and_the_others_get_equal_shares() -> None:
    def member(name: str, size: int) -> Member:
        labels = {"pod": name, "text": name * size}
        return Member(
            fingerprint=name, resource="", occurrences=1, starts_at="", labels=labels, marks={"p.1": "0-1"}
        )

    members = [member("a", 10), member("b", 3000), member("c", 5000), member("d", 20)]
    text, trimmed = render(members, 3000)
    kept = read_members(as_field(text))
    assert trimmed
    assert [kept[0].labels, kept[3].labels] == [members[0].labels, members[3].labels]
    assert [m.labels["pod"] for m in kept] == ["a", "b", "c", "d"]
    assert abs(len(kept[1].labels["text"]) - len(kept[2].labels["text"])) <= 1
    assert len(kept[1].labels["text"]) > 800
