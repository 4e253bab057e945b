"""What both reports for people say first: the outcome, what stands behind it, and what was not played."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.reports.confidence import upper_bound
from chaos.verdicts import Criterion, Verdict

ACCEPTED, LOST = "alerts that were accepted", "accepted and lost"


def outcome(verdicts: Sequence[Verdict]) -> str:
    """One sentence on all of them."""
    played = [verdict for verdict in verdicts if not verdict.not_run]
    passed = sum(verdict.outcome == "passed" for verdict in played)
    said = f"{passed} of {len(played)} scenarios passed"
    if away := len(verdicts) - len(played):
        said += f"; {away} NOT RUN"
    return said


def bound(verdicts: Sequence[Verdict]) -> str:
    """What the number of alerts that were sent allows to say; empty where none were."""
    accepted, lost = total(verdicts, ACCEPTED), total(verdicts, LOST)
    if not accepted:
        return ""
    share = upper_bound(lost, accepted)
    return (
        f"{accepted} alerts were accepted and {lost} lost. If each alert were a draw of its own, the share that is "
        f"lost under these failures would be below {share:.2%} with 95 % confidence (Clopper and Pearson)."
    )


def total(verdicts: Sequence[Verdict], what: str) -> int:
    """The sum of a criterion's figures."""
    return round(
        sum(one.measured or 0 for verdict in verdicts for one in verdict.criteria if one.what == what)
    )


def figure(criterion: Criterion) -> str:
    """What was measured, with its unit, for people."""
    if criterion.measured is None:
        return "never"
    if str(criterion.limit) == "= 1" and criterion.measured in (0, 1) and not criterion.unit:
        return "yes" if criterion.measured else "no"
    return f"{criterion.measured:g}{criterion.unit and ' ' + criterion.unit}"


def limit(criterion: Criterion) -> str:
    """What is allowed, for people."""
    if figure(criterion) in ("yes", "no"):
        return "yes"
    return f"{criterion.limit}{criterion.unit and ' ' + criterion.unit}"
