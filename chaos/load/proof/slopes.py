"""Whether something grows: the slope of a series and its significance, by methods that outliers do not impress.

The slope is that of Theil (1950) and Sen (1968), the median of the slopes between all pairs of points: up to 29 % of
them may be anything. Whether it rises at all is the test of Mann (1945) and Kendall (1975), with the correction for
ties. Neither asks for a distribution. Points close in time depend on each other (a garbage collector's saw-tooth does),
so both look at medians over equal stretches of time instead of single samples. Even so the test alone would call a
drift of a few bytes significant once there are enough points: something grows where the slope is significant *and*
matters, which is for the caller to say (`Trend.grows`).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]

STRETCHES = 60
"""Into so many stretches of equal length the time is cut; each is one point."""
FEWEST = 20
"""Stretches with something in them, without which nothing is said."""
SIGNIFICANCE = 0.01
"""The probability of calling rising what is not, as far as the stretches are independent."""
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Trend:
    """What a series does over time."""

    level: float
    """Its median."""
    an_hour: float
    """The slope: growth in an hour, negative where it falls."""
    chance: float
    """How probable so much of a rise would be if there were none (one-sided)."""
    seconds: float
    """Over how long it was looked at."""
    begins: tuple[float, float]
    """Where the line of the slope begins, for a picture."""
    ends: tuple[float, float]

    @property
    def share(self) -> float:
        """Growth in an hour as a share of the level; of no level at all it is infinite, or nothing."""
        if not self.level:
            return math.copysign(math.inf, self.an_hour) if self.an_hour else 0.0
        return self.an_hour / self.level

    def grows(self, allowed: float) -> bool:
        """Whether it rises by more than `allowed` in an hour, and that is no accident."""
        return self.an_hour > allowed and self.chance < SIGNIFICANCE


def trend(points: Points) -> Trend | None:
    """The trend of (seconds, value) in order of time; None where there is too little to say anything."""
    merged = stretches(points)
    if len(merged) < FEWEST:
        return None
    slope = theil_sen(merged)
    middle = statistics.median(y - slope * x for x, y in merged)
    first, last = merged[0][0], merged[-1][0]
    return Trend(
        level=statistics.median(y for _, y in merged),
        an_hour=slope * HOUR,
        chance=mann_kendall([y for _, y in merged]),
        seconds=points[-1][0] - points[0][0],
        begins=(first, middle + slope * first),
        ends=(last, middle + slope * last),
    )


def stretches(points: Points, number: int = STRETCHES) -> list[tuple[float, float]]:
    """The median of time and of value in each of so many equal stretches, where it has any point."""
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return list(points[:1])
    begin, length = points[0][0], points[-1][0] - points[0][0]
    parts: list[list[tuple[float, float]]] = [[] for _ in range(number)]
    for at, value in points:
        parts[min(number - 1, int((at - begin) / length * number))].append((at, value))
    return [
        (statistics.median(at for at, _ in part), statistics.median(value for _, value in part))
        for part in parts
        if part
    ]


def theil_sen(points: Points) -> float:
    """The median slope between any two points, a second. Raises `ValueError` without two at different times."""
    slopes = [
        (y2 - y1) / (x2 - x1)
        for place, (x1, y1) in enumerate(points)
        for x2, y2 in points[place + 1 :]
        if x2 != x1
    ]
    if not slopes:
        raise ValueError("a slope needs two points at different times")
    return statistics.median(slopes)


def mann_kendall(values: Sequence[float]) -> float:
    """The probability (one-sided, normal approximation with ties) of so much of a rise where there is none."""
    number = len(values)
    rises = sum(
        (later > earlier) - (later < earlier)
        for place, earlier in enumerate(values)
        for later in values[place + 1 :]
    )
    spread = number * (number - 1) * (2 * number + 5)
    spread -= sum(tied * (tied - 1) * (2 * tied + 5) for tied in Counter(values).values())
    if spread <= 0:
        return 1.0
    score = (rises - (rises > 0) + (rises < 0)) / math.sqrt(spread / 18)
    return 0.5 * math.erfc(score / math.sqrt(2))
