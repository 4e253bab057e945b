"""How much came and was answered, against what was planned: figures under less load than planned would flatter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.load.proof.answers import accepted, alerts, due, firsts
from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit, round_figure
from chaos.load.proof.folder import Attempt, Campaign, Phase
from chaos.load.proof.spread import Spread, share
from chaos.load.proof.timeline import busiest, rates

BEHIND = 0.98
"""A sender that sent less than this share of what was planned in time did not keep up."""
LATE = 1000.0
"""Milliseconds after which a webhook is no longer sent when it was due: the sender sends every turn, however late."""


def planned(campaign: Campaign) -> float | None:
    """Webhooks that the phases ask for; None where they are not known."""
    return sum(_due(phase) for phase in campaign.facts.phases) if campaign.facts.phases else None


def sent(campaign: Campaign) -> int:
    """Webhooks that were sent, each once however often it was tried."""
    return len(campaign.webhooks or ())


def kept_up(campaign: Campaign) -> float | None:
    """The share of what was planned that was sent in time; None where either is unknown."""
    wanted = planned(campaign)
    if not wanted or campaign.webhooks is None:
        return None
    return sum(map(in_time, firsts(campaign.webhooks))) / wanted


def in_time(first: Attempt) -> bool:
    """Whether a first attempt was sent when it was due; one that does not tell how late it was counts as such."""
    return first.lag_ms is None or first.lag_ms <= LATE


def told(part: float) -> str:
    """What `kept_up` says, in words."""
    late = round_figure(Figure(LATE / 1000, Unit.SECONDS))
    return f"{Figure(part, Unit.SHARE)} of the plan was sent within {late} of when it was due"


def section(campaign: Campaign) -> Section:
    """Planned, sent, answered; over time and by phase."""
    if campaign.webhooks is None:
        return Section("throughput", "Throughput", ["Not measured: requests.jsonl is missing."])
    first = firsts(campaign.webhooks)
    good = [tries[-1] for tries in campaign.webhooks if due(tries[-1])]
    taken = [one for one in good if accepted(one)]
    rate = Figure(len(first) / campaign.seconds if campaign.seconds else None, Unit.RATE)
    peak = Figure(busiest(one.at for one in first), Unit.RATE)
    sentences = [
        (
            f"{len(first):,} webhooks with {alerts(first):,} alerts in {Figure(campaign.seconds, Unit.SECONDS)}: "
            f"{rate} on average, {peak} in the busiest second. "
            f"{len(good):,} were answered as was due, and {alerts(taken):,} alerts were in accepted webhooks."
        )
    ]
    part = kept_up(campaign)
    if part is not None:
        fell = (
            "The sender fell behind: figures are those of less load than planned. " if part < BEHIND else ""
        )
        sentences.append(f"{fell}{told(part)}.")
    tables = [
        Table(
            "all",
            "In all",
            ("what", "figure"),
            [
                ("webhooks planned", Figure(planned(campaign))),
                ("webhooks sent", Figure(len(first))),
                ("webhooks sent in time", Figure(sum(map(in_time, first)))),
                ("attempts", Figure(len(campaign.attempts or ()))),
                ("webhooks answered as was due", Figure(len(good))),
                ("alerts sent", Figure(alerts(first))),
                ("alerts in accepted webhooks", Figure(alerts(taken))),
                ("webhooks a second, on average", rate),
                ("webhooks in the busiest second", peak),
                *_late(first),
            ],
        )
    ]
    if campaign.facts.phases:
        columns = (
            "phase",
            "lasted",
            "planned",
            "sent",
            "of the plan, in time",
            "answered as was due",
            "webhooks a second",
        )
        tables.append(Table("by_phase", "By phase", columns, list(_by_phase(campaign))))
    return Section("throughput", "Throughput", sentences, tables, rates(campaign))


def _late(first: Iterable[Attempt]) -> Iterable[Sequence[Cell]]:
    """By how much the sender itself was late, which is no part of any latency."""
    lags = Spread.of(one.lag_ms for one in first if one.lag_ms is not None)
    for share_of, name in ((0.5, "p50"), (0.99, "p99")):
        value = lags.quantile(share_of)
        if value is not None:
            yield (f"sent later than due, {name}", Figure(value, Unit.MILLISECONDS))


def _by_phase(campaign: Campaign) -> Iterable[Sequence[Cell]]:
    webhooks = campaign.webhooks or ()
    for phase in campaign.facts.phases:
        within = [tries for tries in webhooks if phase.start <= tries[0].at < phase.end]
        seconds = phase.end - phase.start
        yield (
            phase.name,
            Figure(seconds, Unit.SECONDS),
            Figure(round(_due(phase))),
            Figure(len(within)),
            Figure(share(sum(in_time(tries[0]) for tries in within), _due(phase)), Unit.SHARE),
            Figure(sum(due(tries[-1]) for tries in within)),
            Figure(len(within) / seconds if seconds else None, Unit.RATE),
        )


def _due(phase: Phase) -> float:
    return (phase.rate_from + phase.rate_to) / 2 * (phase.end - phase.start)
