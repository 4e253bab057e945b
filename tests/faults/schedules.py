"""What a seed draws: a dozen seconds of faults on two gateways, one Redis, and an API server behind two proxies.

Every fault that PROTOCOL promises to survive may come with every other one, but for the exception that it names: a
gateway's death together with the loss of Redis's data. That is drawn only where the gateways have journals.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

REPLICAS = 2
_APART = 0.3
"""Seconds between two faults of one target: what ends one must not undo the next."""
_TOGETHER = 0.35
"""The share of faults that begin with another one: a death in the moment of a flush, say."""
SHORTEST, LONGEST = 8.0, 14.0
"""Seconds in which faults are drawn; the last of them may go on for `MOST_LASTING` more."""
MOST_LASTING = 5.0


class Target(Enum):
    """What a fault is done to. One target has one fault at a time."""

    REDIS = "Redis"
    LINK = "link"
    """Between one gateway and Redis."""
    API = "API"
    """As one gateway sees it."""
    WATCH = "watch"
    """Of one gateway."""
    GATEWAY = "gateway"


class Effect(Enum):
    """What may be gone afterwards for good."""

    NOTHING = "nothing"
    DATA = "data"
    """What Redis holds, or a part of it."""
    PROCESS = "process"
    """What only a gateway knows."""


class Traits(NamedTuple):
    target: Target
    effect: Effect
    shortest: float
    longest: float
    """Seconds; both 0 for what takes no time."""


class Kind(Enum):
    """A fault. The word is what schedules are told with."""

    REDIS_KILLED = "SIGKILL, then started with its data"
    REDIS_EMPTIED = "SIGKILL, then started empty"
    REDIS_PAUSED = "SIGSTOP"
    FLUSHED = "FLUSHALL"
    SCRIPTS_FORGOTTEN = "SCRIPT FLUSH"
    CLIENTS_KILLED = "CLIENT KILL TYPE normal"
    GARBAGE = "garbage over its keys"
    FILLED = "full, and refuses what would need memory"
    EVICTING = "full, and forgets what was not used for long"
    SLOW = "answers are late"
    RESET = "connections are reset"
    GONE = "connections are refused"
    LIMITED = "connections end after some answers"
    PARTITIONED = "nothing passes, either way"
    THROTTLED = "429"
    ERROR = "500"
    UNAVAILABLE = "503"
    CONFLICT = "409"
    API_RESET = "connections are reset before a request is done"
    SWALLOWED = "requests vanish"
    ANSWER_LOST = "answers are lost"
    HANG = "writes are done and never answered"
    LATE = "writes are done late"
    FROZEN = "silent"
    CUT = "cut"
    GATEWAY_KILLED = "SIGKILL"
    GATEWAY_TERMINATED = "SIGTERM"
    GATEWAY_PAUSED = "SIGSTOP, then SIGCONT"


_N, _D, _P = Effect.NOTHING, Effect.DATA, Effect.PROCESS

TRAITS: dict[Kind, Traits] = {
    Kind.REDIS_KILLED: Traits(Target.REDIS, _N, 0.0, 4.0),
    Kind.REDIS_EMPTIED: Traits(Target.REDIS, _D, 0.0, 4.0),
    Kind.REDIS_PAUSED: Traits(Target.REDIS, _N, 0.1, 5.0),
    Kind.FLUSHED: Traits(Target.REDIS, _D, 0.0, 0.0),
    Kind.SCRIPTS_FORGOTTEN: Traits(Target.REDIS, _N, 0.0, 0.0),
    Kind.CLIENTS_KILLED: Traits(Target.REDIS, _N, 0.0, 0.0),
    Kind.GARBAGE: Traits(Target.REDIS, _D, 0.5, 3.0),
    Kind.FILLED: Traits(Target.REDIS, _N, 0.5, 4.0),
    Kind.EVICTING: Traits(Target.REDIS, _D, 0.5, 4.0),
    Kind.SLOW: Traits(Target.LINK, _N, 0.5, 5.0),
    Kind.RESET: Traits(Target.LINK, _N, 0.5, 4.0),
    Kind.GONE: Traits(Target.LINK, _N, 0.1, 5.0),
    Kind.LIMITED: Traits(Target.LINK, _N, 0.5, 4.0),
    Kind.PARTITIONED: Traits(Target.LINK, _N, 0.5, 5.0),
    Kind.THROTTLED: Traits(Target.API, _N, 0.5, 5.0),
    Kind.ERROR: Traits(Target.API, _N, 0.5, 5.0),
    Kind.UNAVAILABLE: Traits(Target.API, _N, 0.5, 5.0),
    Kind.CONFLICT: Traits(Target.API, _N, 0.5, 4.0),
    Kind.API_RESET: Traits(Target.API, _N, 0.5, 5.0),
    Kind.SWALLOWED: Traits(Target.API, _N, 0.5, 4.0),
    Kind.ANSWER_LOST: Traits(Target.API, _N, 0.5, 5.0),
    Kind.HANG: Traits(Target.API, _N, 0.5, 4.0),
    Kind.LATE: Traits(Target.API, _N, 0.5, 4.0),
    Kind.FROZEN: Traits(Target.WATCH, _N, 1.0, 5.0),
    Kind.CUT: Traits(Target.WATCH, _N, 0.0, 0.0),
    Kind.GATEWAY_KILLED: Traits(Target.GATEWAY, _P, 0.0, 2.0),
    Kind.GATEWAY_TERMINATED: Traits(Target.GATEWAY, _P, 0.0, 2.0),
    Kind.GATEWAY_PAUSED: Traits(Target.GATEWAY, _N, 0.2, 5.0),
}


LASTING_IN_ITSELF = frozenset({Kind.GARBAGE, Kind.FILLED, Kind.EVICTING})
"""Faults that are done again and again for as long as they last."""

_SHARED = {Kind.SLOW, Kind.RESET} | {kind for kind in Kind if TRAITS[kind].target is Target.API}
"""Those that may meet some connections or requests only."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of a schedule."""

    at: float
    """Seconds after the first moment of the schedule."""
    lasts: float
    kind: Kind
    replica: int | None = None
    """Whose gateway, link, API or watch it is; None for Redis."""
    share: float = 1.0
    """Of the requests that meet it, for a fault of the API; of the connections, for one of a link."""
    seed: int = 0
    """For what is drawn while it goes on."""

    @property
    def target(self) -> tuple[Target, int | None]:
        return TRAITS[self.kind].target, self.replica

    def __str__(self) -> str:
        target, replica = self.target
        whose = target.value if replica is None else f"{target.value} of {replica + 1}"
        time = f"{self.at:6.2f} s" + (f" +{self.lasts:.2f} s" if self.lasts else "")
        share = f" ({self.share:.0%})" if self.share < 1 else ""
        return f"{time:<18}{whose}: {self.kind.value}{share}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What one seed draws."""

    seed: int
    journal: bool
    """Whether each gateway has one."""
    steps: tuple[Step, ...]
    """In the order of their beginnings."""

    @property
    def seconds(self) -> float:
        """Until the last fault ends."""
        return max(step.at + step.lasts for step in self.steps)

    def has(self, effect: Effect) -> bool:
        """Whether one of its faults has this effect."""
        return any(TRAITS[step.kind].effect is effect for step in self.steps)

    def touches(self, *targets: Target) -> bool:
        """Whether one of its faults is done to one of these."""
        return any(TRAITS[step.kind].target in targets for step in self.steps)

    def __str__(self) -> str:
        journals = "with journals" if self.journal else "without journals"
        return "\n".join([f"seed {self.seed}, {journals}", *(f"  {step}" for step in self.steps)])


def draw(seed: int) -> Schedule:
    """The schedule of a seed: always the same one."""
    rng = random.Random(f"faults {seed}")
    journal = rng.random() < 0.4
    allowed = _without_exception(rng, journal=journal)
    length = rng.uniform(SHORTEST, LONGEST)
    steps: list[Step] = []
    # A schedule of few faults of few targets shows more of each; one of many has the combinations.
    kinds = rng.sample(allowed, min(len(allowed), rng.choice((4, 8, len(allowed)))))
    for _ in range(rng.randint(6, 12)):
        at = rng.uniform(0, length)
        if steps and rng.random() < _TOGETHER:
            at = min(length, rng.choice(steps).at + rng.uniform(0, 0.3))
        step = _step(rng, kinds, at)
        if not any(_collide(step, other) for other in steps):
            steps.append(step)
    return Schedule(seed, journal, tuple(sorted(steps, key=lambda step: step.at)))


def _without_exception(rng: random.Random, *, journal: bool) -> list[Kind]:
    """All kinds; without journals, either those by which data are lost or those by which a process is."""
    if journal:
        return list(Kind)
    left_out = rng.choice((Effect.DATA, Effect.PROCESS))
    return [kind for kind in Kind if TRAITS[kind].effect is not left_out]


def _step(rng: random.Random, kinds: list[Kind], at: float) -> Step:
    # By target first: there are many faults of the API, and not many of a gateway.
    target = rng.choice([target for target in Target if any(TRAITS[kind].target is target for kind in kinds)])
    kind = rng.choice([kind for kind in kinds if TRAITS[kind].target is target])
    traits = TRAITS[kind]
    return Step(
        at=round(at, 2),
        lasts=round(rng.uniform(traits.shortest, traits.longest), 2),
        kind=kind,
        replica=None if target is Target.REDIS else rng.randrange(REPLICAS),
        share=rng.choice((0.1, 0.3, 0.6, 1.0)) if kind in _SHARED else 1.0,
        seed=rng.randrange(2**31),
    )


def _collide(one: Step, other: Step) -> bool:
    """Whether both are done to the same target at the same time."""
    return (
        one.target == other.target
        and one.at <= other.at + other.lasts + _APART
        and other.at <= one.at + one.lasts + _APART
    )
