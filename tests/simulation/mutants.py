"""The engine with one rule taken out: the simulation has to notice each of them.

What breaks without a rule is the only proof that the simulation still sees. Each mutant names the schedules in which
it has to be caught; it is caught when one of so many seeds ends with a broken promise.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import msgspec

from gateway import errors
from gateway.engine import engine, healing, ledger, marks, planning, storming, writing
from gateway.engine.admitting import Admitter
from gateway.engine.deliveries import Delivery, note_name
from gateway.engine.marks import Mark, Marks
from gateway.engine.noting import Notes
from gateway.engine.planning import Demand, Entry, Known, View
from gateway.kube.index import Index
from gateway.state.records import Note
from tests.simulation.disk import Disk
from tests.simulation.nemesis import schedule
from tests.simulation.profiles import (
    BOTH,
    CALM,
    CRASH,
    DELETE,
    FORK,
    JOURNAL,
    JOURNAL_STORM,
    LOSS,
    NOTES,
    SLOW,
    STORM,
    STORM_BOTH,
    STORM_CRASH,
    STORM_LOSS,
    Profile,
)


@dataclass(frozen=True)
class Mutant:
    """One rule taken out."""

    name: str
    profiles: Sequence[Profile]
    patch: Callable[[], Any] = mock.MagicMock
    twin: frozenset[str] = frozenset()
    seeds: int = 300

    def caught(self) -> tuple[str, int, list[str]] | None:
        """The first schedule that ends with a broken promise, and what it is; None where all end well."""
        for seed in range(self.seeds):
            for profile in self.profiles:
                with self.patch():
                    _, found = schedule(profile, seed, mutations=self.twin)
                if found:
                    return profile.name, seed, found
        return None


@contextmanager
def _patched(target: Any, name: str, replacement: Any) -> Iterator[None]:
    with mock.patch.object(target, name, replacement):
        yield


def _another_source() -> Any:
    """The fallback counts under a slot of its own."""
    numbers = itertools.count(1)
    write = writing.Writer.write

    async def other(
        self: Any, fingerprint: str, demand: Demand, signal: Any, arbiter: Any, **options: Any
    ) -> Any:
        if arbiter is None and demand.entries:
            renamed = {f"fallback.{next(numbers)}": Entry(1) for _ in demand.entries}
            demand = msgspec.structs.replace(demand, entries=renamed)
        return await write(self, fingerprint, demand, signal, arbiter, **options)

    return _patched(writing.Writer, "write", other)


def _slot_used_again() -> Any:
    """Slots leave memory at once, and their names come back."""

    def opened(self: ledger.Ledger, fingerprint: str, now: float) -> ledger.Slot:
        slot = self._slots.get(fingerprint)
        if slot is None or (slot.idle and slot.acc):
            slot = self._slots[fingerprint] = ledger.Slot(
                f"{self.process_id}.{fingerprint[:2]}", fingerprint, now
            )
        return slot

    return _patched(ledger.Ledger, "open", opened)


def _closed_is_written() -> Any:
    def opened(self: View) -> list[Known]:
        return sorted(self.requests, key=lambda r: r.generation, reverse=True)

    return _patched(View, "opened", opened)


def _own_generation() -> Any:
    """Each replica names the next generation by what it knows itself."""
    numbers = itertools.count(1)

    def create(view: View, pending: dict[str, int], done: dict[str, int], generation: int) -> planning.Create:
        step = original(view, pending, done, generation)
        return msgspec.structs.replace(step, generation=view.highest() + next(numbers))

    original = planning._create
    return _patched(planning, "_create", create)


def _no_tombs() -> Any:
    return _patched(Index, "tombs", lambda self, fingerprint: ())


def _no_healing() -> Any:
    return _patched(writing, "heal", lambda view: None)


def _no_carried_marks() -> Any:
    def nothing(view: View, demand: Demand) -> dict[str, int]:
        opened: list[Marks] = [request.marks for request in view.requests if request.open]
        reached = marks.floors(opened)
        return {slot: reached.get(slot, 0) for slot in demand.entries}

    return _patched(planning, "covered", nothing)


def _base_ignored() -> Any:
    """Settled entries count as pending: the snapshot does not say what is settled."""

    def nothing(view: View, demand: Demand) -> dict[str, int]:
        reached = marks.floors([request.marks for request in view.requests])
        return {slot: reached.get(slot, 0) for slot in demand.entries}

    return _patched(planning, "covered", nothing)


def _taken_only_with_answer() -> Any:
    """`acc` rises only when the whole webhook is answered 2xx; what was taken of a failed one is forgotten."""
    admit = Admitter.admit

    async def forgetful(self: Any, readings: Any, body: bytes, *, limited: bool) -> Any:
        before = {r.fingerprint: self._ledger.open(r.fingerprint, 0.0).acc for r in readings}
        try:
            return await admit(self, readings, body, limited=limited)
        except errors.NotDurable:
            for fingerprint, acc in before.items():
                slot = self._ledger.get(fingerprint)
                if slot is not None:
                    slot.acc = min(slot.acc, acc)
            raise

    return _patched(Admitter, "admit", forgetful)


def _two_notes() -> Any:
    """A note is kept in Redis and in memory."""
    keep = Notes.keep

    async def both(self: Any, delivery: Any, positions: Any) -> None:
        await keep(self, delivery, positions)
        taken = [
            Note(delivery.digest, note_name(reading))
            for reading, fate in zip(delivery.readings, delivery.fates, strict=True)
            if fate is not None and fate.counted
        ]
        self.keep_in_memory(taken)

    return _patched(Notes, "keep", both)


def _cancelled_with_its_webhook() -> Any:
    """A webhook that runs out of time ends what would tell it that its alerts were taken after all."""

    async def settled(self: Delivery) -> None:
        if self.left:
            if not self._waiting:
                self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[0]

    return _patched(Delivery, "settled", settled)


def _healing_by_number() -> Any:
    """The loser keeps the number that the winner has not, instead of giving up the interval."""

    def without(mark: Mark, taken: Mark) -> Mark:
        if not taken:
            return mark
        top = marks.settled(mark)
        return ((taken[-1][1], top),)

    return _patched(healing, "without", without)


def _window_named_otherwise() -> Any:
    """The aggregated request is named by whoever writes it, and not by its window."""
    numbers = itertools.count(1)
    return _patched(
        storming.objects,
        "storm_name",
        lambda alertname, window: f"rr-{alertname}-storm-{next(numbers)}".lower(),
    )


def _closed_storm_is_written() -> Any:
    return _patched(storming, "_over", lambda stored: False)


def _joining_from_zero() -> Any:
    """A new member brings all of its numbers, and not only what nobody counts yet."""

    def joining(view: View, demand: Demand) -> Marks:
        return {slot: ((0, entry.value),) for slot, entry in demand.entries.items()}

    return _patched(storming, "joining", joining)


def _released_is_forgotten() -> Any:
    """What a closed request cannot take is confirmed as if it were written."""
    result = storming.StormWriter._result

    def settled(self: Any, turn: Any, views: Any) -> Any:
        written = result(self, turn, views)
        members = {
            fingerprint: msgspec.structs.replace(
                member,
                covered={slot: entry.value for slot, entry in turn.parts[fingerprint].demand.entries.items()},
            )
            for fingerprint, member in written.members.items()
        }
        return msgspec.structs.replace(written, members=members)

    return _patched(storming.StormWriter, "_result", settled)


def _journal_not_replayed() -> Any:
    return _patched(engine, "inherit", lambda entries, ledger, now: None)


def _journal_not_synced() -> Any:
    return _patched(Disk, "_sync", lambda self: None)


def _journal_forgets_when_it_begins_anew() -> Any:
    return _patched(ledger.Ledger, "unsettled", lambda self: [])


def _inherited_slots_go_on() -> Any:
    """The process counts on in the slots that it inherited, as if they were its own."""
    inherit = engine.inherit

    def adopt(entries: Any, own: ledger.Ledger, now: float) -> None:
        inherit(entries, own, now)
        for slot in own.unsettled():
            own._slots[slot.fingerprint] = slot

    return _patched(engine, "inherit", adopt)


MUTANTS = (
    Mutant("INCR instead of absolute values", (BOTH,), twin=frozenset({"incr"})),
    Mutant("another source in the fallback", (BOTH,), _another_source),
    Mutant("a slot name used again", (BOTH, CRASH), _slot_used_again),
    Mutant("confirm deletes blindly", (CRASH,), twin=frozenset({"confirm-deletes"})),
    Mutant("no sweep", (CRASH, LOSS), twin=frozenset({"no-sweep"})),
    Mutant("a closed request is written", (CALM,), _closed_is_written),
    Mutant("each replica picks the generation", (BOTH, CRASH), _own_generation),
    Mutant("no tombs", (DELETE, CALM), _no_tombs),
    Mutant("no healing", (FORK,), _no_healing),
    Mutant("no carried marks", (CALM, BOTH), _no_carried_marks),
    Mutant("settled entries in a snapshot", (DELETE, LOSS), _base_ignored),
    Mutant("acc raised only with the 2xx", (BOTH,), _taken_only_with_answer),
    Mutant("a note kept in two places", (NOTES,), _two_notes),
    Mutant("a note without run_id", (NOTES,), twin=frozenset({"note-without-run-id"})),
    Mutant("what is taken behind a time-out is not noted", (SLOW,), _cancelled_with_its_webhook),
    Mutant("healing by number instead of interval", (FORK,), _healing_by_number),
    Mutant("a window's request not named by its id", (STORM_CRASH, STORM_BOTH), _window_named_otherwise),
    Mutant(
        "a closed aggregated request is written",
        (STORM_CRASH, STORM_LOSS, STORM_BOTH),
        _closed_storm_is_written,
    ),
    Mutant("a member joins with what is counted already", (STORM, STORM_CRASH), _joining_from_zero),
    Mutant("what a closed request cannot take is forgotten", (STORM, STORM_CRASH), _released_is_forgotten),
    Mutant("a resolved member deleted instead of settled", (STORM,), twin=frozenset({"resolved-deleted"})),
    Mutant("a window confirmed blindly", (STORM_CRASH,), twin=frozenset({"confirm-window-blindly"})),
    Mutant("journal not replayed", (JOURNAL, JOURNAL_STORM), _journal_not_replayed),
    Mutant("journal not synced", (JOURNAL, JOURNAL_STORM), _journal_not_synced),
    Mutant(
        "journal forgets when it begins anew", (JOURNAL, JOURNAL_STORM), _journal_forgets_when_it_begins_anew
    ),
    Mutant("inherited slots get new numbers", (JOURNAL, JOURNAL_STORM), _inherited_slots_go_on, seeds=1500),
    Mutant("no sweep of windows", (STORM_CRASH, STORM_LOSS), twin=frozenset({"no-sweep"})),
)
