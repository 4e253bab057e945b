"""Admission: from readings to "durable", one Redis round trip for everything that waits.

While one call of a shard is in flight, what arrives meanwhile gathers and shares the next one; equal alerts of
different webhooks fold into one message, because a message says "the slot has reached n" and not "one more". A
fingerprint has one admission in flight at most, so that its numbers go out in order.

Where Redis refuses, or does not say, the *same* slot and number are written to Kubernetes directly. Where that fails
too, the number stays a ghost that the next admission sends again, and the webhook is told 503; what others of its
alerts were taken is noted, so that the sender's retry of the same body counts only the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import structlog

from gateway import errors
from gateway.engine.deliveries import Delivery, Fate, Key, Unit, note_name
from gateway.engine.direct import DEADLINE, DirectWay
from gateway.engine.journal import Journal
from gateway.engine.ledger import FIRST_ASSERTION, Ledger, Slot
from gateway.engine.noting import Notes
from gateway.engine.ports import Ports
from gateway.engine.refusing import Refusals
from gateway.engine.views import Remembered, remembered, resolved_since
from gateway.engine.writing import Writer
from gateway.intake.reading import Reading
from gateway.state.payloads import encode
from gateway.state.records import (
    IMMEDIATE,
    Admission,
    AdmitReply,
    Admitted,
    Held,
    Kind,
    Standing,
    WindowState,
)
from gateway.telemetry.tracing import current

log = structlog.get_logger(__name__)

MOST_IN_A_CALL = 200
"""Messages in one script call: Redis serves nobody else meanwhile (500 took 7 ms)."""


_EVENTS = {
    "opened": "Storm window ID given: window opened",
    "storming": "Storm window ID kept: threshold reached",
    "spilled": "Storm window ID kept: its buffer is full and is written",
    "full": "Storm window ID kept: window is full and closes",
    "recreated": "Storm window ID kept: forgotten by Redis and there again",
}


class _Shard:
    """What waits for one shard's next call."""

    __slots__ = ("life", "pending", "task")

    def __init__(self) -> None:
        self.life = ""
        """Which life of Redis's data answered last."""
        self.pending: dict[Key, Unit] = {}
        self.task: asyncio.Task[None] | None = None


class Admitter:
    """Takes alerts, durably or not at all."""

    def __init__(
        self,
        ports: Ports,
        ledger: Ledger,
        writer: Writer,
        *,
        on_due: Callable[[int, int], None],
        on_taken: Callable[[str, int], None],
        on_forgotten: Callable[[int], Awaitable[None]],
        concurrency: int,
        journal: Journal | None = None,
    ) -> None:
        """`on_due(shard, ms)`: an item of the queue will be due. `on_taken(fingerprint, n)`: n are newly confirmed.

        `on_forgotten(shard)` tells Redis again of the windows that this process knows.
        """
        self._on_forgotten = on_forgotten
        self._journal = journal
        self._traces = ports.traces
        self._store = ports.store
        self._ledger = ledger
        self._index = ports.index
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._on_due = on_due
        self._on_taken = on_taken
        self._notes = Notes(ports)
        self._refusals = Refusals(self._notes, self._start)
        self._direct = DirectWay(ports, ledger, writer, on_taken=on_taken, concurrency=concurrency)
        self._shards = [_Shard() for _ in range(ports.store.shards)]
        self._several = len(self._shards) > 1
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def admit(self, readings: Sequence[Reading], body: bytes, *, limited: bool) -> list[Fate]:
        """What became of each reading, in order. Raises `NotDurable` where some could not be taken.

        `limited`: the queue is full and writes fail, so take nothing that would need a new request.
        """
        delivery = Delivery(readings, body, current.get() if self._traces is not None else "")
        await self._refusals.earlier(delivery)
        noted = self._notes.take_from_memory(delivery)
        for position, reading in enumerate(readings):
            if noted and not reading.resolved and note_name(reading) in noted:
                delivery.settle(position, Fate(Standing.SETTLED))
            else:
                self._enqueue(delivery, position, reading, limited=limited)
        try:
            if delivery.left:
                await delivery.settled()
        except asyncio.CancelledError:
            self._take_back(delivery)
            await self._refusals.refuse(delivery, patience=DEADLINE)
            raise
        failed = next(
            (fate.error for fate in delivery.fates if fate is not None and fate.error is not None), None
        )
        if failed is not None:
            await self._refusals.refuse(delivery)
            if isinstance(failed, errors.NotDurable):
                raise failed
            raise errors.NotDurable(
                f"neither Redis nor Kubernetes could take every alert: {failed}"
            ) from failed
        return [fate for fate in delivery.fates if fate is not None]

    async def close(self) -> None:
        """Let what is under way end."""
        for shard in self._shards:
            if shard.task is not None and not shard.task.done():
                await shard.task
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- gathering

    def _enqueue(self, delivery: Delivery, position: int, reading: Reading, *, limited: bool) -> None:
        number = self._store.shard(reading.group) if self._several else 0
        shard = self._shards[number]
        key = (reading.fingerprint, reading.starts_at, reading.resolved)
        unit = shard.pending.get(key)
        if unit is None:
            unit = shard.pending[key] = Unit(reading.fingerprint, key, reading, number, limited)
            if shard.task is None or shard.task.done():
                shard.task = asyncio.create_task(self._run(number), name=f"admit-{number}")
        elif not limited:
            unit.limited = False
        unit.members.append((delivery, position))

    async def _run(self, number: int) -> None:
        shard = self._shards[number]
        if self._traces is not None:
            current.set("")  # a call is for all that wait, and not for the webhook that began this task
        while batch := self._next_batch(shard):
            try:
                await self._call(number, batch)
            except Exception as error:
                log.exception("admission failed unexpectedly")
                self._give_up(batch, error)

    def _give_up(self, batch: Sequence[Unit], error: Exception) -> None:
        """A bug, not an outage; still nothing may wait for ever, and nothing was taken for certain."""
        self._metrics.errors["admission"].inc()
        failure = errors.NotDurable(f"admission failed: {type(error).__name__}")
        for unit in batch:
            self._release(unit, Fate(None, error=failure))

    def _next_batch(self, shard: _Shard) -> list[Unit]:
        """What one call takes. A new problem costs Redis about as much as two duplicates."""
        batch: list[Unit] = []
        weight = 0
        for unit in shard.pending.values():
            if unit.fingerprint not in self._busy:
                self._busy.add(unit.fingerprint)
                batch.append(unit)
                weight += 1 if self._index.open(unit.fingerprint) is not None else 2
                if weight >= MOST_IN_A_CALL:
                    break
        for unit in batch:
            del shard.pending[unit.key]
        return batch

    def _release(self, unit: Unit, fate: Fate) -> None:
        self._busy.discard(unit.fingerprint)
        unit.settle(fate)
        self._wake(unit.shard)

    def _wake(self, number: int) -> None:
        shard = self._shards[number]
        if shard.pending and (shard.task is None or shard.task.done()):
            shard.task = asyncio.create_task(self._run(number), name=f"admit-{number}")

    # --- through Redis

    async def _call(self, number: int, batch: list[Unit]) -> None:
        now = self._clock.monotonic()
        try:
            if self._traces is None:
                reply, batch = await self._take(number, batch, now)
            else:
                with self._traces.admitting(number, batch):
                    reply, batch = await self._take(number, batch, now)
        except errors.StoreError as error:
            # Those of which nothing is left were settled by their notes, and are nobody's business any more.
            batch = [unit for unit in batch if unit.members]
            if isinstance(error, errors.StoreRefused):
                for unit in batch:
                    self._unsent(unit)
            self._start(self._directly(batch, error), "direct")
            return
        if reply.due_in >= 0:
            self._on_due(number, reply.due_in)
        self._ledger.patience = FIRST_ASSERTION + 1.5 * reply.wait / 1000
        fates: list[tuple[Unit, Fate]] = []
        for unit, admitted in zip(batch, reply.results, strict=True):
            self._busy.discard(unit.fingerprint)
            fate = self._settle(unit, admitted, now)
            if fate is not None:
                fates.append((unit, fate))
        self._answer(fates)

    async def _directly(self, batch: Sequence[Unit], why: errors.StoreError) -> None:
        try:
            await self._direct.take(batch, why, self._release)
        except Exception as error:
            log.exception("direct admission failed unexpectedly")
            self._give_up(batch, error)

    async def _take(self, number: int, batch: list[Unit], now: float) -> tuple[AdmitReply, list[Unit]]:
        """The answer of Redis, and whom it is for: without those whose body was noted already. Raises `StoreError`."""
        reply = await self._ask(number, batch, now, notes_taken=False)
        if reply.noted:
            for unit in batch:
                self._unsent(unit)
            batch, settled = await self._notes.take(number, batch)
            self._busy.difference_update(unit.fingerprint for unit in settled)
            reply = await self._ask(number, batch, now, notes_taken=True)
        return reply, batch

    def _answer(self, fates: list[tuple[Unit, Fate]]) -> None:
        """Tell what became of the units: at once, or when the journal has what Kubernetes has not."""
        slots = []
        if self._journal is not None:
            slots = [
                unit.slot
                for unit, fate in fates
                if fate.counted and unit.slot is not None and unit.slot.unconfirmed
            ]
        if not slots:
            for unit, fate in fates:
                unit.settle(fate)
            return
        self._start(self._write_down(slots, fates), "journal")

    def _start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Begin what ends by itself; stopping waits for it."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write_down(self, slots: list[Slot], fates: list[tuple[Unit, Fate]]) -> None:
        """Meanwhile the next call of the shard goes out: numbers may reach the disk in any order."""
        assert self._journal is not None
        try:
            await self._journal.commit(slots)
        finally:
            for unit, fate in fates:
                unit.settle(fate)

    async def _ask(self, number: int, batch: list[Unit], now: float, *, notes_taken: bool) -> AdmitReply:
        """The same numbers once more after a time-out: they may be there, and saying so again changes nothing.

        A moment in which Redis, or this machine, was busy is far more frequent than a dead Redis, and writing a whole
        batch to Kubernetes instead is far more expensive than one more time-out.
        """
        try:
            return await self._say(number, batch, now, notes_taken=notes_taken)
        except errors.StoreUnsure as error:
            if error.kind != "timeout":
                raise
        self._metrics.retries["redis"].inc()
        return await self._say(number, batch, now, notes_taken=notes_taken)

    async def _say(self, number: int, batch: list[Unit], now: float, *, notes_taken: bool) -> AdmitReply:
        """Where Redis lost its data, the windows that are known here come first: new alerts then find theirs again,
        instead of opening others beside them."""
        shard = self._shards[number]
        messages = [self._message(unit, now) for unit in batch]
        reply = await self._store.admit(number, messages, notes_taken=notes_taken, life=shard.life)
        if reply.life == shard.life or not shard.life:
            shard.life = reply.life
            return reply
        shard.life = reply.life
        for unit in batch:
            self._unsent(unit)
        await self._on_forgotten(number)
        messages = [self._message(unit, now) for unit in batch]
        return await self._store.admit(number, messages, notes_taken=notes_taken)

    def _message(self, unit: Unit, now: float) -> Admission:
        """What a unit says, numbered. A known open request needs no payload: Redis says if it wants one."""
        reading, fingerprint = unit.reading, unit.fingerprint
        slot_name = ""
        haunted = False
        if not reading.resolved:
            slot = unit.slot = self._ledger.open(fingerprint, now)
            haunted = slot.haunted
            unit.sent_before = slot.sent
            unit.value = self._ledger.send(slot, len(unit.members), now)
            slot_name = slot.name
        stored = self._index.open(fingerprint)
        if stored is not None and stored.generation:
            window, state, end, closed_windows = Remembered()
            opened, closed, since = stored.generation, 0, ""
        else:
            window, state, end, closed_windows = remembered(self._index, fingerprint, unit.slot)
            opened, closed = 0, self._index.highest_generation(fingerprint)
            since = resolved_since(self._index, fingerprint) if closed or window or closed_windows else ""
        payload, rule, proposal = "", IMMEDIATE, ""
        if unit.with_payload or not (opened or state is WindowState.WRITTEN or reading.resolved):
            signal = reading.signal()
            payload = encode(signal if self._traces is None else self._traces.marked(signal, unit))
            rule = reading.hold() or IMMEDIATE
            proposal = self._ledger.propose_window() if rule.threshold else ""
        return Admission(
            fingerprint,
            Kind.RESOLVED if reading.resolved else Kind.FIRING,
            slot_name,
            unit.value,
            reading.starts_at,
            reading.dated,
            reading.ends_at,
            opened,
            closed,
            since,
            payload,
            haunted,
            unit.limited,
            reading.group,
            rule,
            proposal,
            window,
            state,
            end,
            closed_windows,
            unit.slot.conf if unit.slot is not None else 0,
        )

    def _settle(self, unit: Unit, admitted: Admitted, now: float) -> Fate | None:
        """Take note of one answer; returns what became of the unit, None where it has to be asked again."""
        standing = admitted.standing
        if not standing.counted:
            self._unsent(unit)
        if standing is Standing.WANTS_PAYLOAD:
            unit.with_payload = True
            self._put_back(unit)
            self._wake(unit.shard)
            return None
        if standing is Standing.WITHDRAWN and unit.slot is not None:
            self._ledger.withdraw(unit.slot, admitted.base)
            self._put_back(unit)
            self._wake(unit.shard)
            return None
        if standing is Standing.RESOLVED and admitted.base:
            # What was held of it needs no request any more, and nobody else will tell.
            self._metrics.alerts_resolved.inc(admitted.base)
        if unit.slot is not None and standing.counted:
            if admitted.base and standing is not Standing.SETTLED:
                self._ledger.withdraw(unit.slot, admitted.base)
            newly = self._ledger.taken(unit.slot, unit.value, unit.reading, now)
            if newly:
                self._on_taken(unit.fingerprint, newly)
        if admitted.window is not None:
            self._hold(unit, admitted.window)
        if standing is Standing.FULL:
            full = errors.Overloaded("the queue is full and Kubernetes takes no writes")
            return Fate(None, error=full)
        return Fate(standing, admitted.generation, window=admitted.window)

    def _hold(self, unit: Unit, window: Held) -> None:
        """A window holds the unit: remember which, since Redis may forget, and tell what happened to it."""
        if unit.slot is not None:
            self._ledger.hold(unit.slot, window.id, storming=window.storming, end=window.ends_at)
        if window.event in {"spilled", "full"}:
            self._metrics.storm_buffer_overflow.inc()
        if window.event:
            log.info(
                _EVENTS[window.event],
                window=window.id,
                group=unit.reading.group,
                members=window.members,
                storming=window.storming,
            )

    def _unsent(self, unit: Unit) -> None:
        """What was sent for the unit certainly counted nothing."""
        if unit.slot is not None:
            self._ledger.unsent(unit.slot, unit.sent_before)

    def _put_back(self, unit: Unit) -> None:
        pending = self._shards[unit.shard].pending
        later = pending.get(unit.key)
        if later is None:
            pending[unit.key] = unit
        else:
            later.members.extend(unit.members)
            later.with_payload = True
            later.limited = later.limited and unit.limited

    def _take_back(self, delivery: Delivery) -> None:
        """The webhook ran out of time: what of it was not sent yet is not taken any more."""
        gone = Fate(None, error=errors.NotDurable("the webhook ran out of time"))
        for shard in self._shards:
            for key, unit in list(shard.pending.items()):
                for member in [member for member in unit.members if member[0] is delivery]:
                    unit.members.remove(member)
                    delivery.settle(member[1], gone)
                if not unit.members:
                    del shard.pending[key]
