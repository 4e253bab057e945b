"""How each part is doing, told from memory: for readiness, and for people who want to know what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.engine.ports import Ports
from gateway.engine.reports import BreakerReport
from gateway.resilience.breakers import Breaker
from gateway.telemetry.redaction import redacted


class Component(msgspec.Struct, frozen=True):
    """How one part is doing."""

    name: str
    ok: bool
    detail: str = ""


class Health:
    """Readiness goes by the breakers and not by single calls: a dependency that stumbles makes nobody unready."""

    def __init__(self, ports: Ports, *, answering: Callable[[], bool]) -> None:
        """`answering`: whether Redis answered the last question; it counts where there is no breaker."""
        self._breakers = ports.breakers
        self._synced = ports.synced
        self._watch_error = ports.watch_error
        self._missing = ports.missing_permissions
        self._answering = answering

    def durable(self) -> bool:
        """Whether an alert can be made durable, in whichever way."""
        return self.redis().ok or self.kubernetes().ok

    def redis(self) -> Component:
        breaker = self._breakers.redis
        ok = self._answering() if breaker is None else breaker.healthy
        return Component("redis", ok, "" if ok else _why(breaker, "does not answer"))

    def kubernetes(self) -> Component:
        breaker = self._breakers.kubernetes
        if breaker is not None and not breaker.closed:
            return Component("kubernetes", ok=False, detail=_why(breaker, ""))
        if self._synced():
            return Component("kubernetes", ok=True)
        error = self._watch_error()
        detail = "requests are not being watched"
        return Component("kubernetes", ok=False, detail=f"{detail}: {error}" if error else detail)

    def writes(self, depth: int, *, failing: bool) -> Component:
        """`depth` requests wait to be written; `failing`: the last that was tried could not be."""
        failing = failing or not self._breakers.kubernetes_closed
        return Component("writes", not failing, f"{depth} requests wait to be written" if failing else "")

    def permissions(self) -> Component:
        missing = self._missing()
        return Component("permissions", not missing, f"missing: {'; '.join(missing)}" if missing else "")

    def breakers(self) -> dict[str, BreakerReport]:
        """For the status."""
        found = (self._breakers.redis, self._breakers.kubernetes)
        return {breaker.name: _described(breaker) for breaker in found if breaker is not None}


def _why(breaker: Breaker | None, otherwise: str) -> str:
    if breaker is None:
        return otherwise
    if breaker.closed:
        return "has not answered yet" if not breaker.reason else f"has not answered yet: {breaker.reason}"
    return f"fails and is left alone for now: {breaker.reason}"


def _described(breaker: Breaker) -> BreakerReport:
    state = breaker.state.name.lower().replace("_", "-")
    if breaker.closed:
        return BreakerReport(state=state)
    return BreakerReport(
        state=state, reason=redacted(breaker.reason), retry_after_seconds=round(breaker.retry_after(), 1)
    )
