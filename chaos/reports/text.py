"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.reports import summary
from chaos.verdicts import Verdict


def render(verdicts: Sequence[Verdict]) -> str:
    """The whole document."""
    parts = ["# Rehearsals", f"**{summary.outcome(verdicts)}.** {summary.bound(verdicts)}".strip()]
    rows = [
        "| # | scenario | outcome | criteria | times | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in verdicts:
        passed = sum(criterion.passed for criterion in one.criteria)
        rows.append(
            f"| {one.number} | {one.scenario} | {one.outcome} | {passed} of {len(one.criteria)} "
            f"| {'full' if one.full else 'shortened'} | {one.seconds:.0f} |"
        )
    parts.append("\n".join(rows))
    parts += [_scenario(one) for one in verdicts]
    return "\n\n".join(parts) + "\n"


def _scenario(verdict: Verdict) -> str:
    parts = [f"## {verdict.number} {verdict.title}", f"{verdict.proves} **{verdict.outcome.capitalize()}.**"]
    if verdict.not_run:
        parts.append(f"NOT RUN: {verdict.not_run}")
    if verdict.error:
        parts.append(f"BROKEN OFF: {verdict.error}")
    if verdict.criteria:
        rows = ["| | what must be seen | measured | limit |", "| --- | --- | --- | --- |"]
        rows += [
            f"| {'✓' if one.passed else '✗'} | {one.what} | {summary.figure(one)} | {summary.limit(one)} |"
            for one in verdict.criteria
        ]
        parts.append("\n".join(rows))
    if verdict.findings:
        parts.append("\n".join(["Noticed:", "", *(f"- {' '.join(one.split())}" for one in verdict.findings)]))
    return "\n\n".join(parts)
