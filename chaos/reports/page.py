"""The report as one HTML page that needs nothing else: verdicts, criteria, pictures over time, findings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chaos.reports import plots, summary
from chaos.verdicts import Verdict

_STYLE = """
:root { color-scheme: light dark; --ink: #1d232a; --quiet: #5b6570; --paper: #fff; --edge: #dde2e7;
        --good: #2f7a3e; --bad: #b3261e; --shade: #f6d9a855; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --quiet: #9aa5b1; --paper: #14181d; --edge: #333b44;
          --good: #79c98b; --bad: #ff8a80; --shade: #6b4e1a66; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid var(--edge);
     padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--edge);
         vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } td.figure { white-space: nowrap; }
.passed { color: var(--good); font-weight: 600; } .failed { color: var(--bad); font-weight: 600; }
.not-run { color: var(--quiet); font-weight: 600; }
.lead { font-size: 1.1rem; } .quiet { color: var(--quiet); }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; margin-top: 1rem; }
svg .title { fill: var(--ink); font-weight: 600; } svg .tick, svg .name { fill: var(--quiet); font-size: 11px; }
svg .grid { stroke: var(--edge); } svg .line { fill: none; stroke-width: 1.8; }
svg .injection { fill: var(--shade); }
svg .label { font-weight: 600; }
li { overflow-wrap: anywhere; }
"""


def render(verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    rows = "".join(_row(one) for one in verdicts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsals: {escape(summary.outcome(verdicts))}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Rehearsals</h1>
<p class="lead"><strong>{escape(summary.outcome(verdicts))}.</strong></p>
<p class="quiet">{escape(summary.bound(verdicts))}</p>
<table>
<thead><tr><th>#</th><th>scenario</th><th>outcome</th><th>criteria</th><th>times</th><th>seconds</th></tr></thead>
<tbody>{rows}</tbody>
</table>
{"".join(_scenario(one) for one in verdicts)}
</body>
</html>
"""


def _row(verdict: Verdict) -> str:
    passed = sum(one.passed for one in verdict.criteria)
    return (
        f'<tr><td>{verdict.number}</td><td><a href="#{verdict.scenario}">{escape(verdict.title)}</a></td>'
        f"<td>{_outcome(verdict)}</td><td>{passed} of {len(verdict.criteria)}</td>"
        f"<td>{'full' if verdict.full else 'shortened'}</td><td>{verdict.seconds:.0f}</td></tr>\n"
    )


def _outcome(verdict: Verdict) -> str:
    return f'<span class="{verdict.outcome.replace(" ", "-")}">{verdict.outcome}</span>'


def _scenario(verdict: Verdict) -> str:
    parts = [
        f'<h2 id="{verdict.scenario}">{verdict.number} {escape(verdict.title)}: {_outcome(verdict)}</h2>',
        f"<p>{escape(verdict.proves)}</p>",
    ]
    if verdict.not_run:
        parts.append(f'<p class="not-run">Not run: {escape(verdict.not_run)}</p>')
    if verdict.error:
        parts.append(f'<p class="failed">Broken off: {escape(verdict.error)}</p>')
    parts.append(plots.svg(verdict))
    if verdict.criteria:
        rows = "".join(
            f'<tr><td class="{"passed" if one.passed else "failed"}">{"✓" if one.passed else "✗"}</td>'
            f'<td>{escape(one.what)}</td><td class="figure">{escape(summary.figure(one))}</td>'
            f'<td class="figure">{escape(summary.limit(one))}</td></tr>\n'
            for one in verdict.criteria
        )
        parts.append(
            "<table><thead><tr><th></th><th>what must be seen</th><th>measured</th><th>limit</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    if verdict.findings:
        items = "".join(f"<li>{escape(one)}</li>" for one in verdict.findings)
        parts.append(f"<p>Noticed:</p><ul>{items}</ul>")
    return "\n".join(parts)
