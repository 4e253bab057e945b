"""The engine: a webhook's readings in, verdicts out, and Kubernetes brought to match behind them.

`accept` is the whole path of an alert. Everything else here is wiring: who tells whom when the index shows something
new, and what runs in the background.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog

from gateway import errors
from gateway.engine import marks as marking
from gateway.engine.admitting import Admitter
from gateway.engine.deliveries import Fate
from gateway.engine.health import Component, Health
from gateway.engine.inheriting import inherit
from gateway.engine.journal import Journal
from gateway.engine.ledger import Ledger, Slot
from gateway.engine.ports import Ports
from gateway.engine.reconciling import Reconciler
from gateway.engine.repairing import Repairer
from gateway.engine.reports import AlertReport, EngineStatus, RecentRequest, WindowReport
from gateway.engine.telling import MOST_WINDOWS, Teller
from gateway.engine.views import open_holder, view_of
from gateway.engine.writing import Writer
from gateway.intake.reading import Reading
from gateway.intake.times import from_milliseconds
from gateway.kube.stored import Stored
from gateway.model import Outcome, RequestRef, Verdict, WindowView
from gateway.state.records import Standing
from gateway.telemetry.tracing import current, exemplar

log = structlog.get_logger(__name__)

# Members of an enum are looked up by Python code.
_OPEN: Final = Standing.OPEN
_DUPLICATE: Final = Outcome.DUPLICATE


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds and times of the engine, in seconds and pieces."""

    ack_wait: float = 0.25
    concurrency: int = 32
    lease: float = 15.0
    max_depth: int = 1000
    max_unconfirmed: int = 50_000
    max_members: int = 1000
    """Members of one aggregated request."""


class Engine:
    """Takes alerts durably, and keeps Kubernetes as it should be."""

    def __init__(
        self, ports: Ports, limits: Limits, *, process_id: str | None = None, journal: Journal | None = None
    ) -> None:
        """`process_id` names this process in the marks; it is drawn if not given, and never used twice.

        `journal` is open; what dead processes left in it is inherited. Its owner closes it, after `stop`.
        """
        self._store = ports.store
        self._index = ports.index
        self._breakers = ports.breakers
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._traces = ports.traces
        self._limits = limits
        self._ledger = Ledger(process_id or secrets.token_hex(5))
        self._journal = journal
        if journal is not None:
            inherit(journal.inherited, self._ledger, self._clock.monotonic())
            journal.follow(self._ledger.unsettled)
            self._ledger.on_settled = journal.settled
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._stopping = False
        self._writer = Writer(ports, most_members=limits.max_members)
        self._reconciler = Reconciler(
            ports,
            self._writer,
            concurrency=limits.concurrency,
            lease=limits.lease,
            on_identity=self._identified,
        )
        self._health = Health(ports, answering=lambda: self._reconciler.reachable)
        self._repairer = Repairer(
            ports,
            self._ledger,
            self._writer,
            on_due=self._reconciler.due,
            on_taken=self._confirmed,
            behind=self._reconciler.behind,
            concurrency=limits.concurrency,
        )
        self._admitter = Admitter(
            ports,
            self._ledger,
            self._writer,
            on_due=self._reconciler.due,
            on_taken=self._confirmed,
            on_forgotten=self._repairer.assert_windows,
            concurrency=limits.concurrency,
            journal=journal,
        )
        self._teller = Teller(
            ports,
            ledger=self._ledger,
            reconciler=self._reconciler,
            writer=self._writer,
            health=self._health,
            journal=journal,
        )
        ports.index.subscribe(self._on_change)

    @property
    def _failing(self) -> bool:
        """Whether Kubernetes takes no writes now, as far as is known."""
        return self._writer.failing or not self._breakers.kubernetes_closed

    @property
    def process_id(self) -> str:
        """Names this process in the marks of requests."""
        return self._ledger.process_id

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The long-lived tasks, by name: to be started by whoever owns the process, and to be kept running."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {
            "assert": self._repairer.assert_unconfirmed,
            "sweep": self._repairer.sweep,
            "heal": self._repairer.heal,
        }
        for shard in range(self._store.shards):
            tasks[f"reconcile-{shard}"] = lambda shard=shard: self._reconciler.run(shard)  # type: ignore[misc]
        if self._journal is not None:
            tasks["journal"] = self._journal.run
        return tasks

    # --- the path of an alert

    async def accept(self, readings: Sequence[Reading], body: bytes, *, received_at: str) -> list[Verdict]:
        """Take the alerts of one webhook; the verdicts in the same order. A return means that all are durable.

        Raises `NotDurable` where some are not, `Overloaded` where a bound is reached.
        """
        if not readings:
            return []
        if self._ledger.unconfirmed >= self._limits.max_unconfirmed:
            raise errors.Overloaded("too many accepted alerts are not confirmed by Kubernetes yet")
        limited = self._failing and self._reconciler.depth >= self._limits.max_depth
        began = self._clock.monotonic()
        if self._traces is None:
            fates = await self._admitter.admit(readings, body, limited=limited)
        else:
            with self._traces.accepting(len(readings)):
                fates = await self._admitter.admit(readings, body, limited=limited)
        shown = None if self._traces is None else exemplar(current.get())
        self._metrics.admission_duration.observe(self._clock.monotonic() - began, shown)
        waited = [
            reading.fingerprint
            for reading, fate in zip(readings, fates, strict=True)
            if fate.standing is Standing.NEW or fate.standing is Standing.PENDING
        ]
        if waited:
            await self._await_requests(waited)
        return [self._verdict(reading, fate) for reading, fate in zip(readings, fates, strict=True)]

    async def _await_requests(self, fingerprints: Sequence[str]) -> None:
        """Give new requests `ack_wait` to exist, so that the usual answer can name them as created."""
        missing = [fp for fp in dict.fromkeys(fingerprints) if self._index.open(fp) is None]
        if not missing or self._limits.ack_wait <= 0:
            return
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[None]] = []
        for fingerprint in missing:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(fingerprint, []).append(future)
            futures.append(future)
        try:
            async with asyncio.timeout(self._limits.ack_wait):
                for future in futures:
                    await future
        except (TimeoutError, asyncio.CancelledError):
            pass  # all is durable: whoever cancelled gets the answer, or a sender that is told to retry counts twice
        finally:
            for fingerprint, future in zip(missing, futures, strict=True):
                left = [other for other in self._waiting.get(fingerprint, ()) if other is not future]
                if left:
                    self._waiting[fingerprint] = left
                else:
                    self._waiting.pop(fingerprint, None)

    def _verdict(self, reading: Reading, fate: Fate) -> Verdict:
        fingerprint = reading.fingerprint
        if fate.standing is _OPEN:  # most alerts, and in the fewest steps
            own = self._index.open(fingerprint)
            if own is not None and own.generation >= fate.generation:
                return Verdict(
                    outcome=_DUPLICATE,
                    fingerprint=fingerprint,
                    request=own.ref,
                    occurrence_count=self._count(own, fingerprint),
                )
        if fate.standing is None:
            return Verdict(outcome=Outcome.INVALID, fingerprint=fingerprint, detail=fate.detail)
        stored = open_holder(self._index, fingerprint)
        if fate.standing is Standing.RESOLVED or fate.standing is Standing.STALE:
            return Verdict(
                outcome=Outcome.RESOLVED,
                fingerprint=fingerprint,
                request=stored.ref if stored is not None else None,
            )
        if stored is not None and (stored.is_storm or stored.generation >= fate.generation):
            return Verdict(
                outcome=Outcome.CREATED if fate.standing is Standing.NEW else Outcome.DUPLICATE,
                fingerprint=fingerprint,
                request=stored.ref,
                occurrence_count=self._count(stored, fingerprint),
            )
        if fate.standing is Standing.HELD and fate.window is not None:
            return Verdict(
                outcome=Outcome.BUFFERED,
                fingerprint=fingerprint,
                window=WindowView(
                    id=fate.window.id,
                    due_at=from_milliseconds(fate.window.ends_at),
                    members=fate.window.members,
                ),
            )
        if fate.standing in (Standing.OPEN, Standing.SETTLED):
            return Verdict(
                outcome=Outcome.DUPLICATE, fingerprint=fingerprint, request=self._place(reading, fate)
            )
        detail = (
            "its request cannot be written as it is: see the dead letters"
            if fate.standing is Standing.DEAD
            else None
        )
        return Verdict(
            outcome=Outcome.QUEUED, fingerprint=fingerprint, request=self._place(reading, fate), detail=detail
        )

    def _place(self, reading: Reading, fate: Fate) -> RequestRef | None:
        if not fate.generation:
            return None
        return self._writer.place(reading.namespace, reading.alertname, reading.fingerprint, fate.generation)

    def _count(self, stored: Stored, fingerprint: str) -> int:
        slot = self._ledger.get(fingerprint)
        return stored.count + (slot.unconfirmed if slot is not None else 0)

    # --- what the index shows

    def _identified(self, shard: int, identity: str) -> None:
        self._repairer.identify(shard, identity)

    def _on_change(self, fingerprint: str) -> None:
        """The index learnt something about a fingerprint, from the watch or from an own write."""
        waiting = self._waiting.get(fingerprint)
        if waiting and self._index.open(fingerprint) is not None:
            for future in waiting:
                if not future.done():
                    future.set_result(None)
        slot, inherited = self._ledger.get(fingerprint), self._ledger.inherited(fingerprint)
        if slot is not None or inherited:
            floors = marking.floors(view_of(self._index, fingerprint).all_marks())
            if slot is not None and floors.get(slot.name, 0) > slot.conf:
                newly = self._ledger.confirm(slot, floors[slot.name])
                if newly:
                    self._confirmed(fingerprint, newly)
            for left in inherited:
                if floors.get(left.name, 0) > left.conf:
                    self._ledger.confirm(left, floors[left.name])
                    self._recovered(left)
        stored = [*self._index.requests(fingerprint), *self._index.holding(fingerprint)]
        if len(stored) > 1 and any(request.open for request in stored):
            self._repairer.torn(fingerprint)

    def _confirmed(self, fingerprint: str, newly: int) -> None:
        """So many accepted occurrences are in stored requests now: count what they were."""
        slot = self._ledger.get(fingerprint)
        holders = self._index.holding(fingerprint)
        created = 0
        if slot is not None:
            for stored in self._newly_opened(slot, holders):
                if created == newly:
                    break
                created += 1
                source = stored.source or ("storm" if stored.is_storm else "immediate")
                self._metrics.crds_created["recovery" if slot.lost and not stored.is_storm else source].inc()
                slot.lost = False
        if newly > created:
            reason = "storm" if holders and holders[-1].open else "duplicate"
            self._metrics.alerts_deduplicated[reason].inc(newly - created)

    def _recovered(self, slot: Slot) -> None:
        """A dead process's occurrences are in stored requests: count those requests that only this brought about."""
        for stored in self._newly_opened(slot, self._index.holding(slot.fingerprint)):
            if slot.lost and stored.open:
                self._metrics.crds_created["storm" if stored.is_storm else "recovery"].inc()

    def _newly_opened(self, slot: Slot, holders: Sequence[Stored]) -> list[Stored]:
        """The requests that this slot's occurrences opened, and that were not counted as created before."""
        opened = [
            stored
            for stored in self._index.requests(slot.fingerprint)
            if stored.generation > slot.opened
            and marking.opener(marking.parse(stored.applied, slot.fingerprint)) == slot.name
        ]
        if opened:
            slot.opened = max(stored.generation for stored in opened)
        mine = [stored for stored in holders if _opener(stored) == (slot.fingerprint, slot.name)]
        opened += [stored for stored in mine if stored.window not in slot.windows_opened]
        slot.windows_opened = frozenset(stored.window for stored in mine)
        return opened

    # --- what people ask

    def ready(self) -> bool:
        """Whether alerts can be accepted now, in whichever way."""
        return not self._stopping and self._health.durable()

    def health(self) -> list[Component]:
        """How each part is doing, from memory."""
        components = [
            self._health.redis(),
            self._health.kubernetes(),
            self._health.writes(self._reconciler.depth, failing=self._writer.failing),
            self._health.permissions(),
        ]
        if self._journal is not None:
            components.append(Component("journal", not self._journal.trouble, self._journal.trouble))
        return components

    def warnings(self) -> list[str]:
        """What an operator should know of how alerts are kept now; empty where all is as it was set up."""
        if self._journal is None or not self._journal.trouble:
            return []
        why = self._journal.trouble
        return [f"the journal cannot be written ({why}): accepted alerts are in Redis or Kubernetes only"]

    def status(self) -> EngineStatus:
        """The state of everything, from memory."""
        return self._teller.status()

    @property
    def unconfirmed(self) -> int:
        """How many accepted occurrences no stored request covers yet."""
        return self._ledger.unconfirmed_occurrences()

    @property
    def queue_depth(self) -> int:
        """Requests waiting to be written, over all shards, as last seen."""
        return self._reconciler.depth

    async def alert(self, fingerprint: str) -> AlertReport | None:
        """What is known of a fingerprint: see `Teller.alert`."""
        return await self._teller.alert(fingerprint)

    async def storms(self, most: int = MOST_WINDOWS) -> list[WindowReport]:
        """The windows that collect now: see `Teller.storms`."""
        return await self._teller.storms(most)

    def recent(self, most: int) -> Sequence[RecentRequest]:
        """The requests that changed last: see `Teller.recent`."""
        return self._teller.recent(most)

    async def stop(self, timeout: float) -> None:
        """Finish what is under way: admissions and writes. What only this process knows is written, too.

        What Kubernetes has not confirmed yet is in Redis, and whoever comes next writes it; where Redis does not
        answer, this process has to. The background tasks have to run until this returns; past `timeout` seconds the
        leases are handed back.
        """
        self._stopping = True
        deadline = self._clock.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._admitter.close()
                while self._ledger.unconfirmed and not (  # noqa: ASYNC110 - it ends once, and then nobody waits any more
                    self._reconciler.reachable and self._breakers.redis_closed
                ):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning(
                "stopping with alerts that Kubernetes has not confirmed", alerts=self._ledger.unconfirmed
            )
        await self._reconciler.stop(max(0.2, deadline - self._clock.monotonic()))


def _opener(stored: Stored) -> tuple[str, str]:
    """Of an aggregated request: the member that joined first, and the slot that it joined with."""
    for fingerprint, member in (stored.members or {}).items():
        return fingerprint, next(iter(member.applied), "")
    return "", ""
