"""What is sent: the same turns for the same seed, in which share and about which problems.

A new alert is about a problem that nobody has heard of. Duplicates repeat one of the last forty seconds, storms are
many new problems of one cause in one webhook, what is resolved was sent before. Denied ones come from a namespace that
the policy denies, tampered ones carry a credential that was spoiled on the way. Pure: times are those at which turns
are due.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chaos.alerts import Problem


class Kind(StrEnum):
    """What a webhook is."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STORM = "storm"
    RESOLVED = "resolved"
    DENIED = "denied"
    TAMPERED = "tampered"


REFUSED: Final[Mapping[str, int]] = {Kind.DENIED: 403, Kind.TAMPERED: 401}
"""Kind → the status that refuses it; every other kind is to be taken."""
MIXED: Final[Mapping[Kind, int]] = {
    Kind.NEW: 40,
    Kind.DUPLICATE: 30,
    Kind.STORM: 10,
    Kind.RESOLVED: 10,
    Kind.DENIED: 5,
    Kind.TAMPERED: 5,
}
DEDUPLICATION: Final[Mapping[Kind, int]] = {Kind.NEW: 5, Kind.DUPLICATE: 95}

STORM: Final = "LoadStorm"
"""What the names of storms begin with; nothing else's does."""
STORM_ALERTS: Final = 10
"""Alerts of a storm's webhook."""
STORM_WEBHOOKS: Final = 8
"""Webhooks of one storm."""
NAMES: Final = ("LoadOOMKilled", "LoadCrashLoop", "LoadNotReady", "LoadDiskFull", "LoadLatency")
BLOCK: Final = 20
"""Turns that have exactly the shares, in an order of their own."""
YOUNGEST: Final = 2.0
"""Seconds after which a problem is repeated at the earliest: its first webhook has been answered by then."""
RESOLVABLE: Final = 5.0
"""… and resolved at the earliest."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One webhook."""

    number: int
    due: float
    """Seconds after the start."""
    kind: Kind
    problems: tuple[Problem, ...]

    @property
    def resolved(self) -> bool:
        """Whether its alerts have ended."""
        return self.kind is Kind.RESOLVED


def different(shares: Mapping[Kind, int]) -> float:
    """How many alerts that were never sent before come with a webhook on average and are looked at."""
    alone = shares.get(Kind.NEW, 0) + shares.get(Kind.DENIED, 0)
    return (alone + STORM_ALERTS * shares.get(Kind.STORM, 0)) / 100


class Mix:
    """The turns of a campaign."""

    def __init__(
        self,
        shares: Mapping[Kind, int],
        seed: int,
        *,
        began: float,
        tag: str,
        namespace: str,
        denied: str,
        repeated_for: float = 40.0,
    ) -> None:
        """`began` is the wall time of the start; `tag` tells the problems of this run from those of any other; `denied`
        is the namespace that the policy denies. A problem is repeated for so many seconds, and requests have to stay
        open for longer.
        """
        self._block = [kind for kind, share in shares.items() for _ in range(share * BLOCK // 100)]
        if len(self._block) != BLOCK:
            raise ValueError(
                f"shares must be multiples of {100 // BLOCK} per cent that make a hundred: {shares}"
            )
        self._random = random.Random(seed)
        self._began = began
        self._tag = tag
        self._namespace = namespace
        self._denied = denied
        self._repeated_for = repeated_for
        self._known: deque[tuple[float, Problem]] = deque()
        """Problems that may be repeated, with when they were first sent."""
        self._storms = 0

    def turns(self, due: Iterable[float]) -> Iterator[Turn]:
        """A turn for each moment, in their order."""
        kinds: list[Kind] = []
        for number, at in enumerate(due):
            if not kinds:
                kinds = self._random.sample(self._block, BLOCK)
            kind, problems = self._drawn(kinds.pop(), number, at)
            yield Turn(number, at, kind, problems)

    def _drawn(self, kind: Kind, number: int, at: float) -> tuple[Kind, tuple[Problem, ...]]:
        while self._known and self._known[0][0] < at - self._repeated_for:
            self._known.popleft()
        match kind:
            case Kind.DUPLICATE if self._known:
                return kind, (self._repeated(at),)
            case Kind.RESOLVED if self._known and self._known[0][0] <= at - RESOLVABLE:
                return kind, (self._known.popleft()[1],)
            case Kind.STORM:
                name = f"{STORM}{self._storms // STORM_WEBHOOKS}"
                self._storms += 1
                return kind, tuple(
                    self._problem(name, f"{number}-{place}", at) for place in range(STORM_ALERTS)
                )
            case Kind.DENIED:
                return kind, (self._problem("LoadDenied", f"{number}", at, namespace=self._denied),)
            case Kind.TAMPERED:
                return kind, (self._problem("LoadTampered", f"{number}", at),)
        # Nothing is known yet that could be repeated or resolved.
        problem = self._problem(self._random.choice(NAMES), f"{number}", at)
        self._known.append((at, problem))
        return Kind.NEW, (problem,)

    def _repeated(self, at: float) -> Problem:
        last = len(self._known)
        while last > 1 and self._known[last - 1][0] > at - YOUNGEST:
            last -= 1
        return self._known[self._random.randrange(last)][1]

    def _problem(self, name: str, pod: str, at: float, *, namespace: str = "") -> Problem:
        begun = self._began + at
        return Problem(namespace or self._namespace, name, f"{self._tag}-{pod}", begun=begun)
