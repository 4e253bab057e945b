"""Counters and histograms for what happens with every webhook.

Those of `prometheus_client` take a lock for each value that they change, since any thread may; together that was a
tenth of what a webhook costs. These are changed by one thread only, that of the event loop: counting is an addition,
and what was counted becomes samples when somebody scrapes.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar


class Tally:
    """A counter, of one combination of label values."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: float = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count `amount` more, which is never negative."""
        self.count += amount


class Spread:
    """A histogram, of one combination of label values."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ones of the buckets, each inclusive, ascending; beyond the last is one more bucket."""
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Take note of one value; `exemplar` names its trace, and the latest of each bucket is shown."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if exemplar:
            self.exemplars[bucket] = Exemplar(dict(exemplar), value, time.time())


One = TypeVar("One", Tally, Spread)


class Instruments(Collector, Generic[One]):
    """A metric: one instrument for each combination of label values, made when it is first asked for."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: Sequence[str]) -> None:
        """It is in the registry from now on."""
        self.label_names: Final = tuple(labels)
        self._name = name
        self._text = text
        self._made: dict[tuple[str, ...], One] = {}
        registry.register(self)

    def labels(self, *values: str) -> One:
        """The instrument for these label values, in the order of the labels' names."""
        made = self._made.get(values)
        if made is None:
            made = self._made[values] = self._one()
        return made

    def describe(self) -> Iterable[Metric]:
        """The metric without samples, by which the registry knows its names."""
        yield self._metric({})

    def collect(self) -> Iterable[Metric]:
        """The metric as of now."""
        yield self._metric(dict(self._made))

    @abstractmethod
    def _one(self) -> One:
        """A new instrument."""

    @abstractmethod
    def _metric(self, made: Mapping[tuple[str, ...], One]) -> Metric:
        """The samples of these instruments."""


class Tallies(Instruments[Tally]):
    """A counter; its name ends in `_total`."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(registry, name, text, labels)

    def _one(self) -> Tally:
        return Tally()

    def _metric(self, made: Mapping[tuple[str, ...], Tally]) -> Metric:
        family = CounterMetricFamily(self._name, self._text, labels=self.label_names)
        for values, tally in made.items():
            family.add_metric(values, tally.count)
        return family


class Spreads(Instruments[Spread]):
    """A histogram."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        bounds: Iterable[float],
        labels: Sequence[str] = (),
    ) -> None:
        """`bounds` as in `Spread`."""
        self._bounds = tuple(bounds)
        self._names = [*map(str, self._bounds), "+Inf"]
        super().__init__(registry, name, text, labels)

    def _one(self) -> Spread:
        return Spread(self._bounds)

    def _metric(self, made: Mapping[tuple[str, ...], Spread]) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self.label_names)
        for values, spread in made.items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for number, (name, count) in enumerate(zip(self._names, accumulate(spread.counts), strict=True)):
                exemplar = spread.exemplars.get(number)
                buckets.append((name, count) if exemplar is None else (name, count, exemplar))
            family.add_metric(values, buckets, spread.total)
        return family
