"""What each target came to: met, missed, or not measured, and then why not and where it is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chaos.load.proof.figures import Figure, round_figure


class Outcome(StrEnum):
    """A target's end."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"
    SHOWN = "shown"
    """There is a figure, and no limit for it in this campaign."""


_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "≤": operator.le,
    "<": operator.lt,
    "≥": operator.ge,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """What is allowed."""

    sign: str
    limit: Figure

    def allows(self, value: float) -> bool:
        assert self.limit.value is not None
        return _SIGNS[self.sign](value, self.limit.value)

    def __str__(self) -> str:
        return f"{self.sign} {round_figure(self.limit)}"


@dataclass(frozen=True, slots=True)
class Result:
    """One target in one campaign."""

    key: str
    group: str
    title: str
    bound: Bound | None
    measured: Figure
    outcome: Outcome
    note: str = ""
    """What stands behind the figure; where nothing was measured, why not and which campaign does."""

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "group": self.group,
            "title": self.title,
            "measured": self.measured.value,
            "unit": self.measured.unit.value,
            "limit": None
            if self.bound is None
            else {"sign": self.bound.sign, "value": self.bound.limit.value},
            "outcome": self.outcome.value,
            "note": self.note,
        }

    @property
    def line(self) -> str:
        """For a terminal."""
        signs = {Outcome.MET: "✓", Outcome.MISSED: "✗", Outcome.NOT_MEASURED: "–", Outcome.SHOWN: "·"}
        limit = "" if self.bound is None else f" ({self.bound})"
        said = self.note if self.outcome is Outcome.NOT_MEASURED else f"{self.measured}{limit}"
        return f"{signs[self.outcome]} {self.title}: {said}"


@dataclass(frozen=True, slots=True)
class Target:
    """A promise with its limit, before it is measured."""

    key: str
    group: str
    title: str
    bound: Bound | None = None
    by: str = ""
    """The campaigns that measure it."""

    def judge(self, measured: Figure, note: str = "") -> Result:
        """Met or missed; shown where there is no limit. A figure that is missing is none of these: see `missing`."""
        if self.bound is None:
            return self._result(measured, Outcome.SHOWN, note)
        assert measured.value is not None
        return self._result(
            measured, Outcome.MET if self.bound.allows(measured.value) else Outcome.MISSED, note
        )

    def show(self, measured: Figure, note: str) -> Result:
        """The figure without a judgement; `note` says why this campaign does not judge it."""
        return self._result(measured, Outcome.SHOWN, note)

    def missing(self, why: str) -> Result:
        """Not measured; says why, and which campaign measures it."""
        by = f"; measured by {self.by}" if self.by else ""
        return self._result(Figure(None), Outcome.NOT_MEASURED, f"{why}{by}")

    def _result(self, measured: Figure, outcome: Outcome, note: str) -> Result:
        return Result(self.key, self.group, self.title, self.bound, measured, outcome, note)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All targets of one campaign, and what was found wrong with it besides."""

    results: Sequence[Result]
    findings: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Nothing is missed or found wrong, and the audit, with which every campaign ends, was done and is exact."""
        audited = any(one.key == "audit" and one.outcome is Outcome.MET for one in self.results)
        return audited and not self.of(Outcome.MISSED) and not self.findings

    @property
    def lines(self) -> list[str]:
        """One for each finding and each target, for a terminal."""
        return [*(f"FAIL {one}" for one in self.findings), *(one.line for one in self.results)]

    def of(self, outcome: Outcome) -> list[Result]:
        return [one for one in self.results if one.outcome is outcome]
