"""Repair: what was accepted is asserted until a stored request covers it, and what disagrees is mended.

It never has to decide whether something is lost or merely late: asserting again what is there changes nothing. An
assertion goes through the admission script, like a new occurrence, with the number that the slot has reached. Where
Redis does not answer and the slot is older than a grace, the process writes it itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from gateway import errors
from gateway.engine.admitting import MOST_IN_A_CALL
from gateway.engine.ledger import Ledger, Slot
from gateway.engine.planning import Demand, Entry
from gateway.engine.ports import Ports
from gateway.engine.storming import Part
from gateway.engine.views import open_holder, remembered, resolved_since
from gateway.engine.writing import Writer
from gateway.resilience.breakers import State
from gateway.state.payloads import encode
from gateway.state.records import IMMEDIATE, Admission, Admitted, Kind, Standing

log = structlog.get_logger(__name__)

STEP = 0.5
"""Seconds between looks at what is unconfirmed."""

GRACE = 4.0
"""Seconds for which an unconfirmed slot waits for Redis before the process writes it itself."""

WINDOW_STEP = 200
"""Windows looked at in one call."""

MOST_TOLD = 100
"""Windows of others that the log names one by one."""

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
        on_taken: Callable[[str, int], None],
        behind: Callable[[], float],
        concurrency: int,
    ) -> None:
        """`on_due(shard, ms)`: an item of the queue will be due. `on_taken(fingerprint, n)`: n are newly confirmed.
        `behind()`: seconds that the writes need for what is queued.
        """
        self._store = ports.store
        self._ledger = ledger
        self._index = ports.index
        self._writer = writer
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._on_due = on_due
        self._on_taken = on_taken
        self._behind = behind
        self._identities: dict[int, str] = {}
        self._breakers = ports.breakers
        if ports.breakers.redis is not None:
            ports.breakers.redis.on_change(self._redis_changed)
        if ports.breakers.kubernetes is not None:
            ports.breakers.kubernetes.on_change(self._kubernetes_changed)
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

    def _redis_changed(self, _: State, new: State) -> None:
        """It is back, and nobody knows yet with how much of what it was told."""
        if new is State.CLOSED:
            self._ledger.hurry()

    def _kubernetes_changed(self, _: State, new: State) -> None:
        """What Redis knows comes out of the queue; without Redis this process is the only one to write it."""
        if new is State.CLOSED and not self._breakers.redis_closed:
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
            for slot in self._ledger.due(self._clock.monotonic(), behind=self._behind()):
                if slot.source is not None:
                    by_shard.setdefault(self._store.shard(slot.source.signal().group), []).append(slot)
            for shard, slots in by_shard.items():
                for start in range(0, len(slots), MOST_IN_A_CALL):
                    await self._assert(shard, slots[start : start + MOST_IN_A_CALL])

    async def assert_windows(self, shard: int) -> None:
        """Redis lost its data: tell it at once what is held in windows, so that they go on under their own ids."""
        slots = [
            slot
            for slot in self._ledger.held()
            if slot.source is not None and self._store.shard(slot.source.signal().group) == shard
        ]
        log.warning(
            "Redis lost its data; what is held in windows is told again", shard=shard, alerts=len(slots)
        )
        for start in range(0, len(slots), MOST_IN_A_CALL):
            await self._assert(shard, slots[start : start + MOST_IN_A_CALL])

    async def sweep(self) -> None:
        """Runs until cancelled: what has no place in the queue gets one, and idle slots are forgotten.

        Windows are looked at as soon as Redis answers, too: those that are open then were left by others.
        """
        found = [False] * self._store.shards
        while True:
            for shard in range(self._store.shards):
                try:
                    windows = await self._mend_windows(shard)
                except errors.StoreError:
                    continue
                if windows and not found[shard]:
                    self._metrics.storm_buffer_recovered.inc(len(windows))
                    for window in windows[:MOST_TOLD]:
                        log.info("Storm window ID kept: found at the start and goes on", window=window)
                    if len(windows) > MOST_TOLD:
                        log.info(
                            "more storm windows were found and go on",
                            shard=shard,
                            windows=len(windows) - MOST_TOLD,
                        )
                found[shard] = True
            await asyncio.sleep(SWEEP_INTERVAL if all(found) else STEP)
            closed = [fp for fp in self._ledger.fingerprints() if open_holder(self._index, fp) is None]
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

    async def _mend_windows(self, shard: int) -> list[str]:
        """Queue the windows that are in no queue; returns the ids of all that are open."""
        seen: list[str] = []
        while True:
            part = await self._store.windows(shard, len(seen), len(seen) + WINDOW_STEP - 1)
            if part.mended:
                log.warning(
                    "windows without a place in the queue were queued", shard=shard, windows=part.mended
                )
                self._on_due(shard, 0)
            seen += [window.id for window in part.windows]
            if len(part.windows) < WINDOW_STEP:
                return seen

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
            memory = remembered(self._index, slot.fingerprint, slot)
            rule = source.hold() or IMMEDIATE
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
                    signal.group,
                    rule,
                    self._ledger.propose_window() if rule.threshold else "",
                    memory.window,
                    memory.state,
                    memory.end,
                    memory.closed,
                    slot.conf,
                )
            )
            asserted.append((slot, slot.acc))
        if not messages:
            return
        self._metrics.retries["redis"].inc(len(messages))
        try:
            reply = await self._store.admit(shard, messages, notes_taken=True)
        except errors.StoreError as error:
            if error.kind == "oom":
                slots = await self._unsettled(shard, messages, asserted)
            if not self._breakers.kubernetes_closed:
                return
            oldest = self._clock.monotonic() - GRACE
            late = [slot for slot in slots if slot.unconfirmed_since <= oldest]
            await asyncio.gather(*(self._write(slot) for slot in late))
            return
        if reply.due_in >= 0:
            self._on_due(shard, reply.due_in)
        for (slot, value), admitted in zip(asserted, reply.results, strict=True):
            if admitted.fresh:
                slot.lost = True
            self._learn(slot, value, admitted)
            if admitted.window is not None:
                held = admitted.window
                self._ledger.hold(slot, held.id, storming=held.storming, end=held.ends_at)

    async def _unsettled(
        self, shard: int, messages: Sequence[Admission], asserted: Sequence[tuple[Slot, int]]
    ) -> list[Slot]:
        """The slots of assertions that a full Redis refused, without those that it knows as settled: an alert that
        resolved in its window needs no request, and nobody but Redis knows.
        """
        try:
            reply = await self._store.ask(shard, messages)
        except errors.StoreError:
            return [slot for slot, _ in asserted]
        left = []
        for (slot, value), admitted in zip(asserted, reply.results, strict=True):
            self._learn(slot, value, admitted)
            if admitted.standing is not Standing.SETTLED and admitted.standing is not Standing.WITHDRAWN:
                left.append(slot)
        return left

    def _learn(self, slot: Slot, value: int, admitted: Admitted) -> None:
        """What Redis says of an assertion of `value`."""
        if admitted.standing is Standing.SETTLED:
            newly = self._ledger.confirm(slot, min(value, admitted.base))
            if newly:
                self._on_taken(slot.fingerprint, newly)
        elif admitted.standing.counted or admitted.standing is Standing.WITHDRAWN:
            self._ledger.withdraw(slot, min(value, admitted.base))

    async def _write(self, slot: Slot) -> None:
        source = slot.source
        if source is None:
            return
        demand = Demand({slot.name: Entry(slot.acc, slot.conf)}, firing_since=source.starts_at)
        slot.lost = True
        try:
            async with self._direct:
                if slot.window and slot.storming and open_holder(self._index, slot.fingerprint) is None:
                    part = Part(slot.fingerprint, demand, source.signal)
                    await self._writer.storms.write(slot.window, [part], source="storm", read_again=True)
                await self._writer.write(
                    slot.fingerprint, demand, source.signal, None, read_again=True, source="recovery"
                )
        except errors.GatewayError as error:
            log.warning(
                "an accepted alert could not be written yet", fingerprint=slot.fingerprint, error=str(error)
            )
