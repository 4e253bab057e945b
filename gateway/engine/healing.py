"""Healing: where two requests count the same occurrences, one of them gives them up again.

It happens only after a race that the names could not prevent (a replica that was cut off, a rollback of Redis). The
loser of each pair is decided alike by everyone who looks: a closed request keeps what it has, since it is never
written again; of two open ones the lower generation gives up. The loser gives up *exactly the overlap*, in a write
guarded by its `resourceVersion`, so two replicas that heal at once do it once.

Deleted requests take no part: healing against one could remove the only request that is left, and what may be
counted once too often there is one of the named exceptions.
"""

from __future__ import annotations

import msgspec

from gateway.engine.marks import Marks, overlap, total, without
from gateway.engine.planning import Known, View


class GiveUp(msgspec.Struct, frozen=True):
    """Write these marks to the request: it gave up what another one counts."""

    request: Known
    marks: Marks
    total: int


class Discard(msgspec.Struct, frozen=True):
    """Delete the request: it counts nothing any more, and another one holds all that it counted.

    A request without any marks is not meant: it is somebody else's, or somebody took its annotation away.
    """

    request: Known


def heal(view: View) -> GiveUp | Discard | None:
    """The next healing step, or None where the requests agree."""
    for loser in sorted((r for r in view.requests if r.open), key=lambda r: r.generation):
        rivals = [r for r in view.requests if r.uid != loser.uid and _keeps(r, loser)]
        marks = _after(loser, rivals)
        if marks != loser.marks:
            return GiveUp(loser, marks, total(marks))
        if rivals and marks and total(marks) == 0 and loser.count == 0:
            return Discard(loser)
    return None


def _keeps(rival: Known, loser: Known) -> bool:
    return not rival.open or (rival.generation, rival.uid) > (loser.generation, loser.uid)


def _after(loser: Known, rivals: list[Known]) -> Marks:
    marks = dict(loser.marks)
    for rival in rivals:
        for slot, mark in rival.marks.items():
            if slot in marks:
                marks[slot] = without(marks[slot], overlap(marks[slot], mark))
    return marks
