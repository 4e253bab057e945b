"""Series out of samples: what was read when, how much it grew, how fast over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from chaos.load.proof.folder import Sample

Points = list[tuple[float, float]]
Reading = Callable[[Sample], float | None]


def points(samples: Iterable[Sample], read: Reading) -> Points:
    """(time, reading) where there is one."""
    return [(one.at, value) for one in samples if (value := read(one)) is not None]


def of_gateways(name: str) -> Reading:
    """The sum of an attribute over all gateways; None where one of them does not tell it."""

    def read(sample: Sample) -> float | None:
        found: list[float | None] = [None if one is None else getattr(one, name) for one in sample.gateways]
        known = [one for one in found if one is not None]
        return sum(known) if known and len(known) == len(found) else None

    return read


def of_part(part: str, name: str) -> Reading:
    """An attribute of Redis, Kubernetes or the sender."""

    def read(sample: Sample) -> float | None:
        found = getattr(sample, part)
        value: float | None = None if found is None else getattr(found, name)
        return value

    return read


def increase(found: Sequence[tuple[float, float]]) -> float | None:
    """By how much a counter grew; what it says after a fall it has grown since then. None without two readings."""
    if len(found) < 2:
        return None
    return sum(_grown(earlier, later) for (_, earlier), (_, later) in pairwise(found))


def pace(found: Sequence[tuple[float, float]], width: float) -> Points:
    """(time, growth a second) of a counter, over stretches of at least `width` seconds."""
    made: Points = []
    since, grown = found[0][0] if found else 0.0, 0.0
    for (_, earlier), (at, later) in pairwise(found):
        grown += _grown(earlier, later)
        if at - since >= width:
            made.append(((at + since) / 2, grown / (at - since)))
            since, grown = at, 0.0
    return made


def thinned(found: Sequence[tuple[float, float]], number: int = 600) -> Points:
    """Not more than about so many points, for a picture; the last one stays."""
    step = max(1, len(found) // number)
    return [*found[:-1:step], *found[-1:]]


def _grown(earlier: float, later: float) -> float:
    return later if later < earlier else later - earlier
