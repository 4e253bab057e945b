"""Every order of events in a small world: two writers, a slot each, two occurrences, two generations.

Breadth first over all states: accepting, claiming, each step of a write with and without its answer, the watch, and a
controller that closes. In each state the books must not say too much; and from each state, whatever happened, letting
both writers finish must give the exact count with at most one open request.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from gateway.engine.marks import Marks, settled, total
from gateway.engine.planning import (
    Arrange,
    Count,
    Create,
    Demand,
    Entry,
    Gone,
    Knowledge,
    Known,
    Refresh,
    Settled,
    View,
    plan,
)
from gateway.model import RequestRef

SLOTS = ("a", "b")
OCCURRENCES = 2
CLOSINGS = 1

Frozen = tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


class Object(NamedTuple):
    generation: int
    version: int
    open: bool
    marks: Frozen

    def known(self) -> Known:
        ref = RequestRef("n", f"r-{self.generation}")
        return Known(ref, str(self.generation), self.version, self.generation, self.open, dict(self.marks))


class Writer(NamedTuple):
    seen: tuple[Object, ...] = ()
    entries: tuple[tuple[str, int, int], ...] | None = None
    generation: int = 0
    knowledge: Knowledge = Knowledge.WATCHED

    def step(self) -> Settled | Count | Create | Arrange | Refresh:
        return planned(self)


@cache
def planned(writer: Writer) -> Settled | Count | Create | Arrange | Refresh:
    assert writer.entries is not None
    demand = Demand({slot: Entry(value, base) for slot, value, base in writer.entries}, writer.generation)
    view = View([found.known() for found in writer.seen], list[Gone]())
    return plan(view, demand, arbitrated=True, knowledge=writer.knowledge)


class State(NamedTuple):
    objects: tuple[Object, ...] = ()
    values: tuple[int, ...] = (0,) * len(SLOTS)
    bases: tuple[int, ...] = (0,) * len(SLOTS)
    generation: int = 0
    writers: tuple[Writer, ...] = (Writer(),) * len(SLOTS)
    closed: int = 0

    def held(self) -> int:
        return sum(total(dict(found.marks)) for found in self.objects)

    def with_writer(self, number: int, writer: Writer) -> State:
        writers = list(self.writers)
        writers[number] = writer
        return self._replace(writers=tuple(writers))


def freeze(marks: Marks) -> Frozen:
    return tuple(marks.items())


def put(objects: tuple[Object, ...], found: Object) -> tuple[Object, ...]:
    return tuple(sorted([other for other in objects if other.generation != found.generation] + [found]))


def perform(state: State, number: int, *, answered: bool) -> State:
    """One step of one writer; without an answer it happened all the same."""
    writer = state.writers[number]
    step = writer.step()
    match step:
        case Settled():
            bases = tuple(
                max(base, min(value, step.covered.get(slot, 0)))
                for slot, value, base in zip(SLOTS, state.values, state.bases, strict=True)
            )
            return state.with_writer(number, writer._replace(entries=None))._replace(bases=bases)
        case Refresh():
            return state.with_writer(number, writer._replace(seen=state.objects, knowledge=Knowledge.LISTED))
        case Arrange():
            generation = max(state.generation, step.known + 1)
            return state.with_writer(number, writer._replace(generation=generation))._replace(
                generation=generation
            )
        case Create():
            for found in state.objects:
                if found.generation == step.generation:
                    return state.with_writer(
                        number, writer._replace(seen=put(writer.seen, found), knowledge=Knowledge.DOUBTFUL)
                    )
            made = Object(step.generation, 1, True, freeze(step.marks))
            after = state._replace(objects=put(state.objects, made))
        case Count():
            found = next(o for o in state.objects if o.generation == step.request.generation)
            if found.version != step.request.resource_version:
                return state.with_writer(number, writer._replace(seen=put(writer.seen, found)))
            assert found.open, "a closed request is written"
            made = found._replace(version=found.version + 1, marks=freeze(step.marks))
            after = state._replace(objects=put(state.objects, made))
    if answered:
        return after.with_writer(number, writer._replace(seen=put(writer.seen, made)))
    return after


def successors(state: State) -> Iterator[State]:
    for number, _ in enumerate(SLOTS):
        writer = state.writers[number]
        if state.values[number] < OCCURRENCES:
            values = list(state.values)
            values[number] += 1
            after = state._replace(values=tuple(values))
            if not any(found.open for found in writer.seen):
                highest = max((found.generation for found in writer.seen), default=0)
                after = after._replace(generation=max(after.generation, highest + 1))
            yield after
        if writer.entries is None:
            entries = tuple(
                (slot, value, base)
                for slot, value, base in zip(SLOTS, state.values, state.bases, strict=True)
                if value > base
            )
            if entries:
                yield state.with_writer(
                    number,
                    writer._replace(
                        entries=entries, generation=state.generation, knowledge=Knowledge.WATCHED
                    ),
                )
        else:
            yield perform(state, number, answered=True)
            if isinstance(writer.step(), Create | Count):
                yield perform(state, number, answered=False)
        if writer.seen != state.objects:
            yield state.with_writer(number, writer._replace(seen=state.objects))
    if state.closed < CLOSINGS:
        for found in state.objects:
            if found.open:
                closed = found._replace(open=False, version=found.version + 1)
                yield state._replace(objects=put(state.objects, closed), closed=state.closed + 1)


def at_rest(state: State) -> State:
    """Let both writers finish, one after the other, with everything they need."""
    for number, _ in enumerate(SLOTS):
        for _ in range(40):
            writer = state.writers[number]
            if writer.entries is None:
                pending = tuple(
                    (slot, value, base)
                    for slot, value, base in zip(SLOTS, state.values, state.bases, strict=True)
                    if value > base
                )
                if not pending:
                    break
                writer = Writer(state.objects, pending, state.generation)
                state = state.with_writer(number, writer)
            state = perform(state, number, answered=True)
        else:
            raise AssertionError("it does not come to rest")
    return state


def test_every_order_of_events_keeps_the_count() -> None:
    seen = {State()}
    frontier = [State()]
    while frontier:
        following = []
        for state in frontier:
            assert state.held() <= sum(state.values), state
            for after in successors(state):
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        frontier = following

    assert len(seen) > 10_000
    for state in seen:
        end = at_rest(state)
        assert end.held() == sum(end.values), (state, end)
        assert sum(found.open for found in end.objects) <= 1, (state, end)
        for found in end.objects:
            for slot, mark in dict(found.marks).items():
                assert settled(mark) <= end.values[SLOTS.index(slot)]
