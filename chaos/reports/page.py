"""The report as one HTML page that needs nothing else: verdicts, criteria, pictures over time, findings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chaos.reports import course, summary
from chaos.reports.style import STYLE
from chaos.verdicts import Verdict


def render(verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    rows = "".join(_row(one) for one in verdicts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsals: {escape(summary.outcome(verdicts))}</title>
<style>{STYLE}</style>
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
    parts.append(course.svg(verdict))
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
