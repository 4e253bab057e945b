"""Who was let in: nobody with false credentials, everybody with good ones, and nothing that the policy denies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.load.proof.answers import accepted, told
from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Attempt, Campaign
from chaos.load.proof.spread import at_worst
from chaos.load.proof.verdict import Bound, Result, Target

GROUP = "security"
MIXED = "every campaign with the whole mix"
REFUSED = Target(
    "refused", GROUP, "unauthorised webhooks that were refused", Bound("=", Figure(1.0, Unit.SHARE)), MIXED
)
MISTAKEN = Target(
    "mistaken", GROUP, "authorised webhooks taken for unauthorised", Bound("=", Figure(0)), MIXED
)
DENIED = Target("denied", GROUP, "denied alerts that were let through", Bound("=", Figure(0)), MIXED)


def results(campaign: Campaign) -> list[Result]:
    """The targets of security."""
    targets = (REFUSED, MISTAKEN, DENIED)
    if campaign.attempts is None:
        return [one.missing("requests.jsonl is missing") for one in targets]
    false, good, denied = _apart(campaign.attempts)
    found = []
    if false:
        let_in = sum(map(accepted, false))
        worst = Figure(at_worst(let_in, len(false)), Unit.SHARE)
        note = f"{told(false)}; the share let in is below {worst} with 95 % confidence"
        found.append(REFUSED.judge(Figure(1 - let_in / len(false), Unit.SHARE), note))
    else:
        found.append(REFUSED.missing("no webhook with false credentials was answered"))
    if good or denied:
        mistaken = [one for one in (*good, *denied) if _mistaken(one)]
        note = f"of {len(good) + len(denied):,} answers" + (f" ({told(mistaken)})" if mistaken else "")
        found.append(MISTAKEN.judge(Figure(len(mistaken)), note))
    else:
        found.append(MISTAKEN.missing("no authorised webhook was answered"))
    if denied:
        through = [one for one in denied if _through(one)]
        found.append(DENIED.judge(Figure(len(through)), f"of {len(denied):,} answers to such webhooks"))
    else:
        found.append(DENIED.missing("no webhook that the policy denies was answered"))
    return found


def _apart(attempts: Iterable[Attempt]) -> tuple[list[Attempt], list[Attempt], list[Attempt]]:
    """Those that were answered: with false credentials, with good ones, and of the latter those that are denied."""
    false: list[Attempt] = []
    good: list[Attempt] = []
    denied: list[Attempt] = []
    for one in attempts:
        if one.status:
            (false if one.kind == "tampered" else denied if one.kind == "denied" else good).append(one)
    return false, good, denied


def _mistaken(one: Attempt) -> bool:
    """401, or a 403 that is not the policy's."""
    return one.status == 401 or (one.status == 403 and one.kind != "denied" and one.outcome != "denied")


def _through(one: Attempt) -> bool:
    return accepted(one) and one.outcome != "denied"


def section(campaign: Campaign) -> Section:
    """Who was let in and who was not, as the sender and as the gateways saw it."""
    if campaign.attempts is None:
        return Section("security", "Security", ["Not measured: requests.jsonl is missing."])
    false, good, denied = _apart(campaign.attempts)
    columns = ("who", "answers", "2xx", "401", "403", "429 and 5xx")
    rows = [
        _row("with false credentials", false),
        _row("authorised", good),
        _row("authorised, denied by the policy", denied),
    ]
    tables = [Table("access", "As the sender saw it", columns, rows)]
    checked = list(_checked(campaign))
    if checked:
        tables.append(Table("checked", "As the gateways saw it", ("credentials were", "webhooks"), checked))
    sentence = (
        f"{sum(map(accepted, false)):,} of {len(false):,} webhooks with false credentials were let in; "
        f"{sum(map(_mistaken, (*good, *denied))):,} of {len(good) + len(denied):,} authorised ones were refused as if "
        f"they were not; {sum(map(_through, denied)):,} of {len(denied):,} denied ones passed."
    )
    return Section("security", "Security", [sentence], tables)


def _row(who: str, found: Sequence[Attempt]) -> Sequence[Cell]:
    busy = sum(one.status == 429 or one.status >= 500 for one in found)
    return (
        who,
        Figure(len(found)),
        Figure(sum(map(accepted, found))),
        Figure(sum(one.status == 401 for one in found)),
        Figure(sum(one.status == 403 for one in found)),
        Figure(busy),
    )


def _checked(campaign: Campaign) -> Iterable[Sequence[Cell]]:
    name = "gateway_token_validations_total"
    found = {
        dict(row.series.labels).get("result", "")
        for delta in campaign.deltas or ()
        for row in delta.counters
        if row.series.name == name and row.grown
    }
    for one in sorted(found):
        yield (one.replace("_", " "), Figure(campaign.grown(name, result=one)))
