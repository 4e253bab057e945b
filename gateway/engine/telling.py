"""What people ask the engine: the state of everything, the windows that collect, the fate of one alert.

Status and the index answer from memory. Of one alert and of the windows Redis knows more than this process does, so it
is asked; where it is silent, what is known otherwise is told, and that a part is missing.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence

from gateway import errors
from gateway.engine.health import Health
from gateway.engine.journal import Journal
from gateway.engine.ledger import Ledger
from gateway.engine.ports import Ports
from gateway.engine.reconciling import Reconciler
from gateway.engine.reports import (
    AlertReport,
    DeadReport,
    EngineStatus,
    HeldReport,
    JournalReport,
    Mode,
    Queue,
    RecentRequest,
    RecordReport,
    RecordState,
    RequestReport,
    StormReport,
    WindowReport,
    WindowState,
    record_state,
)
from gateway.engine.writing import Writer
from gateway.intake.times import from_milliseconds
from gateway.kube.stored import Stored
from gateway.state.records import OpenWindow, Seen
from gateway.telemetry.redaction import redacted

MOST_WINDOWS = 1000
"""Windows of a shard that are listed at most."""


class Teller:
    """Reads what the other parts of the engine hold, and changes nothing."""

    def __init__(
        self,
        ports: Ports,
        *,
        ledger: Ledger,
        reconciler: Reconciler,
        writer: Writer,
        health: Health,
        journal: Journal | None,
    ) -> None:
        self._store = ports.store
        self._index = ports.index
        self._synced = ports.synced
        self._watch_error = ports.watch_error
        self._breakers = ports.breakers
        self._ledger = ledger
        self._reconciler = reconciler
        self._writer = writer
        self._health = health
        self._journal = journal
        self._monotonic = ports.clock.monotonic

    def status(self) -> EngineStatus:
        """The state of everything, from memory."""
        journal = self._journal
        failing = self._writer.failing or not self._breakers.kubernetes_closed
        synced = self._synced()
        return EngineStatus(
            process=self._ledger.process_id,
            mode=self._mode(),
            queue=Queue(self._reconciler.depth, failing),
            breakers=self._health.breakers(),
            unconfirmed=self._ledger.unconfirmed,
            slots=len(self._ledger),
            requests=len(self._index),
            windows=self._reconciler.collecting,
            synced=synced,
            watch_error=None if synced else redacted(self._watch_error()) or None,
            journal=JournalReport(journal.size, journal.trouble) if journal is not None else None,
        )

    def _mode(self) -> Mode:
        if self._breakers.kubernetes_closed:
            return Mode.NORMAL if self._breakers.redis_closed else Mode.DIRECT
        return Mode.QUEUEING if self._breakers.redis_closed else Mode.REFUSING

    async def alert(self, fingerprint: str) -> AlertReport | None:
        """What is known of a fingerprint; None where nobody knows it.

        Raises `StoreError` or `KubeError` where nothing is known and somebody who might know does not answer.
        """
        requests = self._index.requests(fingerprint)
        holders = self._index.holding(fingerprint)
        slot = self._ledger.get(fingerprint)
        unanswered: errors.StoreError | None = None
        try:
            redis = _record(await self._look(fingerprint))
        except errors.StoreError as error:
            unanswered = error
            redis = RecordReport(state=RecordState.UNKNOWN, detail=f"Redis does not answer: {error.kind}")
        if not requests and not holders and slot is None:
            if unanswered is not None:
                raise unanswered
            if redis.state is RecordState.ABSENT:
                if not self._synced():
                    raise errors.KubeUnavailable("requests are not being watched")
                return None
        window = slot.window if slot is not None else ""
        if not window and redis.state is RecordState.HELD and redis.window is not None:
            window = redis.window.id
        return AlertReport(
            fingerprint=fingerprint,
            unconfirmed=slot.unconfirmed if slot is not None else 0,
            requests=[_request(stored) for stored in requests],
            storms=[_storm(stored) for stored in holders],
            window=window or None,
            redis=redis,
        )

    async def _look(self, fingerprint: str) -> Seen:
        """What Redis holds; its shard cannot be told from the fingerprint, so all are asked. Raises `StoreError`."""
        shards = range(self._store.shards)
        looks = await asyncio.gather(
            *(self._store.look(shard, fingerprint) for shard in shards), return_exceptions=True
        )
        seen = [look for look in looks if isinstance(look, Seen)]
        for look in seen:
            if look.known:
                return look
        for failure in looks:
            if isinstance(failure, BaseException):
                raise failure
        return seen[0]

    def recent(self, most: int) -> Sequence[RecentRequest]:
        """The requests that changed last, the latest first, from memory.

        The index keeps no order of changes, which would cost each of them something: their versions are one, and are
        looked through when somebody asks (20 000 requests: 3 ms).
        """
        ours = (stored for stored in self._index if stored.fingerprint)
        latest = heapq.nlargest(most, ours, key=lambda stored: stored.resource_version)
        now = self._monotonic()
        return [self._recent(stored, now) for stored in latest]

    def _recent(self, stored: Stored, now: float) -> RecentRequest:
        slot = self._ledger.get(stored.fingerprint) if stored.open else None
        return RecentRequest(
            namespace=stored.namespace,
            name=stored.name,
            fingerprint=stored.fingerprint,
            signal=stored.signal_name,
            generation=stored.generation,
            phase=stored.phase,
            open=stored.open,
            resolved=bool(stored.resolved_at),
            problems=len(stored.members or ()) if stored.is_storm else None,
            occurrence_count=stored.count,
            unconfirmed=slot.unconfirmed if slot is not None else 0,
            taken_seconds_ago=round(now - slot.touched, 1) if slot is not None else None,
        )

    async def storms(self, most: int = MOST_WINDOWS) -> list[WindowReport]:
        """The windows that collect now, the next to end first, at most so many of a shard. Raises `StoreError` where
        Redis does not tell.
        """
        found: list[WindowReport] = []
        for shard in range(self._store.shards):
            listed = await self._store.windows(shard, 0, most - 1)
            found += [_window(window, listed.now) for window in listed.windows]
        return sorted(found, key=lambda window: window.due_in)


def _request(stored: Stored) -> RequestReport:
    return RequestReport(
        namespace=stored.namespace,
        name=stored.name,
        generation=stored.generation,
        phase=stored.phase,
        open=stored.open,
        occurrence_count=stored.count,
    )


def _storm(stored: Stored) -> StormReport:
    return StormReport(
        namespace=stored.namespace,
        name=stored.name,
        window=stored.window,
        phase=stored.phase,
        open=stored.open,
        occurrence_count=stored.count,
    )


def _window(window: OpenWindow, now: int) -> WindowReport:
    return WindowReport(
        id=window.id,
        group=window.group,
        state=_collecting(window.storming),
        members=window.members,
        threshold=window.threshold,
        opened_at=from_milliseconds(window.opened_at),
        last_member_at=from_milliseconds(window.last_at),
        due_at=from_milliseconds(window.ends_at),
        due_in=round((window.ends_at - now) / 1000, 3),
        spilled=window.spilled,
    )


def _collecting(storming: bool) -> WindowState:  # noqa: FBT001 - what it says is in the enum
    return WindowState.STORMING if storming else WindowState.HOLDING


def _record(seen: Seen) -> RecordReport:
    state = record_state(seen)
    if state is RecordState.ABSENT:
        return RecordReport(state=state)
    window = seen.window or None
    held = None
    if window is not None:
        held = HeldReport(
            id=window.id,
            group=window.group,
            state=WindowState.CLOSED if window.closed else _collecting(window.storming),
            members=window.members,
            due_at=from_milliseconds(window.ends_at),
        )
    return RecordReport(
        state=state,
        generation=seen.generation or None,
        unwritten=seen.unwritten,
        attempts=seen.attempts,
        due_at=from_milliseconds(seen.due_at) if seen.due_at >= 0 else None,
        window=held,
        dead_letter=DeadReport(reason=redacted(seen.dead), since=from_milliseconds(seen.dead_since))
        if seen.dead
        else None,
    )
