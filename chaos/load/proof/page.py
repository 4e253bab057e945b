"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from itertools import groupby

from chaos.load.proof.document import Document, Section, Table
from chaos.load.proof.figures import NONE, Figure, Unit
from chaos.load.proof.setting import commit
from chaos.load.proof.text import length
from chaos.load.proof.verdict import Outcome, Result
from chaos.reports.style import STYLE

_MORE = """
body { max-width: 1000px; }
header { border-bottom: 1px solid var(--edge); padding-bottom: 1.2rem; }
.eyebrow { color: var(--quiet); letter-spacing: .06em; text-transform: uppercase; font-size: .8rem; margin: 0; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .2rem 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; } h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
nav { font-size: .9rem; margin-top: .8rem; } nav a { display: inline-block; margin-right: 1rem; }
a { color: var(--c0); text-decoration: none; } a:hover { text-decoration: underline; }
.banner { border-left: 4px solid var(--good); background: var(--raised); padding: .8rem 1rem; margin: 1.2rem 0;
          border-radius: 0 6px 6px 0; }
.banner.missed { border-color: var(--bad); } .banner p { color: var(--ink); margin: .2rem 0; }
.banner.met .lead { color: var(--good); } .banner.missed .lead { color: var(--bad); } figure { margin: 0; }
.banner .lead { font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.tile { background: var(--raised); border-radius: 6px; padding: .7rem .8rem; }
.tile b { display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile.met, .tile.shown { color: var(--ink); } .tile.missed { box-shadow: inset 3px 0 var(--bad); }
.tile span { color: var(--quiet); font-size: .82rem; line-height: 1.3; display: block; }
.pill { display: inline-block; border-radius: 99px; padding: 0 .6em; font-size: .8rem; font-weight: 600;
        white-space: nowrap; border: 1px solid currentColor; }
.met { color: var(--good); } .missed { color: var(--bad); } .not-measured, .shown { color: var(--quiet); }
tr.group th { padding-top: 1.1rem; color: var(--ink); border-bottom-color: var(--quiet); }
td.figure, th.figure { text-align: right; white-space: nowrap; } td.strong { font-weight: 600; }
.note { display: block; color: var(--quiet); font-size: .82rem; line-height: 1.35; }
.targets td:first-child { width: 7.5rem; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 0 2.5rem; }
.wide { grid-column: 1 / -1; } .remark { color: var(--quiet); font-size: .85rem; max-width: 46rem; }
td { overflow-wrap: anywhere; } details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 520px) { .tables { grid-template-columns: 1fr; } }
@media print { body { max-width: none; } nav { display: none; } section { break-inside: avoid-page; } }
"""
LONG = 14
"""Tables of more rows are folded."""


def render(document: Document) -> str:
    """The whole page."""
    facts = document.facts
    links = "".join(f'<a href="#{one.key}">{escape(one.title)}</a>' for one in document.sections)
    tone = "met" if document.verdict.passed else "missed"
    tiles = "".join(
        f'<div class="tile {_look(one.outcome)}"><b>{escape(str(one.figure))}</b><span>{escape(one.label)}</span></div>'
        for one in document.tiles
        if str(one.figure) != NONE
    )
    rest = "".join(f"<p>{escape(one)}</p>" for one in document.summary)
    about = f"commit {commit(facts)} · version {facts.version or 'unknown'} · {length(facts.scale)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Load: {escape(facts.name)}: {escape(document.headline)}</title>
<style>{STYLE}{_MORE}</style>
</head>
<body>
<header>
<p class="eyebrow">Load campaign</p>
<h1>{escape(facts.name.replace("-", " ").capitalize())}</h1>
{f"<p>{escape(facts.title)}</p>" if facts.title else ""}
<p class="quiet">{escape(about)} · lasted {escape(str(Figure(facts.ended - facts.started, Unit.SECONDS)))}</p>
<nav><a href="#targets">Targets</a>{links}</nav>
</header>
<div class="banner {tone}"><p class="lead">{escape(document.headline)}.</p>{rest}</div>
<div class="tiles">{tiles}</div>
<section id="targets"><h2>Targets</h2>
<table class="targets">
<thead><tr><th></th><th>target</th><th class="figure">measured</th><th class="figure">limit</th></tr></thead>
<tbody>{"".join(_targets(document))}</tbody>
</table></section>
{"".join(_section(one) for one in document.sections)}
</body>
</html>
"""


def _targets(document: Document) -> Iterable[str]:
    for group, results in groupby(document.results, key=lambda one: one.group):
        yield f'<tr class="group"><th colspan="4">{escape(group.capitalize())}</th></tr>\n'
        yield from (_target(one) for one in results)


def _target(one: Result) -> str:
    look = _look(one.outcome)
    strong = f" strong {look}" if one.outcome in (Outcome.MET, Outcome.MISSED) else ""
    limit = "" if one.bound is None else str(one.bound)
    note = f'<span class="note">{escape(one.note)}</span>' if one.note else ""
    title = escape(one.title[:1].upper() + one.title[1:])
    return (
        f'<tr><td><span class="pill {look}">{one.outcome.value}</span></td><td>{title}{note}</td>'
        f'<td class="figure{strong}">{escape(str(one.measured))}</td><td class="figure">{escape(limit)}</td></tr>\n'
    )


def _look(outcome: Outcome) -> str:
    """The class of an outcome."""
    return outcome.value.replace(" ", "-")


def _section(section: Section) -> str:
    parts = [f'<section id="{section.key}"><h2>{escape(section.title)}</h2>']
    parts += [f"<p>{escape(one)}</p>" for one in section.sentences]
    parts += [f"<figure>{one.svg}</figure>" if one.svg else "" for one in section.pictures]
    parts.append(f'<div class="tables">{"".join(_table(one) for one in section.tables)}</div>')
    if section.remark:
        parts.append(f'<p class="remark">{_marked(section.remark)}</p>')
    return "\n".join([*parts, "</section>\n"])


def _table(table: Table) -> str:
    figures = table.numeric
    head = "".join(
        f"<th{_right(figure)}>{escape(column)}</th>"
        for column, figure in zip(table.columns, figures, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_right(figure)}>{escape(str(cell))}</td>" for cell, figure in zip(row, figures, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    wide = " wide" if table.wide or len(table.columns) > 4 else ""
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    if len(table.rows) > LONG:
        return f'<details class="wide"><summary>{escape(table.title)}</summary>{inner}</details>'
    return f'<div class="block{wide}"><h3>{escape(table.title)}</h3>{inner}</div>'


def _right(figure: bool) -> str:  # noqa: FBT001 - it is what zip gives
    return ' class="figure"' if figure else ""


def _marked(text: str) -> str:
    """Markdown's emphasis and code, as HTML."""
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", found)
