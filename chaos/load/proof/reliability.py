"""Whether answers come as is due, what repeating heals, how breakers behave, and whether every count is exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.load.proof import breakers
from chaos.load.proof.answers import due, firsts, retryable, told
from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Attempt, Audit, Campaign
from chaos.load.proof.latency import FAULTS, spread
from chaos.load.proof.spread import FEWEST, at_worst, share
from chaos.load.proof.timeline import failures
from chaos.load.proof.verdict import Bound, Result, Target

GROUP = "reliability"
CALM = "baseline, spike, soak, dedup and big-day"
FAULTY = "chaos-window"

FIRST = Target(
    "success_first",
    GROUP,
    "webhooks whose first answer was as due",
    Bound("≥", Figure(0.995, Unit.SHARE)),
    CALM,
)
LAST = Target(
    "success_last",
    GROUP,
    "… whose last answer was, after retries",
    Bound("≥", Figure(0.995, Unit.SHARE)),
    CALM,
)
FAST_FAIL = Target(
    "fast_fail_p99",
    GROUP,
    "503 answers while a breaker is open, p99",
    Bound("<", Figure(200.0, Unit.MILLISECONDS)),
    FAULTY,
)
WHILE_OPEN = Target("open_p99", GROUP, "any answer while a breaker is open, p99", by=FAULTY)
HEALED = Target(
    "healed",
    GROUP,
    "retryable first answers that retries healed",
    Bound(">", Figure(0.7, Unit.SHARE)),
    FAULTY,
)
FLAPPING = Target(
    "flapping",
    GROUP,
    "openings of breakers that nothing injected explains",
    Bound("=", Figure(0)),
    "every campaign",
)
AUDIT = Target(
    "audit",
    GROUP,
    "alerts that the audit finds lost or counted twice",
    Bound("=", Figure(0)),
    "every campaign",
)
DEDUPLICATED = Target(
    "dedup_without_api",
    GROUP,
    "duplicates settled without asking the Kubernetes API",
    Bound(">", Figure(0.97, Unit.SHARE)),
    CALM,
)

REMARK = (
    "*As due* is 2xx, 401 for false credentials, and `denied` for what the policy denies. An injection explains an "
    "opening of a breaker of what it is aimed at that began while it acted, or at most "
    f"{breakers.SETTLING:g} s later: every one where it lets some calls pass, else one at each gateway."
)


def results(campaign: Campaign) -> list[Result]:
    """The targets of reliability."""
    return [
        *_success(campaign),
        *_fast_fail(campaign),
        _healed(campaign),
        _flapping(campaign),
        _deduplicated(campaign),
        _audited(campaign.audit),
    ]


def _success(campaign: Campaign) -> list[Result]:
    if campaign.webhooks is None:
        return [one.missing("requests.jsonl is missing") for one in (FIRST, LAST)]
    found = []
    for target, attempts in (
        (FIRST, firsts(campaign.webhooks)),
        (LAST, [tries[-1] for tries in campaign.webhooks]),
    ):
        wrong = [one for one in attempts if not due(one)]
        measured = Figure(1 - len(wrong) / len(attempts), Unit.SHARE)
        worst = Figure(at_worst(len(wrong), len(attempts)), Unit.SHARE)
        note = f"{len(wrong):,} of {len(attempts):,} were not" + (f" ({told(wrong)})" if wrong else "")
        if campaign.disturbed:
            found.append(target.show(measured, f"{note}; {FAULTS}"))
        else:
            found.append(
                target.judge(measured, f"{note}; the share of these is below {worst} with 95 % confidence")
            )
    return found


def _fast_fail(campaign: Campaign) -> list[Result]:
    if campaign.attempts is None or not campaign.pages:
        return [one.missing("requests.jsonl or samples.jsonl is missing") for one in (FAST_FAIL, WHILE_OPEN)]
    spans = breakers.open_spans(campaign)
    if not spans:
        return [one.missing("no breaker was seen open") for one in (FAST_FAIL, WHILE_OPEN)]
    within = [
        one
        for one in campaign.attempts
        if one.status and any(begin <= one.at and one.at + one.ms / 1000 <= end for begin, end in spans)
    ]
    open_for = Figure(sum(end - begin for begin, end in spans), Unit.SECONDS)
    found = []
    for target, what, attempts in (
        (FAST_FAIL, "such answers", [one for one in within if one.status == 503]),
        (WHILE_OPEN, "answers", within),
    ):
        times = spread(attempts)
        # Few are enough where even the slowest one counts: that is no quantile, but nothing is hidden by it.
        p99 = times.quantile(0.99) if times.count >= FEWEST[0.99] else times.most
        if p99 is None:
            found.append(
                target.missing(f"a breaker was open for {open_for}, and nothing was answered so meanwhile")
            )
        else:
            few = "" if times.count >= FEWEST[0.99] else ", the slowest one as there are few"
            found.append(
                target.judge(Figure(p99, Unit.MILLISECONDS), f"of {times.count:,} {what} in {open_for}{few}")
            )
    return found


def _healed(campaign: Campaign) -> Result:
    if campaign.webhooks is None:
        return HEALED.missing("requests.jsonl is missing")
    met = [tries for tries in campaign.webhooks if retryable(tries[0])]
    if not met:
        return HEALED.missing("no webhook's first answer asked to be tried again")
    healed = sum(due(tries[-1]) for tries in met)
    note = f"{healed:,} of {len(met):,} webhooks ({told(tries[0] for tries in met)})"
    return HEALED.judge(Figure(healed / len(met), Unit.SHARE), note)


def _flapping(campaign: Campaign) -> Result:
    if not campaign.disturbed:
        changes = campaign.grown(breakers.CHANGES)
        if changes is None:
            return FLAPPING.missing("the metrics before and after are missing")
        return FLAPPING.judge(Figure(changes), "changes of any breaker's state; nothing was injected")
    if not campaign.pages:
        return FLAPPING.missing("samples.jsonl is missing")
    found = breakers.openings(campaign)
    left = breakers.unexplained(found, campaign.facts.injections)
    most, during = breakers.within(found, campaign.facts.injections)
    note = f"{len(found):,} openings in {len(campaign.facts.injections):,} injections"
    if most > 1:
        note += f", of one breaker up to {most:,} in one of them ({during})"
    return FLAPPING.judge(Figure(len(left)), note)


def _deduplicated(campaign: Campaign) -> Result:
    """Who asks the API does so on the direct way, where Redis does not answer, and that one takes alerts as they come:
    of its alerts the same share are duplicates as of all. What the share is at worst stands in the note."""
    duplicates = campaign.grown("gateway_alerts_deduplicated_total", reason="duplicate")
    taken = campaign.grown("gateway_alerts_processed_total")
    asked = campaign.grown("gateway_k8s_api_queries_total")
    direct = campaign.grown("gateway_dedup_fallback_total")
    if duplicates is None or taken is None or asked is None or direct is None:
        return DEDUPLICATED.missing("the metrics before and after are missing")
    if not duplicates or not taken:
        return DEDUPLICATED.missing("no duplicate was counted")
    through = max(asked, direct)
    measured = Figure(max(0.0, 1 - through / taken), Unit.SHARE)
    worst = Figure(max(0.0, 1 - through / duplicates), Unit.SHARE)
    note = (
        f"{asked:,.0f} questions, {direct:,.0f} of {taken:,.0f} alerts written directly; {worst} if all of these were "
        f"of the {duplicates:,.0f} duplicates"
    )
    return (
        DEDUPLICATED.show(measured, f"{note}; {FAULTS}")
        if campaign.disturbed
        else DEDUPLICATED.judge(measured, note)
    )


def _audited(audit: Audit | None) -> Result:
    if audit is None:
        return AUDIT.missing("audit.json is missing")
    wrong = [audit.lost or 0, audit.surplus or 0, audit.open_twice or 0, len(audit.faults)]
    if audit.counted is None or (audit.exit and not sum(wrong)):
        why = f": {' '.join(audit.error.split())[:200]}" if audit.error else ""
        return AUDIT.missing(f"the audit ended with exit code {audit.exit} and no judgement{why}")
    low, high = audit.accepted.get("low", 0), audit.accepted.get("high", 0)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    note = f"{span} accepted, {audit.counted:,} counted, {audit.fingerprints or 0:,} fingerprints"
    if sum(wrong):
        note += (
            "; lost {:,}, too many {:,}, open twice {:,}, requests that contradict themselves {:,}".format(
                *wrong
            )
        )
    return AUDIT.judge(Figure(sum(wrong)), note)


def section(campaign: Campaign) -> Section:
    """Answers by kind, retries, breakers, what the metrics count, the audit."""
    tables = []
    sentences = []
    if campaign.webhooks is not None:
        first = firsts(campaign.webhooks)
        again = sum(len(tries) > 1 for tries in campaign.webhooks)
        sentences.append(
            f"{sum(map(due, first)):,} of {len(first):,} webhooks were answered as was due at the first attempt; "
            f"{again:,} were tried again."
        )
        kinds = (
            "kind",
            "webhooks",
            "first answer as due",
            "last answer as due",
            "2xx",
            "4xx",
            "5xx",
            "no answer",
        )
        tables.append(
            Table("answers", "Answers by kind, all attempts", kinds, list(_by_kind(campaign.webhooks)))
        )
    if campaign.pages:
        found = breakers.openings(campaign)
        said = "No breaker opened." if not found else f"Breakers opened {len(found):,} times."
        sentences.append(said)
        columns = ("breaker", "openings", "not closed for", "changes of state", "calls not tried")
        tables.append(
            Table("breakers", "Breakers, over all gateways", columns, list(_by_breaker(campaign, found)))
        )
    if campaign.deltas is not None:
        rows = [(name, Figure(campaign.grown(name))) for name in COUNTED]
        tables.append(Table("counted", "What the gateways counted meanwhile", ("metric", "growth"), rows))
    if campaign.audit is not None:
        tables.append(Table("audit", "The audit", ("what", "figure"), list(_audit_rows(campaign.audit))))
    return Section(
        "reliability",
        "Reliability",
        sentences,
        tables,
        failures(campaign),
        REMARK,
    )


COUNTED = (
    "gateway_alerts_received_total",
    "gateway_crds_created_total",
    "gateway_alerts_deduplicated_total",
    "gateway_alerts_resolved_total",
    "gateway_policy_denials_total",
    "gateway_alerts_invalid_total",
    "gateway_retries_total",
    "gateway_dedup_fallback_total",
    "gateway_k8s_api_queries_total",
    "gateway_breaker_fastfail_total",
    "gateway_redis_operation_errors_total",
    "gateway_k8s_api_errors_total",
    "gateway_dead_letters_total",
    "gateway_errors_total",
    "gateway_faults_injected_total",
)


def _by_kind(webhooks: Sequence[Sequence[Attempt]]) -> Iterable[Sequence[Cell]]:
    kinds: dict[str, list[Sequence[Attempt]]] = {}
    for tries in webhooks:
        kinds.setdefault(tries[0].kind, []).append(tries)
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        classes = Counter(one.status // 100 for tries in found for one in tries)
        yield (
            kind,
            Figure(len(found)),
            Figure(share(sum(due(tries[0]) for tries in found), len(found)), Unit.SHARE),
            Figure(share(sum(due(tries[-1]) for tries in found), len(found)), Unit.SHARE),
            *(Figure(classes[one]) for one in (2, 4, 5, 0)),
        )


def _by_breaker(campaign: Campaign, found: Sequence[breakers.Opening]) -> Iterable[Sequence[Cell]]:
    for component in breakers.COMPONENTS:
        mine = [one for one in found if one.component == component]
        yield (
            component,
            Figure(len(mine)),
            Figure(sum(one.until - one.at for one in mine), Unit.SECONDS),
            Figure(campaign.grown(breakers.CHANGES, component=component)),
            Figure(campaign.grown("gateway_breaker_fastfail_total", component=component)),
        )


def _audit_rows(audit: Audit) -> Iterable[Sequence[Cell]]:
    yield ("webhooks in the log", Figure(audit.deliveries))
    yield ("fingerprints", Figure(audit.fingerprints))
    yield ("alerts accepted, at least", Figure(audit.accepted.get("low")))
    yield ("alerts accepted, at most", Figure(audit.accepted.get("high")))
    yield ("alerts counted in requests", Figure(audit.counted))
    yield ("lost", Figure(audit.lost))
    yield ("counted too often", Figure(audit.surplus))
    yield ("fingerprints open twice", Figure(audit.open_twice))
