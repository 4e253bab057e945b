"""Where a fingerprint stands, from what Redis holds of it."""

from __future__ import annotations

import msgspec
import pytest

from gateway.engine.reports import RecordState, record_state
from gateway.state.records import Seen, WindowSeen

SETTLED = Seen(
    now=1000,
    known=True,
    due_at=-1,
    generation=1,
    attempts=0,
    unwritten=0,
    pending=False,
    dead="",
    dead_since=0,
)
COLLECTS = WindowSeen("w1", "prod/A", storming=False, closed=False, ends_at=9000, members=1)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, RecordState.SETTLED),
        ({"known": False}, RecordState.ABSENT),
        ({"pending": True, "due_at": 1000}, RecordState.DUE),
        ({"pending": True, "due_at": 1001}, RecordState.QUEUED),
        ({"pending": True}, RecordState.QUEUED),  # in no queue: the sweep finds it
        ({"due_at": 1001}, RecordState.QUEUED),
        ({"pending": True, "window": COLLECTS}, RecordState.HELD),
        ({"window": COLLECTS}, RecordState.SETTLED),  # it left the window
        ({"pending": True, "window": msgspec.structs.replace(COLLECTS, closed=True)}, RecordState.QUEUED),
        ({"pending": True, "dead": "422", "due_at": 1000}, RecordState.DEAD),
    ],
)
def test_the_state_is_told_by_what_is_to_be_done(changes: dict[str, object], state: RecordState) -> None:
    assert record_state(msgspec.structs.replace(SETTLED, **changes)) is state
