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
import contextlib
import hashlib
from collections.abc import Callable, Coroutine, Iterable, Sequence

import msgspec
import structlog

from gateway import errors
from gateway.engine.ledger import FIRST_ASSERTION, Ledger, Slot
from gateway.engine.planning import Demand, Entry
from gateway.engine.ports import Ports
from gateway.engine.views import resolved_since
from gateway.engine.writing import Writer
from gateway.intake.reading import Reading
from gateway.state.payloads import encode
from gateway.state.records import Admission, AdmitReply, Admitted, Kind, Note, Standing

log = structlog.get_logger(__name__)

MOST_IN_A_CALL = 200
"""Messages in one script call: Redis serves nobody else meanwhile (500 took 7 ms)."""

DIRECT_DEADLINE = 6.0
"""Seconds for writing an alert to Kubernetes directly; past them its outcome is unknown."""

MEMORY_NOTE_LIFE = 300.0
"""Seconds for which a note is kept in this process; Redis keeps its own as long."""

MOST_MEMORY_NOTES = 100_000


class Fate(msgspec.Struct, gc=False):
    """What became of one unit; shared by every alert that was folded into it."""

    standing: Standing | None
    """None where it was not taken: `error` says why, or `detail` that it never can be."""
    generation: int = 0
    detail: str = ""
    error: errors.GatewayError | None = None

    @property
    def counted(self) -> bool:
        return self.standing is not None and self.standing.counted


class Delivery:
    """One webhook's alerts on their way."""

    __slots__ = ("_body", "_digest", "done", "fates", "left", "readings")

    def __init__(self, readings: Sequence[Reading], body: bytes) -> None:
        self.readings = readings
        self.fates: list[Fate | None] = [None] * len(readings)
        self.left = len(readings)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._body = body
        self._digest = ""

    @property
    def digest(self) -> str:
        """Names the body; computed only when a note is written or looked for."""
        if not self._digest:
            self._digest = hashlib.sha256(self._body).hexdigest()[:32]
        return self._digest

    def settle(self, position: int, fate: Fate) -> None:
        if self.fates[position] is None:
            self.fates[position] = fate
            self.left -= 1
            if not self.left and not self.done.done():
                self.done.set_result(None)


_Key = tuple[str, str, bool]
"""Fingerprint, start of the episode, and whether it is over. (No enum: hashing one is a call of Python code.)"""


class _Unit:
    """All waiting alerts that say the same: one fingerprint, one episode, firing or resolved."""

    __slots__ = (
        "fingerprint",
        "key",
        "limited",
        "members",
        "reading",
        "sent_before",
        "shard",
        "slot",
        "value",
        "with_payload",
    )

    def __init__(self, reading: Reading, key: _Key, shard: int, *, limited: bool) -> None:
        self.fingerprint = reading.fingerprint
        self.key = key
        self.reading = reading
        self.shard = shard
        self.members: list[tuple[Delivery, int]] = []
        self.limited = limited
        self.with_payload = False
        self.slot: Slot | None = None
        """Where it is counted, and `value` what that reaches with it; set when it is sent, for firing ones."""
        self.value = 0
        self.sent_before = 0
        """What the slot's `sent` was before: it is that again where the number certainly reached nobody."""

    def settle(self, fate: Fate) -> None:
        """Tell every member. Of alerts that were folded, the first is the one that asks for a new request."""
        for delivery, position in self.members:
            delivery.settle(position, fate)
            if fate.standing is Standing.NEW:
                fate = Fate(Standing.PENDING, fate.generation)


class _Shard:
    """What waits for one shard's next call."""

    __slots__ = ("pending", "task")

    def __init__(self) -> None:
        self.pending: dict[_Key, _Unit] = {}
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
        concurrency: int,
    ) -> None:
        """`on_due(shard, ms)`: an item of the queue will be due. `on_taken(fingerprint, n)`: n are newly confirmed."""
        self._store = ports.store
        self._ledger = ledger
        self._index = ports.index
        self._writer = writer
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._on_due = on_due
        self._on_taken = on_taken
        self._direct = asyncio.Semaphore(concurrency)
        self._shards = [_Shard() for _ in range(ports.store.shards)]
        self._busy: set[str] = set()
        self._notes: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def admit(self, readings: Sequence[Reading], body: bytes, *, limited: bool) -> list[Fate]:
        """What became of each reading, in order. Raises `NotDurable` where some could not be taken.

        `limited`: the queue is full and writes fail, so take nothing that would need a new request.
        """
        delivery = Delivery(readings, body)
        noted = self._take_memory_notes(delivery) if self._notes else ()
        for position, reading in enumerate(readings):
            if noted and not reading.resolved and note_name(reading) in noted:
                delivery.settle(position, Fate(Standing.SETTLED))
            else:
                self._enqueue(delivery, position, reading, limited=limited)
        try:
            if delivery.left:
                await delivery.done
        except asyncio.CancelledError:
            await self._abandon(delivery)
            raise
        failed = next(
            (fate.error for fate in delivery.fates if fate is not None and fate.error is not None), None
        )
        if failed is not None:
            await self._note(delivery)
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
        number = self._store.shard(reading.group)
        shard = self._shards[number]
        key = (reading.fingerprint, reading.starts_at, reading.resolved)
        unit = shard.pending.get(key)
        if unit is None:
            unit = shard.pending[key] = _Unit(reading, key, number, limited=limited)
            if shard.task is None or shard.task.done():
                shard.task = asyncio.create_task(self._run(number), name=f"admit-{number}")
        elif not limited:
            unit.limited = False
        unit.members.append((delivery, position))

    async def _run(self, number: int) -> None:
        shard = self._shards[number]
        while batch := self._next_batch(shard):
            try:
                await self._call(number, batch)
            except Exception as error:
                # A bug, not an outage; still nothing may wait for ever, and nothing was taken for certain.
                log.exception("admission failed unexpectedly")
                self._metrics.errors["admission"].inc()
                failure = errors.NotDurable(f"admission failed: {type(error).__name__}")
                for unit in batch:
                    self._release(unit, Fate(None, error=failure))

    def _next_batch(self, shard: _Shard) -> list[_Unit]:
        batch: list[_Unit] = []
        for unit in shard.pending.values():
            if unit.fingerprint not in self._busy:
                self._busy.add(unit.fingerprint)
                batch.append(unit)
                if len(batch) == MOST_IN_A_CALL:
                    break
        for unit in batch:
            del shard.pending[unit.key]
        return batch

    def _release(self, unit: _Unit, fate: Fate) -> None:
        self._busy.discard(unit.fingerprint)
        unit.settle(fate)
        self._wake(unit.shard)

    def _wake(self, number: int) -> None:
        shard = self._shards[number]
        if shard.pending and (shard.task is None or shard.task.done()):
            shard.task = asyncio.create_task(self._run(number), name=f"admit-{number}")

    # --- through Redis

    async def _call(self, number: int, batch: list[_Unit]) -> None:
        now = self._clock.monotonic()
        try:
            reply = await self._ask(number, batch, now, notes_taken=False)
            if reply.noted:
                for unit in batch:
                    self._unsent(unit)
                batch = await self._take_notes(number, batch)
                reply = await self._ask(number, batch, now, notes_taken=True)
        except errors.StoreError as error:
            for unit in batch:
                if isinstance(error, errors.StoreRefused):
                    self._unsent(unit)
                self._spawn(self._write_directly(unit, error))
            return
        if reply.due_in >= 0:
            self._on_due(number, reply.due_in)
        self._ledger.patience = FIRST_ASSERTION + 1.5 * reply.wait / 1000
        for unit, admitted in zip(batch, reply.results, strict=True):
            self._busy.discard(unit.fingerprint)
            self._settle(unit, admitted, now)

    async def _ask(self, number: int, batch: list[_Unit], now: float, *, notes_taken: bool) -> AdmitReply:
        """The same numbers once more after a time-out: they may be there, and saying so again changes nothing.

        A moment in which Redis, or this machine, was busy is far more frequent than a dead Redis, and writing a whole
        batch to Kubernetes instead is far more expensive than one more time-out.
        """
        messages = [self._message(unit, now) for unit in batch]
        try:
            return await self._store.admit(number, messages, notes_taken=notes_taken)
        except errors.StoreUnsure as error:
            if error.kind != "timeout":
                raise
        self._metrics.retries["redis"].inc()
        messages = [self._message(unit, now) for unit in batch]
        return await self._store.admit(number, messages, notes_taken=notes_taken)

    def _message(self, unit: _Unit, now: float) -> Admission:
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
        opened, closed, since, payload = 0, 0, "", ""
        if stored is not None and stored.generation:
            opened = stored.generation
        else:
            closed = self._index.highest_generation(fingerprint)
            since = resolved_since(self._index, fingerprint) if closed else ""
        if unit.with_payload or not (opened or reading.resolved):
            payload = encode(reading.signal())
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
        )

    def _settle(self, unit: _Unit, admitted: Admitted, now: float) -> None:
        """Take note of one answer."""
        standing = admitted.standing
        if not standing.counted:
            self._unsent(unit)
        if standing is Standing.WANTS_PAYLOAD:
            unit.with_payload = True
            self._put_back(unit)
            self._wake(unit.shard)
            return
        if unit.slot is not None and standing.counted:
            newly = self._ledger.taken(unit.slot, unit.value, unit.reading, now)
            if newly:
                self._on_taken(unit.fingerprint, newly)
        if standing is Standing.FULL:
            full = errors.Overloaded("the queue is full and Kubernetes takes no writes")
            unit.settle(Fate(None, error=full))
        else:
            unit.settle(Fate(standing, admitted.generation))

    def _unsent(self, unit: _Unit) -> None:
        """What was sent for the unit certainly counted nothing."""
        if unit.slot is not None:
            self._ledger.unsent(unit.slot, unit.sent_before)

    def _put_back(self, unit: _Unit) -> None:
        pending = self._shards[unit.shard].pending
        later = pending.get(unit.key)
        if later is None:
            pending[unit.key] = unit
        else:
            later.members.extend(unit.members)
            later.with_payload = True
            later.limited = later.limited and unit.limited

    # --- directly

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_directly(self, unit: _Unit, why: errors.StoreError) -> None:
        reason = {"timeout": "redis_timeout", "oom": "redis_oom"}.get(why.kind, "redis_unavailable")
        self._metrics.dedup_fallback[reason].inc(len(unit.members))
        try:
            async with self._direct, asyncio.timeout(DIRECT_DEADLINE):
                fate = await self._direct_fate(unit, reason)
        except errors.KubeInvalid as error:
            fate = Fate(None, detail=f"Kubernetes can never take it: {error}")
        except errors.GatewayError as error:
            fate = Fate(None, error=error)
        except TimeoutError:
            fate = Fate(None, error=errors.NotDurable("Kubernetes did not take the alert in time"))
        except Exception as error:
            log.exception("direct write failed unexpectedly")
            self._metrics.errors["direct_write"].inc()
            fate = Fate(None, error=errors.NotDurable(f"the direct write failed: {type(error).__name__}"))
        self._release(unit, fate)

    async def _direct_fate(self, unit: _Unit, reason: str) -> Fate:
        reading, fingerprint = unit.reading, unit.fingerprint
        if self._index.open(fingerprint) is None:
            self._metrics.k8s_api_queries[reason].inc()
            await self._writer.look_up(fingerprint, reading.namespace)
        opened = self._index.open(fingerprint)
        if reading.resolved:
            if opened is not None:
                demand = Demand({}, resolved_since=reading.starts_at, resolved_at=reading.ends_at)
                await self._writer.write(fingerprint, demand, None, None, read_again=True)
            return Fate(Standing.RESOLVED)
        now = self._clock.monotonic()
        slot = self._ledger.open(fingerprint, now)
        stale = reading.dated and reading.starts_at <= resolved_since(self._index, fingerprint)
        if opened is None and stale and not slot.haunted:
            return Fate(Standing.STALE)
        value = self._ledger.send(slot, len(unit.members), now)
        demand = Demand({slot.name: Entry(value, slot.conf)}, firing_since=reading.starts_at)
        written = await self._writer.write(fingerprint, demand, reading.signal, None, read_again=True)
        newly = self._ledger.taken(slot, value, reading, now)
        if newly:
            self._on_taken(fingerprint, newly)
        return Fate(Standing.OPEN if opened is not None else Standing.NEW, written.open_generation)

    # --- notes

    async def _take_notes(self, number: int, batch: list[_Unit]) -> list[_Unit]:
        """Settle the alerts of bodies that came again and were taken before; returns the units that are left."""
        asked: list[tuple[_Unit, Delivery]] = []
        for unit in batch:
            if not unit.reading.resolved:
                asked.extend((unit, delivery) for delivery in dict.fromkeys(d for d, _ in unit.members))
        notes = [Note(delivery.digest, note_name(unit.reading)) for unit, delivery in asked]
        try:
            found = await self._store.take_notes(number, notes) if notes else []
        except errors.StoreError:
            return batch  # unsure is no note
        for (unit, delivery), was_noted in zip(asked, found, strict=True):
            if was_noted:
                for member in [m for m in unit.members if m[0] is delivery]:
                    unit.members.remove(member)
                    delivery.settle(member[1], Fate(Standing.SETTLED))
        left = []
        for unit in batch:
            if unit.members:
                left.append(unit)
            else:
                self._busy.discard(unit.fingerprint)
        return left

    async def _note(self, delivery: Delivery) -> None:
        """Before a 503: whatever of the body was taken is noted, in Redis or else here, never in both."""
        by_shard: dict[int, list[Note]] = {}
        for reading, fate in zip(delivery.readings, delivery.fates, strict=True):
            if (
                fate is not None
                and fate.standing is not None
                and fate.standing.counted
                and not reading.resolved
            ):
                note = Note(delivery.digest, note_name(reading))
                by_shard.setdefault(self._store.shard(reading.group), []).append(note)
        for number, notes in by_shard.items():
            try:
                await self._store.note(number, notes)
            except errors.StoreRefused:
                self._keep_in_memory(notes)
            except errors.StoreError:
                continue  # it may be there; in two places it would hide two occurrences

    def _keep_in_memory(self, notes: Iterable[Note]) -> None:
        now = self._clock.monotonic()
        if len(self._notes) > MOST_MEMORY_NOTES:
            self._notes = {key: at for key, at in self._notes.items() if now - at < MEMORY_NOTE_LIFE}
        if len(self._notes) <= MOST_MEMORY_NOTES:
            self._notes.update(((note.body, note.alert), now) for note in notes)

    def _take_memory_notes(self, delivery: Delivery) -> set[str]:
        """The alerts of this body that were taken when it came before, each handed out once."""
        oldest = self._clock.monotonic() - MEMORY_NOTE_LIFE
        names = {note_name(reading) for reading in delivery.readings if not reading.resolved}
        return {name for name in names if self._notes.pop((delivery.digest, name), -1.0) >= oldest}

    async def _abandon(self, delivery: Delivery) -> None:
        """The webhook ran out of time: take back what was not sent yet, and note what was or still is taken."""
        gone = Fate(None, error=errors.NotDurable("the webhook ran out of time"))
        for shard in self._shards:
            for key, unit in list(shard.pending.items()):
                for member in [member for member in unit.members if member[0] is delivery]:
                    unit.members.remove(member)
                    delivery.settle(member[1], gone)
                if not unit.members:
                    del shard.pending[key]
        if delivery.left:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(delivery.done), DIRECT_DEADLINE)
        await self._note(delivery)


def note_name(reading: Reading) -> str:
    """Names an alert within a body, the same when the body comes again."""
    return f"{reading.fingerprint}@{reading.starts_at if reading.dated else ''}"
