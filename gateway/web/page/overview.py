"""What the page shows, as the types that are encoded: they are the description of the API, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gateway import errors
from gateway.engine.reports import RecentRequest, WindowReport
from gateway.resilience.faults import FaultMode, FaultPoints, FaultTarget
from gateway.telemetry.metrics import Metrics, total
from gateway.web.ports import Engine
from gateway.web.reports import Status

MOST_WINDOWS: Final = 50
MOST_REQUESTS: Final = 30


class Totals(msgspec.Struct, frozen=True):
    """Alerts since this process began. Created and deduplicated count when they are in Kubernetes."""

    received: int
    created: int
    deduplicated: int
    resolved: int
    denied: int
    invalid: int


class FaultReport(msgspec.Struct, frozen=True, rename="camel"):
    """A fault that is injected now."""

    target: FaultTarget
    mode: FaultMode
    pct: float
    """Per cent of the calls."""
    delay_seconds: float
    """By how much what is struck is late; 0 where it is not."""
    remaining_seconds: float
    calls: int
    """To the target since it was injected."""
    struck: int
    """Of them, those that the fault met."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the status page shows."""

    at: str
    """When it was taken (RFC 3339)."""
    status: Status
    totals: Totals
    windows: Sequence[WindowReport] | None
    """Storm windows that collect, the next to end first, 50 at most; null where Redis does not tell."""
    recent: Sequence[RecentRequest]
    """The requests that changed last, 30 at most."""
    faults: Sequence[FaultReport] | None
    """Null where none can be injected (`chaos.enabled`)."""


class Observer:
    """Takes overviews."""

    def __init__(
        self,
        *,
        engine: Engine,
        metrics: Metrics,
        faults: FaultPoints | None,
        status: Callable[[], Status],
        stamp: Callable[[], str],
    ) -> None:
        """`stamp` gives the time of day."""
        self._engine = engine
        self._metrics = metrics
        self._faults = faults
        self._status = status
        self._stamp = stamp

    async def take(self) -> Overview:
        """The state of everything now. Redis is asked for the windows, all else is known."""
        try:
            listed = await self._engine.storms(MOST_WINDOWS)
            windows: Sequence[WindowReport] | None = listed[:MOST_WINDOWS]
        except errors.StoreError:
            windows = None
        return Overview(
            at=self._stamp(),
            status=self._status(),
            totals=self._totals(),
            windows=windows,
            recent=self._engine.recent(MOST_REQUESTS),
            faults=_injected(self._faults) if self._faults is not None else None,
        )

    def _totals(self) -> Totals:
        metrics = self._metrics
        return Totals(
            received=total(metrics.alerts_received),
            created=total(*metrics.crds_created.values()),
            deduplicated=total(*metrics.alerts_deduplicated.values()),
            resolved=total(metrics.alerts_resolved),
            denied=total(*metrics.policy_denials.values()),
            invalid=total(metrics.alerts_invalid),
        )


def _injected(faults: FaultPoints) -> list[FaultReport]:
    return [
        FaultReport(
            target=fault.target,
            mode=fault.mode,
            pct=fault.pct,
            delay_seconds=fault.delay,
            remaining_seconds=round(remaining, 1),
            calls=calls,
            struck=struck,
        )
        for fault, remaining, calls, struck in faults.active()
    ]
