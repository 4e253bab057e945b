"""What happened between two expositions of one process: how its counters grew, where its gauges went.

A counter that went back has begun anew with its process; what it says afterwards is what it has grown since then, as
Prometheus reckons. Where `process_start_time_seconds` tells that the process is another one, that holds for each of
its counters, also for those that have passed the old value meanwhile.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from chaos.delta.quantiles import histogram_quantile
from chaos.exposition import Exposition, Series

QUANTILES = (0.5, 0.95, 0.99)
BORN = "process_start_time_seconds"
_COUNTED = ("counter", "histogram", "summary")


@dataclass(frozen=True, slots=True)
class Growth:
    """A counter."""

    series: Series
    before: float
    after: float
    grown: float
    fell: bool
    """It was lower afterwards."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value that may go either way; None where it was not there."""

    series: Series
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A histogram's observations between the two."""

    series: Series
    """The family with its labels, without `le`."""
    count: float
    total: float
    buckets: Mapping[float, float]
    """Upper bound → how many of them are at or below it."""
    fell: bool

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    def quantile(self, share: float) -> float:
        return histogram_quantile(share, self.buckets)


@dataclass(frozen=True, slots=True)
class Delta:
    """All of it."""

    seconds: float | None
    """Between the two; None where nothing tells."""
    counters: tuple[Growth, ...]
    gauges: tuple[Gauge, ...]
    histograms: tuple[Observed, ...]
    another: bool
    """The second is of another process than the first."""

    @property
    def families(self) -> int:
        rows: tuple[Growth | Gauge | Observed, ...] = (*self.counters, *self.gauges, *self.histograms)
        return len({row.series.name for row in rows})

    @property
    def fallen(self) -> tuple[Series, ...]:
        """The counters that went back."""
        rows: tuple[Growth | Observed, ...] = (*self.counters, *self.histograms)
        return tuple(row.series for row in rows if row.fell)

    @property
    def restarted(self) -> bool:
        return self.another or bool(self.fallen)

    def grown(self, name: str, **labels: str) -> float:
        """The growth of all of a counter's series that have these labels; 0 where there is none."""
        return sum(row.grown for row in self.counters if row.series.fits(name, labels))


def compare(before: Exposition, after: Exposition, *, seconds: float | None = None) -> Delta:
    """The difference of two pages of one process; `seconds` lie between them."""
    born = [page.page.get(Series(BORN)) for page in (before, after)]
    another = None not in born and born[0] != born[1]
    parts = _parts({**before.kinds, **after.kinds})
    kinds: dict[str, list[Series]] = defaultdict(list)
    for series in _in_order(before.page, after.page):
        kinds[parts(series.name)[1]].append(series)

    def growth(series: Series) -> Growth:
        old, new = before.page.get(series, 0.0), after.page.get(series, 0.0)
        fell = new < old
        return Growth(series, old, new, new if fell or another else new - old, fell)

    return Delta(
        seconds=seconds if seconds is not None and seconds > 0 else None,
        counters=tuple(growth(series) for series in kinds["counter"]),
        gauges=tuple(
            Gauge(series, before.page.get(series), after.page.get(series)) for series in kinds["gauge"]
        ),
        histograms=_histograms([growth(series) for series in kinds["histogram"]]),
        another=another,
    )


def _in_order(before: Iterable[Series], after: Iterable[Series]) -> list[Series]:
    return sorted({*before, *after})


def _parts(kinds: Mapping[str, str]) -> Callable[[str], tuple[str, str]]:
    """A function from a sample's name to its family and how it is to be read: counter, gauge or histogram."""

    def of(name: str) -> tuple[str, str]:
        for ending in ("_bucket", "_sum", "_count", "_total"):
            family = name.removesuffix(ending)
            if family != name and kinds.get(family) in _COUNTED:
                return family, "histogram" if kinds[family] == "histogram" else "counter"
        return name, "counter" if kinds.get(name) == "counter" else "gauge"

    return of


def _histograms(rows: Iterable[Growth]) -> tuple[Observed, ...]:
    counts: dict[Series, float] = {}
    sums: dict[Series, float] = {}
    buckets: dict[Series, dict[float, float]] = defaultdict(dict)
    fallen: set[Series] = set()
    for row in rows:
        name = row.series.name
        family, _, part = name.rpartition("_")
        key = Series(family, row.series.without("le").labels)
        if part == "bucket":
            buckets[key][float(dict(row.series.labels)["le"])] = row.grown
        elif part == "count":
            counts[key] = row.grown
        elif part == "sum":
            sums[key] = row.grown
        if row.fell and part != "sum":  # a sum may fall by itself, where what is observed is negative
            fallen.add(key)
    return tuple(
        Observed(key, counts[key], sums.get(key, 0.0), buckets[key], key in fallen) for key in sorted(counts)
    )
