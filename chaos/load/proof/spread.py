"""Quantiles of what was measured one by one, and how sure a median is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaos.reports.confidence import upper_bound

FEWEST = {0.5: 2, 0.95: 20, 0.99: 100}
"""Share → how many values it takes to speak of that quantile at all."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values, in order of size."""

    values: Sequence[float]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        return cls(sorted(values))

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def most(self) -> float | None:
        return self.values[-1] if self.values else None

    def quantile(self, share: float) -> float | None:
        """The smallest value that `share` of them do not exceed; None where there are too few to say."""
        if self.count < FEWEST.get(share, 1):
            return None
        return self.values[max(0, math.ceil(share * self.count - 1e-9) - 1)]

    def median_within(self) -> tuple[float, float] | None:
        """Bounds of the median with 95 % confidence, from the ranks alone; None where there are fewer than 20."""
        if self.count < 20:
            return None
        half = 1.96 * math.sqrt(self.count) / 2
        low = max(0, math.floor(self.count / 2 - half) - 1)
        high = min(self.count - 1, math.ceil(self.count / 2 + half))
        return self.values[low], self.values[high]


def share(part: float, whole: float) -> float | None:
    """None where there is nothing to have a share of."""
    return part / whole if whole else None


def at_worst(failures: int, trials: int) -> float:
    """The share of failures that the truth is below, with 95 % confidence; rounded up to a hundredth of a percent."""
    return math.ceil(upper_bound(failures, trials) * 10_000) / 10_000
