"""Marks: which occurrences of a slot a request counts, and the algebra that keeps counts exact.

A slot numbers what one process accepted for one fingerprint: 1, 2, 3 … A request stores, for each slot, the
half-open intervals `(lo, hi]` of those numbers that it counts. Two promises hold for every stored mark:

* the occurrences `lo+1 … hi` of each interval are counted in this request and nowhere else;
* everything up to the largest `hi` (the *settled* value) is counted somewhere, and needs no further write.

Taken together the marks are a grow-only counter with one source a slot (a G-counter: Shapiro, Preguiça, Baquero,
Zawirski, "Conflict-free Replicated Data Types", 2011): merging is max, so repeating or reordering a message about a
slot changes nothing. Intervals are needed, and not just one number, because a new request goes on where its closed
predecessor stopped, and because healing two requests that counted the same takes a piece out of one of them.

Everything here is pure. The stored form is JSON, `{"<fingerprint>": {"<slot>": "0-3,5-7"}}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

Interval: TypeAlias = tuple[int, int]
"""`(lo, hi)`: the occurrences lo+1 … hi. Empty intervals (`lo == hi`) only carry the settled value."""

Mark: TypeAlias = tuple[Interval, ...]
"""One slot's intervals, ascending and disjoint. The last one is live: it is the one that grows."""

Marks: TypeAlias = dict[str, Mark]
"""Slot → mark, in the order in which the slots were added; the first slot is the one that opened the request."""

_decoder = msgspec.json.Decoder(dict[str, dict[str, str]])


def parse(applied: str, fingerprint: str) -> Marks:
    """Read the stored form; an absent, foreign or damaged annotation reads as no marks at all.

    Damage is the one case in which occurrences may be counted again (an annotation that somebody edited by hand):
    refusing to count would lose them instead.
    """
    if not applied:
        return {}
    try:
        return read(_decoder.decode(applied).get(fingerprint, {}))
    except (msgspec.DecodeError, ValueError):
        return {}


def read(texts: Mapping[str, str]) -> Marks:
    """The marks of one fingerprint from their texts by slot, read like `parse`."""
    try:
        return {slot: _parse_mark(text) for slot, text in texts.items()}
    except ValueError:
        return {}


def _parse_mark(text: str) -> Mark:
    intervals = []
    floor = 0
    for piece in text.split(","):
        lo_text, _, hi_text = piece.partition("-")
        lo, hi = int(lo_text), int(hi_text)
        if not floor <= lo <= hi:
            raise ValueError(f"intervals out of order: {text}")
        intervals.append((lo, hi))
        floor = hi
    return tuple(intervals)


def dump(marks: Marks, fingerprint: str) -> str:
    """The stored form of one fingerprint's marks."""
    return msgspec.json.encode({fingerprint: texts(marks)}).decode()


def texts(marks: Marks) -> dict[str, str]:
    """Each slot's mark as text, as a member of an aggregated request has it."""
    return {slot: ",".join(f"{lo}-{hi}" for lo, hi in mark) for slot, mark in marks.items()}


def total(marks: Marks) -> int:
    """How many occurrences the marks count: the request's `occurrenceCount`."""
    return sum(hi - lo for mark in marks.values() for lo, hi in mark)


def settled(mark: Mark) -> int:
    """The number up to which everything of the slot is counted somewhere."""
    return mark[-1][1]


def opener(marks: Marks) -> str | None:
    """The slot whose occurrence opened the request; its process counts the request as created."""
    return next(iter(marks), None)


def floors(several: Iterable[Marks]) -> dict[str, int]:
    """The settled value of every slot over several requests."""
    found: dict[str, int] = {}
    for marks in several:
        for slot, mark in marks.items():
            if settled(mark) > found.get(slot, -1):
                found[slot] = settled(mark)
    return found


def raised(mark: Mark | None, value: int, floor: int) -> Mark:
    """The mark after the slot has reached `value`, where everything up to `floor` is already counted elsewhere.

    Never lowers anything. A known mark grows at its live end; where another request has meanwhile counted beyond
    that end, the live interval starts anew behind what the other one counted.
    """
    if mark is None:
        return ((floor, max(floor, value)),)
    lo, hi = mark[-1]
    if value <= hi:
        return mark
    if floor <= hi:
        return (*mark[:-1], (lo, value))
    if value <= floor:
        return mark
    kept = mark if hi > lo else mark[:-1]
    return (*kept, (floor, value))


def carried(several: Iterable[Marks]) -> Marks:
    """The empty marks with which a new generation remembers what its predecessors counted."""
    return {slot: ((value, value),) for slot, value in floors(several).items()}


def overlap(one: Mark, other: Mark) -> Mark:
    """The occurrences that both marks count, as intervals; empty where there are none."""
    found = []
    for lo, hi in one:
        for other_lo, other_hi in other:
            start, end = max(lo, other_lo), min(hi, other_hi)
            if start < end:
                found.append((start, end))
    return tuple(sorted(found))


def without(mark: Mark, taken: Mark) -> Mark:
    """The mark after it gave up exactly the occurrences in `taken`; its settled value stays.

    What lies below a piece that was given up remains as a remnant; the live end moves past it. Giving up the
    *number* instead of the interval would lose what lies below in the next round.
    """
    pieces = list(mark)
    for start, end in taken:
        cut = []
        for lo, hi in pieces:
            if hi <= start or end <= lo:
                cut.append((lo, hi))
                continue
            if lo < start:
                cut.append((lo, start))
            if end < hi:
                cut.append((end, hi))
        pieces = cut
    pieces = [(lo, hi) for lo, hi in pieces if lo < hi]
    top = settled(mark)
    if not pieces or pieces[-1][1] < top:
        pieces.append((top, top))
    return tuple(pieces)
