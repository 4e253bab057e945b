"""Prometheus' text format, as far as counters, gauges and histograms go: series → value.

OpenMetrics is near enough to be read, too: a counter's type is said without its `_total`, exemplars stand behind the
value, and times are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_SERIES = re.compile(
    r"([a-zA-Z_:][\w:]*)(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]+(\S+)(?:[ \t]+[\d.+-]+)?(?:[ \t]+#.*)?$"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Series(NamedTuple):
    """A metric's name with its labels in order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    def fits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it is of this metric and has these labels, whatever others it has."""
        return self.name == name and (not labels or labels.items() <= dict(self.labels).items())

    def without(self, label: str) -> Series:
        """The same without one of its labels."""
        return Series(self.name, tuple(one for one in self.labels if one[0] != label))


Page = Mapping[Series, float]


class NotAnExposition(ValueError):
    """A text that is none; the message says in which line it shows."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """A whole page with what it says of its families."""

    page: dict[Series, float] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Family → `counter`, `gauge`, `histogram`, `summary`; what has no line of its type is missing."""


def parse(text: str) -> Exposition:
    """The page, read strictly. Raises `NotAnExposition` for a line that is none, and where there is no sample."""
    found = Exposition()
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if line.startswith("#"):
            words = line.split()
            if words[1:2] == ["TYPE"] and len(words) == 4:
                found.kinds[words[2]] = words[3]
            continue
        if not line:
            continue
        match = _SERIES.match(line)
        try:
            value = float(match[3]) if match else None
        except ValueError:
            value = None
        if match is None or value is None:
            raise NotAnExposition(f"line {number} is no sample: {line[:60]!r}")
        found.page[_series(match)] = value
    if not found.page:
        raise NotAnExposition("there is no sample in it")
    return found


def series(text: str) -> Series:
    """The series that a text such as `up{job="a"}` names. Raises `NotAnExposition`."""
    match = _SERIES.match(f"{text} 0")
    if match is None:
        raise NotAnExposition(f"no name of a series: {text[:60]!r}")
    return _series(match)


def _series(match: re.Match[str]) -> Series:
    return Series(match[1], tuple(sorted((key, found) for key, found in _LABEL.findall(match[2] or ""))))


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
                series = _series(match)
                if match[3] == value:
                    self._known[head] = series
                value = match[3]
            page[series] = float(value)
        return page


def value(page: Page, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of a metric's samples that have these labels; 0 where there is none."""
    return sum(found for series, found in page.items() if series.fits(name, labels or {}))
