"""What to write next so that Kubernetes says what should be: a pure decision, taken again after every step.

One function serves the normal path, the fallback without Redis, and the repair. It looks at what is known of a
fingerprint's requests and at what its slots have reached, and names the next step; a driver performs the step, learns
from the answer, and asks again until nothing is left to do. There is no other state, so a conflict, a lost answer or
a rival writer needs no special case: read again, decide again.

Guards against the races (`PROTOCOL` numbers the same rules):

* a closed request is never a target, and every write carries the `resourceVersion` of the very object that it was
  computed from, so that knowledge which was out of date costs a conflict and not a wrong write;
* a request is created under a name that all replicas agree on: the record's generation where Redis arbitrates, else
  the one after the highest that a fresh list shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from gateway.engine.marks import Marks, carried, floors, raised, total
from gateway.model import RequestRef


class Known(msgspec.Struct, frozen=True):
    """One request that holds a fingerprint, as this process knows it: its own, or an aggregated one."""

    ref: RequestRef
    uid: str
    resource_version: int
    generation: int
    """0 of an aggregated one, so that an own request always comes first."""
    open: bool
    marks: Marks
    """Of the fingerprint alone, where there are other members."""
    resolved_since: str = ""
    """The `startsAt` of the latest episode that ended, as annotated; `resolved_at` its end, while none fires."""
    resolved_at: str = ""
    window: str = ""
    """Of an aggregated one: the window's id."""
    count: int = 0
    """What the whole request counts, over all members."""


class Gone(msgspec.Struct, frozen=True):
    """A request that was deleted, as it last was."""

    generation: int
    marks: Marks


class View(msgspec.Struct, frozen=True):
    """All that this process knows of the requests that hold one fingerprint."""

    requests: Sequence[Known] = ()
    gone: Sequence[Gone] = ()

    def opened(self) -> list[Known]:
        """The open requests, the highest generation first, aggregated ones last."""
        return sorted((r for r in self.requests if r.open), key=lambda r: r.generation, reverse=True)

    def highest(self) -> int:
        """The highest generation that ever was, as far as known; 0 where there was none."""
        return max([r.generation for r in self.requests] + [g.generation for g in self.gone], default=0)

    def all_marks(self) -> list[Marks]:
        return [r.marks for r in self.requests] + [g.marks for g in self.gone]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What one slot has reached (`value`), and up to where that is settled already (`base`)."""

    value: int
    base: int = 0


class Demand(msgspec.Struct, frozen=True):
    """What should be in Kubernetes for one fingerprint."""

    entries: dict[str, Entry]
    generation: int = 0
    """The generation under which a new request is to be created, by the record in Redis; 0 where none arbitrates."""
    firing_since: str = ""
    """The latest `startsAt` of any firing occurrence."""
    resolved_since: str = ""
    """The `startsAt` of the latest episode that ended, and `resolved_at` its end; empty where none did."""
    resolved_at: str = ""


class Knowledge(Enum):
    """How good the view is, when it comes to creating a request. (For counting on one, any view is good enough.)"""

    DOUBTFUL = auto()
    """Something that was met contradicts it: an `AlreadyExists`, a 404; or nothing was listed yet."""
    WATCHED = auto()
    """It comes from the watch, and may lag: enough where Redis arbitrates, and the generation it names is the next
    one. If it is a later one, a request is missing here, and with it what that one counted."""
    LISTED = auto()
    """It comes from a list that was begun after the demand was known."""


class Settled(msgspec.Struct, frozen=True):
    """Nothing is left to write. `request` is the open one that holds the fingerprint, if any."""

    covered: dict[str, int]
    request: Known | None


class Count(msgspec.Struct, frozen=True):
    """Raise the marks of an open request (and set or clear its resolved annotation)."""

    request: Known
    marks: Marks
    total: int
    resolved_since: str
    resolved_at: str


class Create(msgspec.Struct, frozen=True):
    """Create the request of this generation."""

    generation: int
    marks: Marks
    total: int
    predecessor: RequestRef | None


class Arrange(msgspec.Struct, frozen=True):
    """Ask the record in Redis for a generation above `known`: its own is used up."""

    known: int


class Refresh(msgspec.Struct, frozen=True):
    """List the fingerprint's requests afresh before anything is created."""


Step = Settled | Count | Create | Arrange | Refresh


def covered(view: View, demand: Demand) -> dict[str, int]:
    """Up to where each slot of the demand is settled, by any request, deleted ones included."""
    reached = floors(view.all_marks())
    return {slot: max(entry.base, reached.get(slot, 0)) for slot, entry in demand.entries.items()}


def plan(view: View, demand: Demand, *, arbitrated: bool, knowledge: Knowledge) -> Step:
    """The next step towards the demand. `arbitrated`: the record in Redis names the generation."""
    done = covered(view, demand)
    pending = {slot: entry.value for slot, entry in demand.entries.items() if entry.value > done[slot]}
    opened = view.opened()
    if opened:
        return _count(opened, pending, done, demand)
    if not pending:
        return Settled(done, None)
    highest = view.highest()
    if knowledge is not Knowledge.LISTED and (
        not arbitrated or knowledge is Knowledge.DOUBTFUL or demand.generation > highest + 1
    ):
        return Refresh()
    if arbitrated and demand.generation <= highest:
        return Arrange(highest)
    return _create(view, pending, done, max(demand.generation, highest + 1))


class Place(Enum):
    """Where what is left of a window's member is to be written."""

    NOWHERE = auto()
    """Nothing is left."""
    ELSEWHERE = auto()
    """An open request of its own holds it, or that of another window."""
    HERE = auto()
    """In the window's request."""


def place(view: View, demand: Demand, window: str) -> Place:
    """Where the window's writer has to put a member: an open request that holds it already comes first."""
    done = covered(view, demand)
    pending = {slot: entry.value for slot, entry in demand.entries.items() if entry.value > done[slot]}
    opened = view.opened()
    if not opened:
        return Place.HERE if pending else Place.NOWHERE
    step = _count(opened, pending, done, demand)
    if not isinstance(step, Count):
        return Place.NOWHERE
    return Place.HERE if step.request.window == window else Place.ELSEWHERE


def on_request(view: View, demand: Demand, window: str) -> Count:
    """What to write to the window's request of a member whose place is there, and that is a member already."""
    done = covered(view, demand)
    pending = {slot: entry.value for slot, entry in demand.entries.items() if entry.value > done[slot]}
    step = _count(view.opened(), pending, done, demand)
    assert isinstance(step, Count)
    assert step.request.window == window
    return step


def joining(view: View, demand: Demand) -> Marks:
    """The marks with which a member joins an aggregated request: the rest of its slots, and what is settled."""
    done = covered(view, demand)
    pending = {slot: entry.value for slot, entry in demand.entries.items() if entry.value > done[slot]}
    return _with_carried(view, {slot: ((done[slot], value),) for slot, value in pending.items()})


def _count(opened: list[Known], pending: dict[str, int], done: dict[str, int], demand: Demand) -> Step:
    """Count on the open request that holds a slot already; slots that none holds go to the highest generation."""
    newest = opened[0]
    for request in opened:
        marks = dict(request.marks)
        for slot, value in pending.items():
            if _target(opened, slot) is request:
                marks[slot] = raised(marks.get(slot), value, done[slot])
        since, at = (
            resolved(request, demand) if request is newest else (request.resolved_since, request.resolved_at)
        )
        if marks != request.marks or at != request.resolved_at:
            return Count(request, marks, total(marks), since, at)
    return Settled(done, newest)


def resolved(request: Known, demand: Demand) -> tuple[str, str]:
    """The latest episode that ended, as its start and end; the end is empty while a later episode fires."""
    since, at = max(
        (demand.resolved_since, demand.resolved_at), (request.resolved_since, request.resolved_at)
    )
    return since, (at if since >= demand.firing_since else "")


def _target(opened: list[Known], slot: str) -> Known:
    return next((request for request in opened if slot in request.marks), opened[0])


def _create(view: View, pending: dict[str, int], done: dict[str, int], generation: int) -> Create:
    marks = _with_carried(view, {slot: ((done[slot], value),) for slot, value in pending.items()})
    predecessor = max(view.requests, key=lambda r: r.generation, default=None)
    return Create(generation, marks, total(marks), predecessor.ref if predecessor else None)


def _with_carried(view: View, marks: Marks) -> Marks:
    for slot, mark in carried(view.all_marks()).items():
        marks.setdefault(slot, mark)
    return marks
