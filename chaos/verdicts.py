"""What a rehearsal ends with: criteria, each with what was measured and what is allowed, and the verdict over them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Figure = float | None


@dataclass(frozen=True, slots=True)
class Limit:
    """What is allowed; the bounds that are not None hold together."""

    at_least: float | None = None
    at_most: float | None = None
    exactly: float | None = None

    def allows(self, measured: Figure) -> bool:
        """Whether the figure is within; one that could not be had never is."""
        if measured is None or math.isnan(measured):
            return False
        return (
            (self.at_least is None or measured >= self.at_least)
            and (self.at_most is None or measured <= self.at_most)
            and (self.exactly is None or measured == self.exactly)
        )

    def __str__(self) -> str:
        parts = [
            f"{sign} {bound:g}"
            for sign, bound in (("≥", self.at_least), ("≤", self.at_most), ("=", self.exactly))
            if bound is not None
        ]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that must be seen."""

    what: str
    measured: Figure
    """None where there is nothing to measure, because it never happened."""
    limit: Limit
    unit: str = ""

    @property
    def passed(self) -> bool:
        return self.limit.allows(self.measured)

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "measured": self.measured,
            "limit": str(self.limit),
            "unit": self.unit,
            "pass": self.passed,
        }


Outcome = Literal["passed", "failed", "not run"]


@dataclass(slots=True)
class Span:
    """A time in which something was done or awaited, in seconds of the rehearsal's clock."""

    name: str
    kind: Literal["phase", "injection"]
    begin: float
    end: float | None = None


@dataclass(slots=True)
class Verdict:
    """One scenario's end."""

    scenario: str
    number: int
    title: str
    proves: str
    full: bool
    """At the original times, not the shortened ones."""
    criteria: list[Criterion] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What was noticed and breaks nothing."""
    spans: list[Span] = field(default_factory=list)
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """What the plots show: name → points."""
    error: str = ""
    """Why it could not be played to its end."""
    not_run: str = ""
    """Why it was not played at all."""
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        if self.not_run:
            return "not run"
        good = self.criteria and all(one.passed for one in self.criteria)
        return "passed" if good and not self.error else "failed"

    @property
    def failures(self) -> list[Criterion]:
        return [one for one in self.criteria if not one.passed]

    def to_json(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "number": self.number,
            "title": self.title,
            "proves": self.proves,
            "times": "full" if self.full else "shortened",
            "outcome": self.outcome,
            "seconds": round(self.seconds, 1),
            "criteria": [one.to_json() for one in self.criteria],
            "findings": self.findings,
            "error": self.error,
            "notRun": self.not_run,
            "spans": [dataclasses.asdict(span) for span in self.spans],
            "series": self.series,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The opposite. Raises `LookupError` or `ValueError` for what is none."""
        found = cls(
            scenario=data["scenario"],
            number=data["number"],
            title=data["title"],
            proves=data["proves"],
            full=data["times"] == "full",
            findings=list(data["findings"]),
            error=data["error"],
            not_run=data["notRun"],
            seconds=data["seconds"],
        )
        found.criteria = [
            Criterion(one["what"], one["measured"], read_limit(one["limit"]), one["unit"])
            for one in data["criteria"]
        ]
        found.spans = [Span(**span) for span in data["spans"]]
        found.series = {name: [(at, y) for at, y in points] for name, points in data["series"].items()}
        return found


def read_limit(text: str) -> Limit:
    """The limit that prints as `text`."""
    names = {"≥": "at_least", "≤": "at_most", "=": "exactly"}
    bounds = {}
    for part in text.split(" and "):
        sign, _, bound = part.partition(" ")
        bounds[names[sign]] = float(bound)
    return Limit(**bounds)
