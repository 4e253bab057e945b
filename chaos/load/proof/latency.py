"""How long answers take: from sending a webhook until its answer, as the sender measured it.

The overhead of the gateway is that of answers which no write to Kubernetes holds up. A new alert's answer waits for
its request to exist, up to `server.ack_wait`; it is a figure of its own. Where the sender fell behind, none of them is
a figure of the load that was planned, and no target is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chaos.delta.quantiles import histogram_quantile
from chaos.load.proof.answers import accepted, at_once, retryable, waits
from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Attempt, Campaign
from chaos.load.proof.spread import FEWEST, Spread
from chaos.load.proof.throughput import BEHIND, kept_up, told
from chaos.load.proof.timeline import during, latencies
from chaos.load.proof.verdict import Bound, Result, Target

GROUP = "speed"
CALM = "baseline, spike and big-day"
LIMITS = {0.5: 15.0, 0.95: 35.0, 0.99: 60.0}
"""Share → milliseconds."""

OVERHEAD = {
    share: Target(
        f"overhead_p{share * 100:g}",
        GROUP,
        f"gateway overhead, p{share * 100:g}",
        Bound("≤", Figure(limit, Unit.MILLISECONDS)),
        CALM,
    )
    for share, limit in LIMITS.items()
}
NEW = Target("new_p99", GROUP, "answer to a new alert (waits for its request to exist), p99", by=CALM)
GAIN = Target(
    "duplicate_gain",
    GROUP,
    "a new alert's answer takes longer than a duplicate's by at least",
    Bound(">", Figure(1.0, Unit.RATIO)),
    f"{CALM}, dedup",
)
FAULTS = "faults were injected; the limit is for times without any"
COLUMNS = ("answers", "p50", "p95", "p99", "longest")

REMARK = (
    "Times are from sending a webhook until its answer, measured by the sender, which shares the machine's cores; of "
    "every attempt, repeated ones as well. *Without a write* are all answers but those to new alerts, which wait up to "
    "`server.ack_wait` for their request to exist, and those that ask to be tried again."
)


def results(campaign: Campaign) -> list[Result]:
    """The targets of speed."""
    targets = [*OVERHEAD.values(), NEW, GAIN]
    if campaign.attempts is None:
        return [one.missing("requests.jsonl is missing") for one in targets]
    part = kept_up(campaign)
    if part is not None and part < BEHIND:
        return [one.missing(f"the sender fell behind: {told(part)}") for one in targets]
    quick = spread(one for one in campaign.attempts if at_once(one))
    fresh = spread(one for one in campaign.attempts if waits(one))
    found = [_overhead(campaign, share, quick) for share in LIMITS]
    p99 = fresh.quantile(0.99)
    if p99 is None:
        found.append(NEW.missing(_too_few(fresh.count, 0.99, "answers to new alerts")))
    else:
        note = f"p50 {_ms(fresh.quantile(0.5))}, p95 {_ms(fresh.quantile(0.95))} of {fresh.count:,} answers"
        found.append(NEW.judge(_ms(p99), note))
    return [*found, _gain(campaign)]


def _overhead(campaign: Campaign, share: float, quick: Spread) -> Result:
    target, measured = OVERHEAD[share], quick.quantile(share)
    if measured is None:
        return target.missing(_too_few(quick.count, share, "answers without a write"))
    note = f"of {quick.count:,} answers that waited for no write"
    if campaign.disturbed:
        return target.show(_ms(measured), f"{note}; {FAULTS}")
    return target.judge(_ms(measured), note)


def _gain(campaign: Campaign) -> Result:
    attempts = campaign.attempts or ()
    again = spread(one for one in attempts if accepted(one) and one.outcome == "duplicate")
    fresh = spread(one for one in attempts if accepted(one) and one.outcome == "created")
    of_again, of_fresh = again.median_within(), fresh.median_within()
    if of_again is None or of_fresh is None:
        return GAIN.missing(f"{again.count:,} duplicates and {fresh.count:,} created ones are too few")
    note = (
        f"95 % confidence; medians {_ms(fresh.quantile(0.5))} of {fresh.count:,} created, "
        f"{_ms(again.quantile(0.5))} of {again.count:,} duplicates"
    )
    measured = Figure(of_fresh[0] / max(of_again[1], 1e-3), Unit.RATIO)
    return GAIN.show(measured, f"{note}; {FAULTS}") if campaign.disturbed else GAIN.judge(measured, note)


def section(campaign: Campaign) -> Section:
    """Quantiles by kind and over time."""
    attempts = campaign.attempts
    if attempts is None:
        return Section("latency", "Latency", ["Not measured: requests.jsonl is missing."])
    tables = [
        Table(
            "by_answer", "By what the answer was", ("answer", *COLUMNS), list(_by_answer(campaign, attempts))
        ),
        Table("by_kind", "By what was sent", ("kind", *COLUMNS), list(_by_kind(attempts))),
    ]
    if campaign.facts.phases:
        rows = [
            (phase.name, *_row(spread(one for one in during(attempts, phase) if at_once(one))))
            for phase in campaign.facts.phases
        ]
        tables.append(Table("by_phase", "Answers without a write, by phase", ("phase", *COLUMNS), rows))
    own = list(_own(campaign))
    if own:
        tables.append(Table("gateway", "As the gateway itself measures", ("from … until", *COLUMNS[:4]), own))
    quick = spread(one for one in attempts if at_once(one))
    sentence = (
        f"Half of the answers that wait for no write came within {_ms(quick.quantile(0.5))}, "
        f"99 of 100 within {_ms(quick.quantile(0.99))}."
        if quick.quantile(0.99) is not None
        else f"There were {quick.count:,} answers that wait for no write."
    )
    return Section(
        "latency",
        "Latency",
        [sentence],
        tables,
        latencies(campaign, LIMITS),
        REMARK,
    )


def _by_answer(campaign: Campaign, attempts: Sequence[Attempt]) -> Iterable[Sequence[Cell]]:
    rows = [
        ("without a write", spread(one for one in attempts if at_once(one))),
        ("of a new alert", spread(one for one in attempts if waits(one))),
        ("to be tried again", spread(one for one in attempts if retryable(one) and one.status)),
    ]
    if campaign.disturbed:
        within = [
            one
            for one in attempts
            if any(_overlaps(one, span.start, span.end) for span in campaign.facts.injections)
        ]
        apart = {id(one) for one in within}
        rows += [
            ("any, during injections", spread(one for one in within if one.status)),
            ("any, at other times", spread(one for one in attempts if one.status and id(one) not in apart)),
        ]
    for name, found in rows:
        yield (name, *_row(found))


def _overlaps(one: Attempt, start: float, end: float) -> bool:
    return one.at < end and one.at + one.ms / 1000 > start


def _by_kind(attempts: Sequence[Attempt]) -> Iterable[Sequence[Cell]]:
    kinds: dict[str, list[Attempt]] = {}
    for one in attempts:
        if one.status:
            kinds.setdefault(one.kind, []).append(one)
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        yield (kind, *_row(spread(found)))


def _own(campaign: Campaign) -> Iterable[Sequence[Cell]]:
    """The histograms of all gateways together, between before and after."""
    for name, said, wanted in (
        ("gateway_request_duration_seconds", "headers until answer, webhooks", "/v1/webhooks/prometheus"),
        ("gateway_admission_duration_seconds", "admission until durable", None),
    ):
        buckets: dict[float, float] = {}
        for delta in campaign.deltas or ():
            for one in delta.histograms:
                if one.series.name == name and dict(one.series.labels).get("route") == wanted:
                    for bound, count in one.buckets.items():
                        buckets[bound] = buckets.get(bound, 0.0) + count
        if buckets and max(buckets.values()):
            yield (said, Figure(max(buckets.values())), *_quantiles(buckets))


def _quantiles(buckets: Mapping[float, float]) -> list[Figure]:
    return [_ms(histogram_quantile(share, buckets) * 1000) for share in LIMITS]


def spread(attempts: Iterable[Attempt]) -> Spread:
    """Their milliseconds."""
    return Spread.of(one.ms for one in attempts)


def _row(found: Spread) -> list[Cell]:
    quantiles = [_ms(found.quantile(share)) for share in LIMITS]
    return [Figure(found.count), *quantiles, _ms(found.most)]


def _ms(value: float | None) -> Figure:
    return Figure(value, Unit.MILLISECONDS)


def _too_few(count: int, share: float, what: str) -> str:
    return f"{count:,} {what} are too few (p{share * 100:g} takes {FEWEST[share]})"
