"""How many webhooks a second, from the first second of a campaign to its last; and which faults act when.

A shape is a row of phases, in each of which the rate goes straight from one value to another. From that follows the
moment at which each webhook is due, whatever became of those before it. Pure: no I/O, no clock, no Locust.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from chaos.load.mix import DEDUPLICATION, MIXED, Kind, different

FILLING = "filling"
"""The phase at whose end whatever has a life has had it once: what grows after it is a leak."""
SHORTEST = 2.0
"""Seconds that a phase lasts at least where a campaign is scaled down: less shows nothing."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a campaign."""

    name: str
    seconds: float
    rate_from: float
    """Webhooks a second at its beginning."""
    rate_to: float
    """… and at its end."""

    @property
    def webhooks(self) -> float:
        """How many are due within it; seldom a whole number."""
        return (self.rate_from + self.rate_to) / 2 * self.seconds

    def rate(self, after: float) -> float:
        """The rate so many seconds after its beginning."""
        share = min(1.0, max(0.0, after / self.seconds))
        return self.rate_from + (self.rate_to - self.rate_from) * share

    def reached(self, webhooks: float) -> float:
        """Seconds after its beginning until so many are due."""
        growth = (self.rate_to - self.rate_from) / self.seconds
        if abs(growth) < 1e-9:
            return webhooks / self.rate_from
        root = math.sqrt(max(0.0, self.rate_from**2 + 2 * growth * webhooks))
        return (root - self.rate_from) / growth


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch in which faults act, injected through the gateways' own admin route; or a rest between two."""

    name: str
    seconds: float
    faults: tuple[Mapping[str, Any], ...] = ()
    """Bodies for the admin route, without their `ttl`."""
    shortest: float = 1.5
    """Seconds that it lasts at least, scaled or not."""


def _fault(target: str, mode: str, pct: float, **more: str) -> dict[str, Any]:
    return {"target": target, "mode": mode, "pct": pct, **more}


class Shape:
    """The rates of a campaign. Subclasses say which; `scale` shortens times, and never changes a rate."""

    name: ClassVar[str]
    title: ClassVar[str]
    mix: ClassVar[Mapping[Kind, int]] = MIXED
    """Shares in per cent."""
    stages: ClassVar[Sequence[Phase]]
    """The phases as they are at full length."""
    trials: ClassVar[Sequence[Spell]] = ()
    """The spells as they are at full length; together they last as long as the phases."""

    def __init__(self, scale: float = 1.0, duration: float | None = None) -> None:
        """`duration`: seconds that it lasts instead of its own, before they are scaled."""
        natural = sum(stage.seconds for stage in self.stages)
        self.factor = scale * (duration or natural) / natural
        self.spells = tuple(
            Spell(one.name, max(one.seconds * self.factor, one.shortest), one.faults) for one in self.trials
        )
        self.phases = tuple(
            Phase(one.name, self._length(one), one.rate_from, one.rate_to) for one in self.stages
        )

    @property
    def fills(self) -> bool:
        """Whether everything is to have filled up by some moment, so that what grows after it is a leak."""
        return any(phase.name == FILLING for phase in self.phases)

    @property
    def filled_by(self) -> int:
        """How many different alerts arrive in nine tenths of the time in which everything fills up."""
        webhooks = sum(phase.webhooks for phase in self.phases if phase.name == FILLING)
        return int(0.9 * webhooks * different(self.mix))

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def webhooks(self) -> int:
        """How many it sends."""
        return int(sum(phase.webhooks for phase in self.phases) + 1e-6)

    def rate(self, at: float) -> float:
        """The rate so many seconds after the start; 0 before it and from the end on."""
        if at < 0:
            return 0.0
        for phase in self.phases:
            if at < phase.seconds:
                return phase.rate(at)
            at -= phase.seconds
        return 0.0

    def highest(self, since: float, until: float) -> float:
        """The highest rate within that time."""
        edges, begins = [since, until], 0.0
        for phase in self.phases:
            edges += [begins, math.nextafter(begins + phase.seconds, 0)]
            begins += phase.seconds
        return max(self.rate(at) for at in edges if since <= at <= until)

    def due(self) -> Iterator[float]:
        """For each webhook, seconds after the start at which it is to be sent."""
        begins, before, number = 0.0, 0.0, 0
        for phase in self.phases:
            while number + 0.5 <= before + phase.webhooks + 1e-9:
                yield begins + phase.reached(number + 0.5 - before)
                number += 1
            begins, before = begins + phase.seconds, before + phase.webhooks

    def _length(self, stage: Phase) -> float:
        if self.spells:
            return sum(one.seconds for one in self.spells)
        return max(stage.seconds * self.factor, min(stage.seconds, SHORTEST))


class Baseline(Shape):
    """From nothing to a busy cluster."""

    name = "baseline"
    title = "0 → 50 webhooks a second over 10 min"
    stages = (Phase("ramp", 600, 0, 50),)


class Spike(Shape):
    """A failure that everybody notices at once."""

    name = "spike"
    title = "0 → 150 webhooks a second in 30 s, held for 2 min"
    stages = (Phase("ramp", 30, 0, 150), Phase("hold", 120, 150, 150))


class Soak(Shape):
    """Long enough for whatever grows to show."""

    name = "soak"
    title = "15 webhooks a second for 2 h"
    stages = (Phase(FILLING, 1800, 15, 15), Phase("steady", 5400, 15, 15))


class ChaosWindow(Shape):
    """Faults of every kind, one after another, and once both dependencies at a time."""

    name = "chaos-window"
    title = "20 webhooks a second with injected faults, 6 min"
    stages = (Phase("window", 360, 20, 20),)
    trials = (
        Spell("calm", 30),
        Spell("redis-errors-20", 40, (_fault("redis", "error", 20),)),
        Spell("rest", 5, shortest=0.5),
        Spell("redis-latency", 30, (_fault("redis", "latency", 50, delay="200ms"),)),
        Spell("rest", 10, shortest=0.5),
        Spell("kubernetes-errors-30", 40, (_fault("kubernetes", "error", 30),)),
        Spell("rest", 10, shortest=0.5),
        Spell("kubernetes-latency", 30, (_fault("kubernetes", "latency", 50, delay="500ms"),)),
        Spell("rest", 5, shortest=0.5),
        # These two strike some of few calls: in less time it may be none of them.
        Spell("kubernetes-throttled", 30, (_fault("kubernetes", "429", 30),), shortest=6.0),
        Spell("rest", 10, shortest=0.5),
        Spell("webhook-errors-20", 30, (_fault("webhook", "error", 20),), shortest=6.0),
        Spell("rest", 5, shortest=0.5),
        Spell(
            "both-down", 40, (_fault("redis", "error", 100), _fault("kubernetes", "error", 100)), shortest=5.0
        ),
        Spell("recovery", 45, shortest=2.0),
    )


class Deduplication(Shape):
    """The same alerts again and again."""

    name = "dedup"
    title = "30 webhooks a second of repeated alerts, 5 min"
    mix = DEDUPLICATION
    stages = (Phase("repeated", 300, 30, 30),)


class BigDay(Shape):
    """Everything that happens on a bad day, in 40 min."""

    name = "big-day"
    title = "up to 60 webhooks a second, a spike to 120, a wave to 80, and down, 40 min"
    stages = (
        Phase("morning", 480, 0, 60),
        Phase("hold", 600, 60, 60),
        Phase("spike up", 60, 60, 120),
        Phase("spike", 120, 120, 120),
        Phase("spike down", 60, 120, 60),
        Phase("afternoon", 300, 60, 60),
        Phase("wave up", 180, 60, 80),
        Phase("wave", 120, 80, 80),
        Phase("wave down", 180, 80, 60),
        Phase("evening", 300, 60, 0),
    )


ALL: Sequence[type[Shape]] = (Baseline, Spike, Soak, ChaosWindow, Deduplication, BigDay)
BY_NAME: Mapping[str, type[Shape]] = {shape.name: shape for shape in ALL}
