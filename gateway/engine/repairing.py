"""Repair: what was accepted is asserted until a stored request covers it, and what disagrees is mended.

It never has to decide whether something is lost or merely late: asserting again what is there changes nothing. An
assertion goes through the admission script, like a new occurrence, with the number that the slot has reached. Where
Redis does not answer and the slot is older than a grace, the process writes it itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway import errors
from gateway.engine.admitting import MOST_IN_A_CALL
from gateway.engine.ledger import Ledger, Slot
from gateway.engine.planning import Demand, Entry
from gateway.engine.ports import Ports
from gateway.engine.views import resolved_since
from gateway.engine.writing import Writer
from gateway.state.payloads import encode
from gateway.state.records import Admission, Kind, Standing

log = structlog.get_logger(__name__)

STEP = 0.5
"""Seconds between looks at what is unconfirmed."""

GRACE = 4.0
"""Seconds for which an unconfirmed slot waits for Redis before the process writes it itself."""

SWEEP_INTERVAL = 30.0
"""Seconds between two sweeps of a shard, and between two looks for slots that can be forgotten."""


class Repairer:
    """Asserts, sweeps, heals and forgets."""

    def __init__(
        self,
        ports: Ports,
        ledger: Ledger,
        writer: Writer,
        *,
        on_due: Callable[[int, int], None],
        concurrency: int,
    ) -> None:
        self._store = ports.store
        self._ledger = ledger
        self._index = ports.index
        self._writer = writer
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._on_due = on_due
        self._identities: dict[int, str] = {}
        self._direct = asyncio.Semaphore(concurrency)
        self._torn: dict[str, None] = {}
        self._torn_arrived = asyncio.Event()

    def identify(self, shard: int, identity: str) -> None:
        """A claim tells which server answered, and which life of its data: if that changed, assert at once."""
        before = self._identities.get(shard)
        self._identities[shard] = identity
        if before is not None and before != identity:
            log.warning(
                "Redis or its data were replaced; everything unconfirmed is asserted again", shard=shard
            )
            self._ledger.hurry()

    def torn(self, fingerprint: str) -> None:
        """More than one request is stored for the fingerprint: look whether they agree."""
        self._torn[fingerprint] = None
        self._torn_arrived.set()

    async def assert_unconfirmed(self) -> None:
        """Runs until cancelled: whatever is unconfirmed for long enough is asserted."""
        while True:
            await asyncio.sleep(STEP)
            self._index.expire(self._clock.monotonic())
            by_shard: dict[int, list[Slot]] = {}
            for slot in self._ledger.due(self._clock.monotonic()):
                if slot.source is not None:
                    by_shard.setdefault(self._store.shard(slot.source.signal().group), []).append(slot)
            for shard, slots in by_shard.items():
                for start in range(0, len(slots), MOST_IN_A_CALL):
                    await self._assert(shard, slots[start : start + MOST_IN_A_CALL])

    async def sweep(self) -> None:
        """Runs until cancelled: records without a place in the queue get one, and idle slots are forgotten."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            closed = [fp for fp in self._ledger.fingerprints() if self._index.open(fp) is None]
            self._ledger.forget(closed, self._clock.monotonic())
            for shard in range(self._store.shards):
                try:
                    mended = await self._store.sweep(shard)
                except errors.StoreError:
                    continue
                if mended:
                    log.warning(
                        "records without a place in the queue were queued", shard=shard, records=mended
                    )

    async def heal(self) -> None:
        """Runs until cancelled: requests that count the same occurrences are mended."""
        while True:
            await self._torn_arrived.wait()
            self._torn_arrived.clear()
            torn, self._torn = self._torn, {}
            for fingerprint in torn:
                try:
                    while await self._writer.heal(fingerprint):
                        pass
                except errors.KubeError as error:
                    log.warning(
                        "healing failed; it is tried again", fingerprint=fingerprint, error=str(error)
                    )
                    asyncio.get_running_loop().call_later(2.0, self.torn, fingerprint)

    async def _assert(self, shard: int, slots: list[Slot]) -> None:
        messages, asserted = [], []
        for slot in slots:
            source = slot.source
            if source is None:
                continue  # confirmed meanwhile
            stored = self._index.open(slot.fingerprint)
            opened = stored.generation if stored is not None else 0
            closed = 0 if opened else self._index.highest_generation(slot.fingerprint)
            signal = source.signal()
            messages.append(
                Admission(
                    slot.fingerprint,
                    Kind.FIRING,
                    slot.name,
                    slot.acc,
                    signal.starts_at,
                    signal.dated,
                    "",
                    opened,
                    closed,
                    resolved_since(self._index, slot.fingerprint),
                    encode(signal),
                    True,
                    False,
                )
            )
            asserted.append((slot, slot.acc))
        if not messages:
            return
        self._metrics.retries["redis"].inc(len(messages))
        try:
            reply = await self._store.admit(shard, messages, notes_taken=True)
        except errors.StoreError:
            oldest = self._clock.monotonic() - GRACE
            late = [slot for slot in slots if slot.unconfirmed_since <= oldest]
            await asyncio.gather(*(self._write(slot) for slot in late))
            return
        if reply.due_in >= 0:
            self._on_due(shard, reply.due_in)
        for (slot, value), admitted in zip(asserted, reply.results, strict=True):
            if admitted.fresh:
                slot.lost = True
            if admitted.standing is Standing.SETTLED:
                self._ledger.confirm(slot, min(value, admitted.base))

    async def _write(self, slot: Slot) -> None:
        source = slot.source
        if source is None:
            return
        demand = Demand({slot.name: Entry(slot.acc, slot.conf)}, firing_since=source.starts_at)
        slot.lost = True
        try:
            async with self._direct:
                await self._writer.write(slot.fingerprint, demand, source.signal, None, read_again=True)
        except errors.GatewayError as error:
            log.warning(
                "an accepted alert could not be written yet", fingerprint=slot.fingerprint, error=str(error)
            )
