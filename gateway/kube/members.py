"""The members of an aggregated request, as its `providerData` keeps them. Pure.

The annotation that holds an own request's marks ends at 256 KiB, and the marks of a thousand members counted by
ten processes are longer. So each member has its marks beside it, and names a process by its place in one table:

    {"processes": ["<process id>", …],
     "members": [{"fingerprint": "…", "resource": "ns:Kind:name", "occurrences": 2, "startsAt": "…",
                  "labels": {…those that differ from the common ones…},
                  "marks": {"<place of the process>.<k>": "0-2"},
                  "resolvedStartsAt": "…", "resolvedAt": "…"}]}

Members are in the order of joining, and a member's marks in the order in which its slots were added.

What must be kept has no limit of its own: fingerprints, counts and marks are bounded by the number of members and of
processes. Labels are what gives way. They share what the rest leaves (`ROOM`): members with few keep all, the others
get equal shares, in which the labels that name the resource come first, then the short ones.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

import msgspec

from gateway.intake.resources import RESOURCE_LABELS
from gateway.kube import fitting
from gateway.kube.stored import MemberMarks

ROOM = 900 * 1024
"""Bytes of JSON; base64 makes 1.2 MiB of them. A thousand members with the marks of ten processes take some 600 KiB
without their labels."""
LONGEST_RESOURCE = 384
"""Bytes. What Kubernetes itself can name is shorter: two names of 63 and one of 253."""

_FIRST = frozenset({"exported_namespace", "namespace", *RESOURCE_LABELS})
"""Labels that name the resource."""
_SHORTEST_CUT = 16
"""Bytes of a value; less of it says nothing."""
_encode = msgspec.json.Encoder().encode
_NO_LABELS = b"{}"


class DamagedError(Exception):
    """The bytes are not what the gateway writes; somebody else did."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member as it is stored."""

    fingerprint: str
    resource: str
    """`namespace:Kind:name`, empty where the alert's labels name nothing."""
    occurrences: int
    """The sum of its marks."""
    starts_at: str
    labels: dict[str, str]
    """Those that differ from the common ones, as far as there was room."""
    marks: dict[str, str]
    """Slot → its intervals as text ("0-2,3-5"), in the order in which the slots were added."""
    resolved_since: str = ""
    resolved_at: str = ""


class _Whole(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """A stored member; its labels are JSON, so that each is encoded once, however often it is weighed."""

    fingerprint: str
    resource: str
    occurrences: int
    starts_at: str
    labels: msgspec.Raw
    marks: dict[str, str]
    resolved_starts_at: str = ""
    resolved_at: str = ""


class _Data(msgspec.Struct, gc=False):
    processes: list[str]
    members: list[_Whole]


_base64 = msgspec.json.Decoder(bytes)
_data = msgspec.json.Decoder(_Data)
_labels = msgspec.json.Decoder(dict[str, str])


def read_marks(provider_data: bytes | msgspec.Raw) -> dict[str, MemberMarks]:
    """The members' marks; `provider_data` is the JSON string of the field. Raises `DamagedError`."""
    return {
        member.fingerprint: MemberMarks(marks, member.resolved_starts_at, member.resolved_at)
        for member, marks in _read(provider_data)
    }


def read_members(provider_data: bytes | msgspec.Raw) -> tuple[Member, ...]:
    """The whole members; `provider_data` is the JSON string of the field.

    Raises `DamagedError` where `read_marks` does, and nowhere else: labels that cannot be read are none.
    """
    return tuple(
        Member(
            fingerprint=member.fingerprint,
            resource=member.resource,
            occurrences=member.occurrences,
            starts_at=member.starts_at,
            labels=_read_labels(member.labels),
            marks=marks,
            resolved_since=member.resolved_starts_at,
            resolved_at=member.resolved_at,
        )
        for member, marks in _read(provider_data)
    )


def render(members: Sequence[Member], room: int = ROOM) -> tuple[str, bool]:
    """The field's text, in base64, and whether labels had to be cut to keep its JSON within `room` bytes."""
    places: dict[str, str] = {}
    marks = [_indexed(member.marks, places) for member in members]
    labels = [_encode(member.labels) for member in members]
    sizes = [len(text) for text in labels]
    if sum(sizes) <= room:
        data = _rendered(members, marks, labels, places)
        if len(data) <= room:
            return b64encode(data).decode("ascii"), False
    bare = len(_rendered(members, marks, [_NO_LABELS] * len(members), places)) - len(_NO_LABELS) * len(
        members
    )
    # Marks grow with every write. A margin below the room spares most writes the cutting.
    left = max(room - bare, 0)
    shares = _shares(sizes, left - left // 8)
    labels = [
        text if size <= share else _encode(_shortened(member.labels, share))
        for member, text, size, share in zip(members, labels, sizes, shares, strict=True)
    ]
    return b64encode(_rendered(members, marks, labels, places)).decode("ascii"), True


def _read(provider_data: bytes | msgspec.Raw) -> list[tuple[_Whole, dict[str, str]]]:
    """The members as stored, each with its marks by slot."""
    try:
        data = _data.decode(_base64.decode(provider_data))
        names = {str(place): process for place, process in enumerate(data.processes)}
        found = [(member, _spelled(member.marks, names)) for member in data.members]
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise DamagedError(str(error)) from error
    if len({member.fingerprint for member in data.members}) != len(found):
        raise DamagedError("a member is there twice")
    return found


def _read_labels(text: msgspec.Raw) -> dict[str, str]:
    try:
        return _labels.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return {}


def _rendered(
    members: Sequence[Member],
    marks: Sequence[dict[str, str]],
    labels: Sequence[bytes],
    places: Mapping[str, str],
) -> bytes:
    rendered = [
        _Whole(
            fingerprint=member.fingerprint,
            resource=member.resource,
            occurrences=member.occurrences,
            starts_at=member.starts_at,
            labels=msgspec.Raw(text),
            marks=own,
            resolved_starts_at=member.resolved_since,
            resolved_at=member.resolved_at,
        )
        for member, own, text in zip(members, marks, labels, strict=True)
    ]
    return _encode({"processes": list(places), "members": rendered})


def _indexed(marks: Mapping[str, str], places: dict[str, str]) -> dict[str, str]:
    """Slots by the place of their process in the table; `places` is process → place, and grows."""
    found = {}
    for slot, mark in marks.items():
        process, dot, number = slot.rpartition(".")
        if not dot:
            raise ValueError(f"a slot is named <process>.<number>, not {slot!r}")
        place = places.get(process)
        if place is None:
            place = places[process] = str(len(places))
        found[f"{place}.{number}"] = mark
    return found


def _spelled(marks: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """The reverse of `_indexed`; `KeyError` for a place that the table does not have."""
    found = {}
    for short, mark in marks.items():
        place, _, number = short.partition(".")
        found[f"{names[place]}.{number}"] = mark
    return found


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """How much each may have: all that it needs, if that is no more than an equal share of what the others leave."""
    shares = [0] * len(sizes)
    behind = len(sizes)
    for place in sorted(range(len(sizes)), key=sizes.__getitem__):
        shares[place] = min(sizes[place], room // behind)
        room -= shares[place]
        behind -= 1
    return shares


def _shortened(labels: Mapping[str, str], room: int) -> dict[str, str]:
    """The labels whose JSON has `room` bytes: the resource's first, then the short ones; the last one is cut."""
    weighed = sorted(
        (key not in _FIRST, len(_encode(value)) + len(_encode(key)) + 2, key) for key, value in labels.items()
    )
    room -= len(_NO_LABELS)
    kept = {}
    for _, weight, key in weighed:
        if weight <= room:
            kept[key] = labels[key]
            room -= weight
            continue
        rest = room - (weight - len(_encode(labels[key]))) - len('""')
        if rest >= _SHORTEST_CUT:
            kept[key] = fitting.cut(labels[key], rest)
            room -= weight
    return {key: kept[key] for key in labels if key in kept}
