"""Notes: what of a body was taken although it was answered 503, so that the sender's retry counts only the rest.

A note is kept in Redis, or where that certainly has not got it, in this process; never in both, since in two places it
would hide two occurrences. It is handed out once, and forgotten after five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway import errors
from gateway.engine.deliveries import Delivery, Fate, Unit, note_name
from gateway.engine.ports import Ports
from gateway.state.records import Note, Standing

MEMORY_NOTE_LIFE = 300.0
"""Seconds for which a note is kept in this process; Redis keeps its own as long."""

MOST_MEMORY_NOTES = 100_000


class Notes:
    """Keeps notes, and hands them out."""

    def __init__(self, ports: Ports) -> None:
        self._store = ports.store
        self._clock = ports.clock
        self._kept: dict[tuple[str, str], float] = {}

    async def keep(self, delivery: Delivery, positions: Iterable[int]) -> None:
        """Note what was taken of these positions of a body that is answered 503."""
        by_shard: dict[int, list[Note]] = {}
        for position in positions:
            reading, fate = delivery.readings[position], delivery.fates[position]
            if fate is not None and fate.counted and not reading.resolved:
                note = Note(delivery.digest, note_name(reading))
                by_shard.setdefault(self._store.shard(reading.group), []).append(note)
        for number, notes in by_shard.items():
            try:
                await self._store.note(number, notes)
            except errors.StoreRefused:
                self.keep_in_memory(notes)
            except errors.StoreError:
                continue  # it may be there

    def keep_in_memory(self, notes: Iterable[Note]) -> None:
        now = self._clock.monotonic()
        if len(self._kept) > MOST_MEMORY_NOTES:
            self._kept = {key: at for key, at in self._kept.items() if now - at < MEMORY_NOTE_LIFE}
        if len(self._kept) <= MOST_MEMORY_NOTES:
            self._kept.update(((note.body, note.alert), now) for note in notes)

    def take_from_memory(self, delivery: Delivery) -> set[str]:
        """The alerts of this body that were taken when it came before, by `note_name`."""
        if not self._kept:
            return set()
        oldest = self._clock.monotonic() - MEMORY_NOTE_LIFE
        names = {note_name(reading) for reading in delivery.readings if not reading.resolved}
        return {name for name in names if self._kept.pop((delivery.digest, name), -1.0) >= oldest}

    async def take(self, shard: int, batch: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
        """Settle the alerts of bodies that came again and were taken before.

        Returns the units that are left to be taken, and those of which nothing is left.
        """
        asked: list[tuple[Unit, Delivery]] = []
        for unit in batch:
            if not unit.reading.resolved:
                asked.extend((unit, delivery) for delivery in dict.fromkeys(d for d, _ in unit.members))
        notes = [Note(delivery.digest, note_name(unit.reading)) for unit, delivery in asked]
        try:
            found = await self._store.take_notes(shard, notes) if notes else []
        except errors.StoreError:
            return list(batch), []  # unsure is no note
        for (unit, delivery), was_noted in zip(asked, found, strict=True):
            if was_noted:
                for member in [m for m in unit.members if m[0] is delivery]:
                    unit.members.remove(member)
                    delivery.settle(member[1], Fate(Standing.SETTLED))
        return [unit for unit in batch if unit.members], [unit for unit in batch if not unit.members]
