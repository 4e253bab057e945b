"""The report as Markdown; its pictures are files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.load.proof.document import Cell, Document, Section, Table
from chaos.load.proof.figures import Figure, Unit, round_figure
from chaos.load.proof.setting import commit
from chaos.load.proof.verdict import Outcome, Result

SIGNS = {
    Outcome.MET: "✓ met",
    Outcome.MISSED: "✗ **missed**",
    Outcome.NOT_MEASURED: "not measured",
    Outcome.SHOWN: "shown",
}


def render(document: Document) -> str:
    """The whole text."""
    facts = document.facts
    parts = [
        f"# Load: {facts.name}",
        *([facts.title] if facts.title else []),
        f"**{document.headline}.** {' '.join(document.summary)}",
        f"Commit {commit(facts)}, version {facts.version or 'unknown'}, {length(facts.scale)}.",
        "## Targets",
        "\n".join(_targets(document.results)),
        *(_section(one) for one in document.sections),
    ]
    return "\n\n".join(parts) + "\n"


def length(scale: float) -> str:
    """How long it was, for people."""
    return "not shortened" if scale == 1 else f"shortened to {round_figure(Figure(scale, Unit.SHARE))}"


def _targets(results: Sequence[Result]) -> Iterable[str]:
    yield "| | target | measured | limit | |"
    yield "| --- | --- | --- | --- | --- |"
    for one in results:
        limit = "" if one.bound is None else str(one.bound)
        yield f"| {SIGNS[one.outcome]} | {_cell(one.title)} | {one.measured} | {limit} | {_cell(one.note)} |"


def _section(section: Section) -> str:
    parts = [f"## {section.title}"]
    if section.sentences:
        parts.append(" ".join(section.sentences))
    parts += [f"![{one.label}]({one.key}.svg)" for one in section.pictures]
    parts += [_table(one) for one in section.tables]
    return "\n\n".join([*parts, section.remark]).rstrip()


def _table(table: Table) -> str:
    rows = [
        f"**{table.title}**",
        "",
        f"| {' | '.join(table.columns)} |",
        f"| {' | '.join(_aligned(table))} |",
        *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows),
    ]
    return "\n".join(rows)


def _aligned(table: Table) -> list[str]:
    return ["---:" if figure else "---" for figure in table.numeric]


def _cell(cell: Cell) -> str:
    return " ".join(str(cell).replace("|", "\\|").split())
