"""Prometheus' text format, as far as counters, gauges and histograms go: series → value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_SERIES = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Series(NamedTuple):
    """A metric's name with its labels in order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def fits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it is of this metric and has these labels, whatever others it has."""
        return self.name == name and (not labels or labels.items() <= dict(self.labels).items())


Page = Mapping[Series, float]


class Reader:
    """Reads pages of one target again and again: a series is taken apart once, and kept."""

    def __init__(self) -> None:
        self._known: dict[str, Series] = {}

    def read(self, text: str) -> dict[Series, float]:
        """The page's samples. A line that is none is left out."""
        page = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            head, _, value = line.rpartition(" ")
            series = self._known.get(head)
            if series is None:
                match = _SERIES.match(line)
                if match is None:
                    continue
                labels = tuple(sorted((key, found) for key, found in _LABEL.findall(match[2] or "")))
                series = self._known[head] = Series(match[1], labels)
            page[series] = float(value)
        return page


def value(page: Page, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of a metric's samples that have these labels; 0 where there is none."""
    return sum(found for series, found in page.items() if series.fits(name, labels or {}))
