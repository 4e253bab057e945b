"""What a report holds before it is Markdown, HTML or JSON: sections of sentences, tables and pictures.

Cells are figures with their units or plain words, so that all three forms show the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.load.proof.figures import Figure
from chaos.load.proof.folder import Facts
from chaos.load.proof.verdict import Outcome, Result, Verdict

Cell = Figure | str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first one of each names it."""

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    wide: bool = False
    """Takes the page's whole width, however few its columns are."""

    @property
    def numeric(self) -> Sequence[bool]:
        """Whether a column has figures only, which then stand below one another."""
        return [
            bool(self.rows) and all(isinstance(row[place], Figure) for row in self.rows)
            for place in range(len(self.columns))
        ]

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {
                column: cell.value if isinstance(cell, Figure) else cell
                for column, cell in zip(self.columns, row, strict=True)
            }
            for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG without a style of its own; `key` names its file."""

    key: str
    label: str
    svg: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    key: str
    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    remark: str = ""
    """How it was measured, for who doubts it."""

    def to_json(self) -> dict[str, Any]:
        return {table.key: table.to_json() for table in self.tables}


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that the summary shows large."""

    label: str
    figure: Figure
    outcome: Outcome = Outcome.SHOWN


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report."""

    facts: Facts
    headline: str
    summary: Sequence[str]
    tiles: Sequence[Tile]
    verdict: Verdict
    sections: Sequence[Section] = field(default_factory=tuple)

    @property
    def results(self) -> Sequence[Result]:
        return self.verdict.results
