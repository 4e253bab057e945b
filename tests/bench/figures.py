"""What the bench yields: figures, their limits, and the file that keeps them until the next run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure may be at most, or has to be at least."""

    kind: Literal["at least", "at most"]
    value: float

    def holds(self, value: float) -> bool:
        return value >= self.value if self.kind == "at least" else value <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.kind == 'at least' else '<='} {self.value:g}"


def at_least(value: float) -> Limit:
    return Limit("at least", value)


def at_most(value: float) -> Limit:
    return Limit("at most", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured. Its name is the same in every run; runs are compared by it."""

    name: str
    value: float
    how: str
    """What was divided by what, or counted."""
    unit: str = ""
    """Empty of a ratio."""
    limit: Limit | None = None
    counted: bool = False
    """Calls or objects were counted: the machine's mood does not show, and the limit holds in a short run, too."""
    beside: Mapping[str, float] = field(default_factory=dict)
    """What the figure was made of, with units in the names."""

    @property
    def holds(self) -> bool:
        return self.limit is None or self.limit.holds(self.value)


class Results:
    """The figures of the last runs, in a file: of each figure the latest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def last(self, figure: Figure) -> float | None:
        """What it was the last time that it was measured."""
        found = self._last.get(figure.name)
        return None if found is None else float(found["value"])

    def keep(self, figures: Iterable[Figure], environment: Mapping[str, Any]) -> None:
        """Write them over what the file has of them; of what was not measured this time the last stays."""
        now = {figure.name: {**asdict(figure), "environment": environment} for figure in figures}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({**self._last, **now}, indent=2))

    def table(self, figures: Iterable[Figure]) -> Table:
        """The figures beside their limits and the last run's."""
        table = Table("figure", "value", "limit", "last run", "", title="make bench")
        for figure in figures:
            before = self.last(figure)
            verdict = "" if figure.limit is None else "ok" if figure.holds else "MISSED"
            table.add_row(
                figure.name,
                f"{figure.value:.3g} {figure.unit}".rstrip(),
                "" if figure.limit is None else str(figure.limit),
                "-" if before is None else f"{before:.3g}",
                verdict,
            )
            for name, value in figure.beside.items():
                table.add_row(
                    f"   {name}", f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}", "", "", ""
                )
        return table
