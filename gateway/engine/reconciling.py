"""Reconciling: whatever is due in the work queue is claimed, written to Kubernetes and confirmed.

Creating, counting, retrying and taking over from a dead replica are this one loop. It sleeps until the next item is
due, is woken when an admission makes one due earlier, and looks in every `POLL` seconds anyway, because another
replica may have died with a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import partial

import structlog

from gateway import errors
from gateway.engine.coalescing import Coalescer
from gateway.engine.planning import Demand, Entry
from gateway.engine.ports import Ports
from gateway.engine.storming import MissingPayload, Part, StormWritten
from gateway.engine.writing import Writer
from gateway.model import Signal
from gateway.resilience.backoff import retry_delay
from gateway.resilience.breakers import State
from gateway.state.payloads import decode
from gateway.state.records import (
    Claim,
    Claimed,
    ClaimedWindow,
    Confirmation,
    MemberConfirmation,
    WindowConfirmation,
)
from gateway.state.store import window_item

log = structlog.get_logger(__name__)

POLL = 0.5
"""Seconds between looks into a quiet queue."""

PACE = 400.0
"""Writes a second that are nothing special."""

LONGEST_BEHIND = 10.0

HURRY_SPREAD = 1.0
"""Seconds over which what was put off comes due when the Kubernetes API is well again."""

MOST_CONFIRMATIONS = 100
LINGER = 0.02
"""Seconds that a confirmation waits for others to share its call: no sender waits for it."""

PATIENCE = 12
"""Unexpected failures in a row after which an item is put among the dead letters instead of being tried for ever."""


class Reconciler:
    """Makes Kubernetes match what Redis says."""

    def __init__(
        self,
        ports: Ports,
        writer: Writer,
        *,
        concurrency: int,
        lease: float,
        on_identity: Callable[[int, str], None],
    ) -> None:
        """`on_identity(shard, identity)`: which server and which life of its data answered."""
        store = ports.store
        self._store = store
        self._index = ports.index
        self._writer = writer
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._turns = asyncio.Semaphore(concurrency)
        self._most = 4 * concurrency
        """Items leased at once: some are written, some confirmed, and others follow without a question to Redis."""
        self._batch = concurrency
        """Room for so many is worth a claim."""
        self._lease = lease
        self._on_identity = on_identity
        self._active: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._wakes = [asyncio.Event() for _ in range(store.shards)]
        self._due_at = [0.0] * store.shards
        self._asked_at = [float("-inf")] * store.shards
        self._confirmers = [
            Coalescer[Confirmation](self._confirmer(shard), most=MOST_CONFIRMATIONS, linger=LINGER)
            for shard in range(store.shards)
        ]
        self._stopping = False
        self.depths = [0] * store.shards
        """Items in each shard's queue, as last seen."""
        self._collecting = [0] * store.shards
        self.reachable = True
        """Whether the last claim was answered."""
        self._breakers = ports.breakers
        self._hurries = [False] * store.shards
        """Whether what was put off is to be made due."""
        for breaker in (ports.breakers.redis, ports.breakers.kubernetes):
            if breaker is not None:
                breaker.on_change(self._breaker_changed)

    @property
    def depth(self) -> int:
        return sum(self.depths)

    @property
    def collecting(self) -> int:
        """Windows that take members, as last seen."""
        return sum(self._collecting)

    def behind(self) -> float:
        """Seconds that the writes need for what is queued, as far as is known: none where Redis does not tell."""
        return min(LONGEST_BEHIND, self.depth / PACE) if self.reachable else 0.0

    def due(self, shard: int, milliseconds: int) -> None:
        """An item of the shard's queue will be due then."""
        at = self._clock.monotonic() + milliseconds / 1000
        if at < self._due_at[shard]:
            self._due_at[shard] = at
            self._wakes[shard].set()

    def _breaker_changed(self, _: State, new: State) -> None:
        """What waited for either dependency goes on at once."""
        if new is not State.CLOSED:
            return
        for shard, wake in enumerate(self._wakes):
            self._hurries[shard] = True
            self._due_at[shard] = 0.0
            wake.set()

    async def run(self, shard: int) -> None:
        """Serve one shard's queue until cancelled."""
        while not self._stopping:
            try:
                await self._serve(shard)
            except errors.StoreError:
                self.reachable = False
                self._due_at[shard] = self._clock.monotonic() + POLL
            await self._rest(shard)

    async def stop(self, timeout: float) -> None:
        """Claim nothing more, let writes end, and hand back the leases of those that do not."""
        self._stopping = True
        for wake in self._wakes:
            wake.set()
        if self._active:
            await asyncio.wait(self._active.values(), timeout=timeout)
        left = dict(self._active)
        for task in left.values():
            task.cancel()
        for (shard, fingerprint), task in left.items():
            await asyncio.gather(task, return_exceptions=True)
            try:
                await self._store.postpone(shard, fingerprint, delay=0.0, attempts=0)
            except errors.StoreError:
                break

    async def _rest(self, shard: int) -> None:
        wake = self._wakes[shard]
        wait = min(POLL, self._due_at[shard] - self._clock.monotonic())
        if self._room < self._batch:
            wait = POLL  # a write that ends wakes us
        if wait > 0 and not wake.is_set():
            loop = asyncio.get_running_loop()
            timer = loop.call_later(wait, wake.set)
            try:
                await wake.wait()
            finally:
                timer.cancel()
        else:
            await asyncio.sleep(0)
        wake.clear()

    async def _serve(self, shard: int) -> None:
        room = self._room
        if room < self._batch:
            return
        now = self._clock.monotonic()
        identify = now - self._asked_at[shard] >= POLL
        self._due_at[shard] = now + POLL
        if not self._breakers.redis_closed:
            self.reachable = False
            return
        writable = self._breakers.kubernetes_closed
        if writable and self._hurries[shard]:
            await self._store.hurry(shard, spread=HURRY_SPREAD)
            self._hurries[shard] = False
        # Where nothing can be written nothing is leased, but the queue's depth and the end of windows go on.
        claim: Claim = await self._store.claim(
            shard, limit=room if writable else 0, lease=self._lease, identify=identify
        )
        self.reachable = True
        if identify:
            self._asked_at[shard] = now
            self._on_identity(shard, claim.identity)
            if claim.corrupt:
                log.warning(
                    "records in Redis were set aside: they are rebuilt from Kubernetes", records=claim.corrupt
                )
                self._metrics.redis_corrupt_entries.inc(claim.corrupt)
        self.depths[shard] = claim.depth
        if claim.due_in >= 0 and writable:
            self._due_at[shard] = min(self._due_at[shard], now + claim.due_in / 1000)
        self._collecting[shard] = claim.collecting
        self._metrics.storm_windows_open.set(self.collecting)
        for expired in claim.expired:
            self._metrics.storm_buffer_expirations.inc()
            log.info(
                "Storm window ID done: expired below its threshold",
                window=expired.id,
                members=expired.members,
            )
        if claim.expired and writable:
            self._due_at[shard] = now
        for item in claim.items:
            self._start((shard, item.fingerprint), self._reconcile(shard, item))
        for window in claim.windows:
            self._start((shard, window_item(window.id)), self._reconcile_window(shard, window))

    def _start(self, key: tuple[int, str], work: Coroutine[None, None, None]) -> None:
        if key in self._active:
            work.close()
            return  # its lease ran out under us; the write goes on, and its confirmation settles both
        task = asyncio.create_task(work, name=f"write-{key[1][:14]}")
        self._active[key] = task
        task.add_done_callback(partial(self._finished, key))

    def _finished(self, key: tuple[int, str], _: asyncio.Task[None]) -> None:
        self._active.pop(key, None)
        if self._room == self._batch:
            for wake in self._wakes:
                wake.set()

    @property
    def _room(self) -> int:
        """How many more items may be leased."""
        return self._most - len(self._active)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """Wait until one more may be written. Raises `KubeNotTried` where nothing is begun any more."""
        async with self._turns:
            if self._stopping:
                raise errors.KubeNotTried("the gateway stops")
            yield

    async def _reconcile(self, shard: int, item: Claimed) -> None:
        try:
            try:
                async with self._turn():
                    written = await self._writer.write(
                        item.fingerprint,
                        _demand(item),
                        _signal(item.payload),
                        lambda fp, known: self._store.arrange(shard, fp, known=known),
                        source=item.source or "immediate",
                    )
            except errors.KubeInvalid as error:
                await self._bury(shard, item, str(error))
                return
            except (errors.KubeError, MissingPayload) as error:
                await self._postpone(shard, item.fingerprint, item.attempts, error)
                return
            confirmation = Confirmation(
                item.fingerprint,
                written.covered,
                written.open_generation,
                written.closed_generation,
                written.wrote,
                _marked(item),
            )
            await self._confirmers[shard].submit(confirmation)
        except errors.StoreError:
            return  # the lease runs out, and somebody comes back to it
        except Exception as error:  # noqa: BLE001 - whatever it is, the item must not be lost or tried for ever
            await self._unexpected(shard, item, error)

    async def _reconcile_window(self, shard: int, window: ClaimedWindow) -> None:
        """Write what is left of a window's members, and confirm it; what its request cannot take is let go."""
        if window.closing:
            log.info(
                "Storm window ID done: window closed",
                window=window.id,
                group=window.group,
                members=len(window.members),
            )
        try:
            try:
                async with self._turn():
                    written = await self._writer.storms.write(
                        window.id, await self._parts(shard, window), source="storm"
                    )
            except errors.KubeInvalid as error:
                log.error("aggregated request cannot be written", window=window.id, error=str(error))  # noqa: TRY400 - the server said all there is
                written = StormWritten({}, {}, True, False, None)
            await self._confirm_window(shard, window, written)
            if window.closing and not written.failed and not written.gone:
                self._writer.storms.closed(window.id)
            if written.failed:
                failure = next(iter(written.failed.values()))
                await self._postpone(shard, window_item(window.id), window.attempts, failure)
        except errors.StoreError:
            return  # the lease runs out, and somebody comes back to it
        except errors.KubeError as error:
            with contextlib.suppress(errors.StoreError):
                await self._postpone(shard, window_item(window.id), window.attempts, error)
        except Exception as error:
            log.exception("writing a window failed unexpectedly", window=window.id)
            self._metrics.errors["reconcile"].inc()
            with contextlib.suppress(errors.StoreError):
                unknown = errors.KubeUnavailable(f"{type(error).__name__}: {error}")
                await self._postpone(shard, window_item(window.id), window.attempts, unknown)

    async def _parts(self, shard: int, window: ClaimedWindow) -> list[Part]:
        """What should be in Kubernetes for each member; who is no member yet brings what it is made of."""
        stored = self._index.window(window.id)
        known = (stored.members or {}) if stored is not None else {}
        new = [item.fingerprint for item in window.members if item.fingerprint not in known]
        payloads = dict(zip(new, await self._store.payloads(shard, new), strict=True))
        return [
            Part(item.fingerprint, _demand(item), _signal(payloads.get(item.fingerprint, "")))
            for item in window.members
        ]

    async def _confirm_window(self, shard: int, window: ClaimedWindow, written: StormWritten) -> None:
        marked = {item.fingerprint: _marked(item) for item in window.members}
        confirmation = WindowConfirmation(
            window.id,
            written.gone,
            written.wrote,
            [
                MemberConfirmation(
                    fingerprint,
                    member.covered,
                    member.open_generation,
                    member.closed_generation,
                    member.released,
                    marked[fingerprint],
                )
                for fingerprint, member in written.members.items()
            ],
        )
        due_in = await self._store.confirm_window(shard, confirmation)
        if due_in >= 0:
            self.due(shard, due_in)
        if written.gone:
            log.info("Storm window ID over: its request is closed", window=window.id)

    def _confirmer(self, shard: int) -> Callable[[list[Confirmation]], Awaitable[None]]:
        async def confirm(confirmations: list[Confirmation]) -> None:
            due_in = await self._store.confirm(shard, confirmations)
            if due_in >= 0:
                self.due(shard, due_in)

        return confirm

    async def _postpone(self, shard: int, item: str, failed: int, error: errors.GatewayError) -> None:
        """Come back to an item (a fingerprint, or a window) that failed `failed` times before."""
        if isinstance(error, errors.KubeNotTried):
            # No attempt was made, so it stays due: whoever may write next takes it.
            await self._store.postpone(shard, item, delay=0.0, attempts=failed)
            return
        attempts = failed + 1
        retry_after = error.retry_after if isinstance(error, errors.KubeError) else None
        delay = retry_delay(attempts, retry_after=retry_after)
        self._metrics.retries["k8s_api"].inc()
        self._metrics.k8s_api_retry_backoff.observe(delay)
        log.warning(
            "request could not be written; it stays in the queue for a retry",
            item=item,
            attempt=attempts,
            backoff=delay,
            error=str(error),
        )
        await self._store.postpone(shard, item, delay=delay, attempts=attempts)

    async def _bury(self, shard: int, item: Claimed, reason: str) -> None:
        self._metrics.dead_letters.inc()
        log.error(
            "request can never be written; it is among the dead letters",
            fingerprint=item.fingerprint,
            error=reason,
        )
        await self._store.bury(shard, item.fingerprint, reason[:500])

    async def _unexpected(self, shard: int, item: Claimed, error: Exception) -> None:
        log.error("writing a request failed unexpectedly", fingerprint=item.fingerprint, exc_info=error)
        self._metrics.errors["reconcile"].inc()
        try:
            if item.attempts + 1 >= PATIENCE:
                await self._bury(shard, item, f"{type(error).__name__}: {error}")
            else:
                delay = retry_delay(item.attempts + 1)
                await self._store.postpone(shard, item.fingerprint, delay=delay, attempts=item.attempts + 1)
        except errors.StoreError:
            return


def _demand(item: Claimed) -> Demand:
    return Demand(
        entries={slot.slot: Entry(slot.value, slot.base) for slot in item.slots},
        generation=item.generation,
        firing_since=item.firing_since,
        resolved_since=item.resolved_since,
        resolved_at=item.resolved_at,
    )


def _marked(item: Claimed) -> str:
    """The resolved mark that a write of the item leaves."""
    return item.resolved_at if item.resolved_since and item.resolved_since >= item.firing_since else ""


def _signal(payload: str) -> Callable[[], Signal] | None:
    signal = decode(payload)
    return None if signal is None else lambda: signal
