"""Faults on purpose, for rehearsals: a dependency that is well is made to fail for a while, for some of the calls.

Each target has one point that its client consults in the innermost place, below time-outs, breakers and counters, so
that everything above meets what it would meet with a real fault. The point says which calls are struck and how; what
that means on the wire is the client's own matter (`spoiling` in `state`, `kube` and `web`).

A fault ends by itself when its time is over. Where nothing is injected, a call costs the reading of one attribute.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import structlog

log = structlog.get_logger(__name__)


class FaultTarget(StrEnum):
    """What is made to fail."""

    REDIS = "redis"
    KUBERNETES = "kubernetes"
    WEBHOOK = "webhook"
    """The answers to senders."""


class FaultMode(StrEnum):
    """How it fails. A call that got no answer may have been performed: of those struck by `timeout` and `error` one
    half are, and the other half are not.
    """

    TIMEOUT = "timeout"
    """No answer comes in time."""
    ERROR = "error"
    """The answer is an error, or the connection breaks."""
    JITTER = "jitter"
    """The answer comes late, by up to the delay."""
    LATENCY = "latency"
    """The answer comes late, by the delay."""
    THROTTLED = "429"
    """Refused for now."""
    CONFLICT = "conflict"
    """Refused because somebody else has changed the object."""
    OOM = "oom"
    """Refused for want of memory."""


MODES: Final[Mapping[FaultTarget, tuple[FaultMode, ...]]] = {
    FaultTarget.REDIS: (
        FaultMode.TIMEOUT,
        FaultMode.ERROR,
        FaultMode.JITTER,
        FaultMode.LATENCY,
        FaultMode.OOM,
    ),
    FaultTarget.KUBERNETES: (
        FaultMode.TIMEOUT,
        FaultMode.ERROR,
        FaultMode.JITTER,
        FaultMode.LATENCY,
        FaultMode.THROTTLED,
        FaultMode.CONFLICT,
    ),
    FaultTarget.WEBHOOK: (FaultMode.TIMEOUT, FaultMode.ERROR, FaultMode.JITTER, FaultMode.LATENCY),
}
"""What each target can do in earnest."""
DELAYED: Final = frozenset({FaultMode.JITTER, FaultMode.LATENCY})
"""Modes that need a delay."""
LONGEST_TTL: Final = 3600.0
"""Seconds: a rehearsal that is forgotten is over within the hour."""
LONGEST_DELAY: Final = 60.0
"""Seconds: more than any call has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is injected."""

    target: FaultTarget
    mode: FaultMode
    pct: float
    """Per cent of the calls that are struck."""
    ttl: float
    """Seconds until it ends by itself."""
    delay: float = 0.0
    """Seconds by which what is struck is late; `DELAYED` modes need it, and a `TIMEOUT` is later anyway."""
    by: str = ""
    """Who injected it; empty where senders have no names."""


class Blow(NamedTuple):
    """What happens to one call."""

    mode: FaultMode
    delay: float
    """Seconds by which its answer, or its failure, is late."""
    performed: bool
    """Whether it is performed before it fails."""


class Active(NamedTuple):
    """A fault that acts now."""

    fault: Fault
    remaining: float
    """Seconds."""
    calls: int
    """That passed its point since it was injected."""
    struck: int


class FaultPoint:
    """Where all calls to one target pass."""

    def __init__(
        self,
        target: FaultTarget,
        *,
        clock: Callable[[], float],
        struck: Callable[[FaultTarget, FaultMode], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`clock` is monotonic, in seconds; `struck` is told of every call that is; `chance` gives 0 to 1."""
        self.target: Final = target
        self.fault: Fault | None = None
        """To be looked at before each call: while it is None, the call needs no `strike`."""
        self._clock = clock
        self._told = struck
        self._chance = chance
        self._ends = 0.0
        self._calls = 0
        self._struck = 0

    def inject(self, fault: Fault) -> None:
        """From now on, in the place of what was injected before."""
        self.end()
        self.fault, self._ends = fault, self._clock() + fault.ttl
        self._calls = self._struck = 0
        log.warning("fault injected", **_facts(fault), pct=fault.pct, ttl=fault.ttl, by=fault.by)

    def end(self) -> Active | None:
        """Stop it; what it was, None where there was nothing."""
        active = self.active()
        if active is not None:
            self._stop("ended")
        return active

    def active(self) -> Active | None:
        """What acts now."""
        fault = self.fault
        if fault is None:
            return None
        remaining = self._ends - self._clock()
        if remaining <= 0:
            self._stop("expired")
            return None
        return Active(fault, remaining, self._calls, self._struck)

    def strike(self, spared: Container[FaultMode] = ()) -> Blow | None:
        """What happens to the call that is about to be made; None where it is left alone. `spared`: modes that such a
        call does not meet.
        """
        fault = self.fault
        if fault is None or self.active() is None:
            return None
        self._calls += 1
        if fault.mode in spared or self._chance() * 100 >= fault.pct:
            return None
        self._struck += 1
        self._told(fault.target, fault.mode)
        delay = fault.delay * (self._chance() if fault.mode is FaultMode.JITTER else 1)
        return Blow(fault.mode, delay, performed=self._chance() < 0.5)

    def _stop(self, why: str) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            log.info("fault over", **_facts(fault), reason=why, calls=self._calls, struck=self._struck)


class FaultPoints:
    """The points of one gateway."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        struck: Callable[[FaultTarget, FaultMode], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """As for `FaultPoint`."""
        self.points: Final[Mapping[FaultTarget, FaultPoint]] = {
            target: FaultPoint(target, clock=clock, struck=struck, chance=chance) for target in FaultTarget
        }

    def active(self) -> Iterator[Active]:
        """What acts now, one a target at most."""
        for point in self.points.values():
            found = point.active()
            if found is not None:
                yield found

    def warnings(self) -> list[str]:
        """For `/readyz`: that faults can be injected, and each that is."""
        return [
            "chaos.enabled: faults can be injected here",
            *(
                f"a fault is injected: {fault.target.value} {fault.mode.value}, {fault.pct:g} % of the calls, "
                f"for another {remaining:.0f} s"
                for fault, remaining, _, _ in self.active()
            ),
        ]


def _facts(fault: Fault) -> dict[str, str]:
    return {"target": fault.target.value, "mode": fault.mode.value}
