"""The report's pictures: what happened over the campaign's time, above its phases and injections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from chaos.load.proof import breakers
from chaos.load.proof.answers import at_once, due, retryable, waits
from chaos.load.proof.document import Picture
from chaos.load.proof.figures import Unit, written
from chaos.load.proof.folder import Attempt, Campaign, Phase
from chaos.load.proof.readings import Points, Reading, pace, points, thinned
from chaos.load.proof.slopes import Trend
from chaos.load.proof.spread import Spread
from chaos.reports.plots import Band, Line, Panel, Range, draw, ranges

MEBIBYTE = 1 << 20
STRETCHES = 150
"""Into about so many stretches a campaign is cut, unless that makes them shorter than a second."""
ENOUGH = 30
"""Answers that a stretch should have on average, for its quantiles."""


def during(attempts: Iterable[Attempt], phase: Phase) -> Iterable[Attempt]:
    """Those that were sent in a phase."""
    return (one for one in attempts if phase.start <= one.at < phase.end)


def busiest(times: Iterable[float]) -> float | None:
    """The most within one second of the clock; None without any."""
    return max(Counter(int(at) for at in times).values(), default=None)


def _bands(campaign: Campaign) -> list[Band]:
    since = campaign.facts.started
    facts = campaign.facts
    return [
        *(Band(one.name, one.start - since, one.end - since, "phase") for one in facts.phases),
        *(Band(one.name, one.start - since, one.end - since) for one in facts.injections),
    ]


def _picture(campaign: Campaign, key: str, label: str, panels: Sequence[Panel]) -> list[Picture]:
    shown = [panel for panel in panels if any(line.points for line in panel.lines)]
    if not shown or campaign.seconds <= 0:
        return []
    return [Picture(key, label, draw(label, shown, _bands(campaign), end=campaign.seconds))]


def _width(campaign: Campaign, count: int, enough: float = 0.0) -> float:
    """Seconds of a stretch."""
    each = campaign.seconds * enough / count if count else 1.0
    return max(1.0, campaign.seconds / STRETCHES, each)


def _stretches(
    campaign: Campaign, attempts: Iterable[Attempt], width: float
) -> list[tuple[float, list[Attempt]]]:
    """(middle in seconds of the campaign, what was sent then), empty ones included."""
    number = max(1, int(campaign.seconds / width))
    width = campaign.seconds / number
    parts: list[list[Attempt]] = [[] for _ in range(number)]
    for one in attempts:
        parts[min(number - 1, max(0, int((one.at - campaign.facts.started) / width)))].append(one)
    return [((place + 0.5) * width, part) for place, part in enumerate(parts)]


def rates(campaign: Campaign) -> list[Picture]:
    """Webhooks a second: planned, sent, answered as was due."""
    webhooks = campaign.webhooks or ()
    first = [tries[0] for tries in webhooks]
    good = [tries[0] for tries in webhooks if due(tries[-1])]
    width = _width(campaign, len(first), 5)
    since = campaign.facts.started
    planned: Points = []
    for phase in campaign.facts.phases:
        planned += [(phase.start - since, phase.rate_from), (phase.end - since, phase.rate_to)]

    def line(attempts: Sequence[Attempt]) -> Points:
        parts = _stretches(campaign, attempts, width)
        each = campaign.seconds / len(parts)
        return [(at, len(part) / each) for at, part in parts]

    panel = Panel(
        "webhooks a second",
        [
            Line("planned", planned, 4, dashed=True),
            Line("sent", line(first), 0),
            Line("answered as due", line(good), 2),
        ],
        180,
    )
    return _picture(campaign, "throughput", "Throughput over time", [panel])


def latencies(campaign: Campaign, limits: Mapping[float, float]) -> list[Picture]:
    """Quantiles over time of answers without a write, with their limits, and of those to new alerts."""
    attempts = campaign.attempts or ()
    quick, fresh = [one for one in attempts if at_once(one)], [one for one in attempts if waits(one)]
    over_time = [
        Panel(
            title,
            [
                *(
                    Line(f"p{share * 100:g}", _quantiles(campaign, found, share), place)
                    for place, share in enumerate(limits)
                ),
                *extra,
            ],
            170,
            log=True,
            tick=_ms,
        )
        for title, found, extra in (
            (
                "answers without a write",
                quick,
                [Line("p99 limit", [(0.0, limits[0.99]), (campaign.seconds, limits[0.99])], 4, dashed=True)],
            ),
            ("answers to new alerts", fresh, []),
        )
        if found
    ]
    return [*_by_kind(attempts, limits), *_picture(campaign, "latency", "Latency over time", over_time)]


def _by_kind(attempts: Sequence[Attempt], limits: Mapping[float, float]) -> list[Picture]:
    """The quantiles of each kind of answer, the slowest last."""
    kinds: dict[str, list[float]] = {}
    for one in attempts:
        if one.status and not retryable(one):
            kinds.setdefault("new alert, written" if waits(one) else one.kind, []).append(one.ms)
    spreads = {kind: Spread.of(found) for kind, found in kinds.items()}
    rows = [
        Range(kind, [*(found.quantile(share) for share in limits), found.most])
        for kind, found in sorted(spreads.items(), key=lambda item: item[1].quantile(0.5) or 0.0)
    ]
    names = [*(f"p{share * 100:g}" for share in limits), "longest"]
    mark = ("p99 limit without a write", limits[0.99])
    svg = ranges("Latency by kind", rows, names, tick=_ms, mark=mark)
    return [Picture("kinds", "Latency by kind", svg)] if svg else []


def _ms(value: float) -> str:
    return (
        written(value, Unit.MILLISECONDS).replace(".00", "").replace(".0", "")
        if value >= 0.1
        else f"{value:g} ms"
    )


def _quantiles(campaign: Campaign, attempts: Sequence[Attempt], share: float) -> Points:
    found = []
    for at, part in _stretches(campaign, attempts, _width(campaign, len(attempts), ENOUGH)):
        times = Spread.of(one.ms for one in part)
        # A picture may show the slowest one where there are too few for a quantile; a table does not.
        value = times.quantile(share) or times.most
        if value is not None:
            found.append((at, value))
    return found


def failures(campaign: Campaign) -> list[Picture]:
    """Answers that ask for another try, what waits, and breakers that are not closed."""
    attempts = campaign.attempts or ()
    asked = [one for one in attempts if retryable(one)]
    parts = _stretches(campaign, asked, _width(campaign, len(attempts), 5))
    each = campaign.seconds / len(parts) if campaign.seconds > 0 else 1.0
    panels = [
        Panel(
            "attempts a second to be tried again",
            [Line("503, 429, none", [(at, len(part) / each) for at, part in parts], 1)],
            80,
        ),
        Panel(
            "accepted, and waiting to be seen in Kubernetes",
            [
                Line("unconfirmed", _gauge(campaign, "gateway_unconfirmed_alerts"), 0),
                Line("queued requests", _gauge(campaign, "gateway_k8s_api_request_queue_depth"), 3),
            ],
            90,
        ),
        Panel(
            "breakers that are not closed, over all gateways",
            [
                Line(name, _not_closed(campaign, component), colour)
                for name, component, colour in (("Redis", "redis", 0), ("Kubernetes", "k8s_api", 1))
            ],
            60,
            steps=True,
        ),
    ]
    return _picture(campaign, "reliability", "Refusals, backlog and breakers over time", panels)


def _gauge(campaign: Campaign, name: str) -> Points:
    since = campaign.facts.started
    return thinned(
        [
            (at - since, sum(one or 0.0 for one in found))
            for at, found in campaign.metric(name)
            if 0 <= at - since <= campaign.seconds
        ]
    )


def _not_closed(campaign: Campaign, component: str) -> Points:
    since = campaign.facts.started
    return [
        (at - since, float(sum(bool(one) for one in found)))
        for at, found in campaign.metric(breakers.STATE, component=component)
        if 0 <= at - since <= campaign.seconds
    ]


def costs(
    campaign: Campaign,
    processor: Sequence[tuple[str, Reading]],
    memory: Sequence[tuple[str, Reading]],
) -> list[Picture]:
    """Cores and memory over time."""
    width = max(1.0, campaign.seconds / STRETCHES)
    cores = [
        Line(name, pace(_since(campaign, read), width), place) for place, (name, read) in enumerate(processor)
    ]
    sizes = [
        Line(name, thinned([(at, value / MEBIBYTE) for at, value in _since(campaign, read)]), place)
        for place, (name, read) in enumerate(memory)
    ]
    panels = [
        Panel("processor, cores", cores, 150, least=0.1, tick=lambda value: f"{value:.2g}"),
        Panel("memory, MiB", sizes, 130),
    ]
    return _picture(campaign, "cost", "Processor and memory over time", panels)


def _since(campaign: Campaign, read: Reading) -> Points:
    since = campaign.facts.started
    found = points(campaign.samples or (), read)
    return [(at - since, value) for at, value in found if 0 <= at - since <= campaign.seconds]


def trends(campaign: Campaign, drawn: Sequence[tuple[str, Unit, Points, Trend | None]]) -> list[Picture]:
    """Each resource with the line of its slope, where it was judged."""
    since = campaign.facts.started
    panels = []
    for title, unit, found, slope in drawn:
        size = MEBIBYTE if unit is Unit.BYTES else 1
        lines = [Line("measured", thinned([(at - since, value / size) for at, value in found]), 4)]
        if slope is not None:
            ends = [(at - since, value / size) for at, value in (slope.begins, slope.ends)]
            lines.append(Line("slope", ends, 1))
        if unit is Unit.BYTES:
            title += ", MiB"
        panels.append(Panel(title, lines, 90, from_zero=False))
    return _picture(campaign, "growth", "What may leak, over time", panels)
