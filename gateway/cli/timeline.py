"""Recordings as one timeline: which webhook is due when, counted from the first one.

Several files, and several runs within a file, are laid out by the start of each run, so a recording that was rotated or
continued plays as it happened. A gateway writes a webhook when it was answered: neighbours are put back into the order
in which they came.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from gateway.recording.lines import Entry, Header, moment
from gateway.recording.reading import read

WINDOW = 60.0
"""Seconds by which a line may come late. No webhook takes longer to be answered."""
HELD = 64 << 20
"""Bytes of bodies that wait for their place, at most."""


class Cue(NamedTuple):
    """A webhook to be sent."""

    at: float
    """Seconds after the first one."""
    entry: Entry


class Selection(NamedTuple):
    """Which webhooks of the files are played, and how far apart."""

    paths: Sequence[Path]
    limit: int | None = None
    """At most so many."""
    accepted_only: bool = False
    """Only those that were answered with 2xx when they were recorded."""
    max_gap: float | None = None
    """Longer pauses are cut to so many seconds."""


class Survey(NamedTuple):
    """What a selection comes to."""

    webhooks: int
    seconds: float
    """From the first to the last."""
    first: datetime | None
    """The wall time of the first one."""


def cues(selection: Selection, warn: Callable[[str], object]) -> Iterator[Cue]:
    """The selected webhooks in the order of their times. Raises `RecordingError` and `OSError`; see `read`."""
    start = before = skipped = 0.0
    number = 0
    for came, entry in _in_order(_placed(selection.paths, warn)):
        if selection.limit is not None and number >= selection.limit:
            return
        if selection.accepted_only and (entry.status is None or not 200 <= entry.status < 300):
            continue
        if number == 0:
            start = before = came
        came = max(came, before)  # a clock that was set back, or a line that is later than the window
        if selection.max_gap is not None:
            skipped += max(0.0, came - before - selection.max_gap)
        before = came
        number += 1
        yield Cue(came - start - skipped, entry)


def survey(selection: Selection, warn: Callable[[str], object]) -> Survey:
    """Read through the selection once. Raises as `cues` does."""
    number, seconds, first = 0, 0.0, None
    for cue in cues(selection, warn):
        if first is None:
            first = moment(cue.entry.time)
        number, seconds = number + 1, cue.at
    return Survey(number, seconds, first)


def _placed(paths: Sequence[Path], warn: Callable[[str], object]) -> Iterator[tuple[float, Entry]]:
    """Each entry with its seconds since the start of the first run."""
    first: datetime | None = None
    base = 0.0
    for path in paths:
        for record in read(path, warn):
            if isinstance(record, Header):
                began = moment(record.started_at)
                first = first or began
                base = (began - first).total_seconds()
            else:
                yield base + record.offset, record


def _in_order(entries: Iterator[tuple[float, Entry]]) -> Iterator[tuple[float, Entry]]:
    waiting: list[tuple[float, int, Entry]] = []
    held, newest = 0, float("-inf")
    for number, (came, entry) in enumerate(entries):
        heapq.heappush(waiting, (came, number, entry))
        held += len(entry.body)
        newest = max(newest, came)
        while waiting and (waiting[0][0] < newest - WINDOW or held > HELD):
            came, _, entry = heapq.heappop(waiting)
            held -= len(entry.body)
            yield came, entry
    while waiting:
        came, _, entry = heapq.heappop(waiting)
        yield came, entry
