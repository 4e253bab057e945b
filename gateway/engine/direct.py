"""The direct way: what Redis did not take is written to Kubernetes, under the same slot and number.

Without Redis there are no windows. What one would hold gets its request at once; but several new alerts of one group
in one webhook, as many as make a storm, still become one aggregated request. That is named after the webhook's body,
so that the sender's retry finds it again, at whichever replica.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from gateway import errors
from gateway.engine.deliveries import Delivery, Fate, Unit
from gateway.engine.ledger import Ledger
from gateway.engine.planning import Demand, Entry
from gateway.engine.ports import Ports
from gateway.engine.storming import Part
from gateway.engine.views import open_holder, resolved_since
from gateway.engine.writing import Writer
from gateway.state.records import Standing

log = structlog.get_logger(__name__)

DEADLINE = 6.0
"""Seconds for writing an alert to Kubernetes directly, with waiting for a turn; past them its outcome is unknown."""

WINDOW_DIGITS = 12

REASONS = {"timeout": "redis_timeout", "oom": "redis_oom", "breaker_open": "breaker_open"}
"""The metrics' word for each kind of failure that has one of its own."""


class DirectWay:
    """Writes alerts to Kubernetes before they are answered."""

    def __init__(
        self,
        ports: Ports,
        ledger: Ledger,
        writer: Writer,
        *,
        on_taken: Callable[[str, int], None],
        concurrency: int,
    ) -> None:
        """`on_taken(fingerprint, n)`: n accepted occurrences are newly confirmed."""
        self._index = ports.index
        self._clock = ports.clock
        self._metrics = ports.metrics
        self._ledger = ledger
        self._writer = writer
        self._on_taken = on_taken
        self._turns = asyncio.Semaphore(concurrency)
        self._breakers = ports.breakers

    async def take(
        self, units: Sequence[Unit], why: errors.StoreError, settle: Callable[[Unit, Fate], None]
    ) -> None:
        """Write each unit, and settle it as soon as its fate is known. Raises nothing."""
        reason = REASONS.get(why.kind, "redis_unavailable")
        for unit in units:
            self._metrics.dedup_fallback[reason].inc(len(unit.members))
        storms = _storms(units)
        stormy = {unit.fingerprint for storm in storms for unit in storm}
        await asyncio.gather(
            *(self._take_storm(storm, reason, settle) for storm in storms),
            *(self._take_one(unit, reason, settle) for unit in units if unit.fingerprint not in stormy),
        )

    async def _take_one(self, unit: Unit, reason: str, settle: Callable[[Unit, Fate], None]) -> None:
        async def write(fates: dict[str, Fate]) -> None:
            await self._look_up(unit, reason)
            fates[unit.fingerprint] = await self._write(unit)

        await self._take([unit], write, settle)

    async def _take_storm(
        self, units: Sequence[Unit], reason: str, settle: Callable[[Unit, Fate], None]
    ) -> None:
        async def write(fates: dict[str, Fate]) -> None:
            await asyncio.gather(*(self._look_up(unit, reason) for unit in units))
            await self._write_storm(units, reason, fates)

        await self._take(units, write, settle)

    async def _take(
        self,
        units: Sequence[Unit],
        write: Callable[[dict[str, Fate]], Awaitable[None]],
        settle: Callable[[Unit, Fate], None],
    ) -> None:
        """Settle the units as `write` tells; those of which it tells nothing share its failure."""
        fates: dict[str, Fate] = {}
        failed = Fate(None)
        try:
            if self._turns.locked():
                self._check()
            async with asyncio.timeout(DEADLINE), self._turns:
                await write(fates)
        except errors.KubeInvalid as error:
            failed = Fate(None, detail=f"Kubernetes can never take it: {error}")
        except errors.GatewayError as error:
            failed = Fate(None, error=error)
        except TimeoutError:
            failed = Fate(None, error=errors.NotDurable("Kubernetes did not take the alert in time"))
        except Exception as error:
            log.exception("direct write failed unexpectedly")
            self._metrics.errors["direct_write"].inc()
            failed = Fate(None, error=errors.NotDurable(f"the direct write failed: {type(error).__name__}"))
        for unit in units:
            settle(unit, fates.get(unit.fingerprint, failed))

    async def _look_up(self, unit: Unit, reason: str) -> None:
        if open_holder(self._index, unit.fingerprint) is None:
            self._check()
            self._metrics.k8s_api_queries[reason].inc()
            await self._writer.look_up(unit.fingerprint, unit.reading.namespace)

    def _check(self) -> None:
        """Raise `KubeNotTried` while the breaker is open: nobody waits behind calls that began before it opened."""
        breaker = self._breakers.kubernetes
        if breaker is not None and not breaker.allow():
            why = f"the Kubernetes API fails, and is left alone for now: {breaker.reason}"
            raise errors.KubeNotTried(why, retry_after=breaker.retry_after())

    # --- each by itself

    async def _write(self, unit: Unit) -> Fate:
        reading, fingerprint = unit.reading, unit.fingerprint
        opened = open_holder(self._index, fingerprint)
        if reading.resolved:
            if opened is not None:
                demand = Demand({}, resolved_since=reading.starts_at, resolved_at=reading.ends_at)
                await self._writer.write(fingerprint, demand, None, None, read_again=True)
            return Fate(Standing.RESOLVED)
        if self._stale(unit):
            return Fate(Standing.STALE)
        now = self._clock.monotonic()
        part, value = self._part(unit, now)
        slot = self._ledger.open(fingerprint, now)
        if opened is None and slot.window and slot.storming:
            await self._writer.storms.count(slot.window, part)
        own = await self._writer.write(fingerprint, part.demand, reading.signal, None, read_again=True)
        newly = self._ledger.taken(slot, value, reading, now)
        if newly:
            self._on_taken(fingerprint, newly)
        return Fate(Standing.OPEN if opened is not None else Standing.NEW, own.open_generation)

    def _stale(self, unit: Unit) -> bool:
        reading = unit.reading
        slot = self._ledger.get(unit.fingerprint)
        return (
            open_holder(self._index, unit.fingerprint) is None
            and reading.dated
            and reading.starts_at <= resolved_since(self._index, unit.fingerprint)
            and not (slot is not None and slot.haunted)
        )

    def _part(self, unit: Unit, now: float) -> tuple[Part, int]:
        """What is demanded for a unit, and the number that its slot reaches with it."""
        slot = self._ledger.open(unit.fingerprint, now)
        value = self._ledger.send(slot, len(unit.members), now)
        demand = Demand({slot.name: Entry(value, slot.conf)}, firing_since=unit.reading.starts_at)
        return Part(unit.fingerprint, demand, unit.reading.signal), value

    # --- as one

    async def _write_storm(self, units: Sequence[Unit], reason: str, fates: dict[str, Fate]) -> None:
        """What is new of them in one request, the rest each by itself."""
        new = [
            unit
            for unit in units
            if open_holder(self._index, unit.fingerprint) is None and not self._stale(unit)
        ]
        hold = units[0].reading.hold()
        if hold is not None and len(new) >= hold.threshold:
            await self._bypass(new, reason, fates)

        async def write(unit: Unit) -> None:
            try:
                fates[unit.fingerprint] = await self._write(unit)
            except errors.KubeInvalid as error:
                fates[unit.fingerprint] = Fate(None, detail=f"Kubernetes can never take it: {error}")
            except errors.GatewayError as error:
                fates[unit.fingerprint] = Fate(None, error=error)

        await asyncio.gather(*(write(unit) for unit in units if unit.fingerprint not in fates))

    async def _bypass(self, units: Sequence[Unit], reason: str, fates: dict[str, Fate]) -> None:
        """One aggregated request of new alerts; nothing is told of those that it did not take."""
        now = self._clock.monotonic()
        parts = {unit.fingerprint: self._part(unit, now) for unit in units}
        window = self._bypass_window(units[0].members[0][0], units[0].reading.group)
        written = await self._writer.storms.write(
            window, [part for part, _ in parts.values()], source="storm_bypass", read_again=True
        )
        self._metrics.storm_buffer_bypass[reason].inc(len(units))
        log.info("Redis holds no windows now; a storm is written at once", window=window, members=len(units))
        for unit in units:
            member = written.members.get(unit.fingerprint)
            if member is None or member.released:
                continue
            slot = self._ledger.open(unit.fingerprint, now)
            newly = self._ledger.taken(slot, parts[unit.fingerprint][1], unit.reading, now)
            if newly:
                self._on_taken(unit.fingerprint, newly)
            fates[unit.fingerprint] = Fate(Standing.OPEN if fates else Standing.NEW, member.open_generation)

    def _bypass_window(self, delivery: Delivery, group: str) -> str:
        """The first id made of the body and the group whose request is not known to be over."""
        number = 0
        while True:
            text = f"{delivery.digest}\n{group}\n{number}"
            window = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:WINDOW_DIGITS]
            stored = self._index.window(window)
            if (stored is None or stored.open) and self._index.window_tomb(window) is None:
                return window
            number += 1


def _storms(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units that may be a storm: enough of one group, out of one webhook, that a window would hold."""
    grouped: dict[tuple[int, str], list[Unit]] = {}
    for unit in units:
        if not unit.reading.resolved:
            grouped.setdefault((id(unit.members[0][0]), unit.reading.group), []).append(unit)
    found = []
    for together in grouped.values():
        held = {}
        if len(together) > 1:
            for unit in together:
                if unit.fingerprint not in held and unit.reading.hold() is not None:
                    held[unit.fingerprint] = unit
        hold = together[0].reading.hold() if held else None
        if hold is not None and len(held) >= hold.threshold:
            found.append(list(held.values()))
    return found
