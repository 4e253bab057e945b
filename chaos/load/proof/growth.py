"""Whether anything grows while the load stays the same: memory, tasks, connections, keys.

Only a steady load tells, so only the soak is judged, after everything that has a life has had it once (its phase
*steady*; without one, after a quarter). What grows is said in `slopes`; what matters is `ALLOWED` of the level in an
hour, and for small counts `FEWEST` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Campaign
from chaos.load.proof.readings import Points, Reading, of_gateways, of_part, points
from chaos.load.proof.slopes import Trend, trend
from chaos.load.proof.timeline import trends
from chaos.load.proof.verdict import Bound, Result, Target

GROUP = "no growth"
ALLOWED = 0.05
"""Growth in an hour, as a share of the level."""
SHORTEST = 900.0
"""Seconds of steady load without which nothing is said."""
SOAK, STEADY = "soak", "steady"


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that may leak."""

    key: str
    title: str
    unit: Unit
    fewest: float
    """So much growth in an hour is none, however small the level."""
    of: Reading

    @property
    def target(self) -> Target:
        return Target(
            f"growth_{self.key}",
            GROUP,
            f"growth of {self.title} in an hour",
            Bound("≤", Figure(ALLOWED, Unit.SHARE)),
            "soak",
        )


JUDGED = (
    Resource("memory", "the gateway's memory", Unit.BYTES, 4 << 20, of_gateways("rss_bytes")),
    Resource("tasks", "asyncio tasks", Unit.COUNT, 2, of_gateways("tasks")),
    Resource("connections", "connections", Unit.COUNT, 2, of_gateways("connections")),
    Resource("keys", "keys in Redis", Unit.COUNT, 10, of_part("redis", "keys")),
)
SHOWN = (
    Resource("fds", "open files", Unit.COUNT, 2, of_gateways("fds")),
    Resource("threads", "threads", Unit.COUNT, 2, of_gateways("threads")),
    Resource("redis_memory", "Redis's memory", Unit.BYTES, 1 << 20, of_part("redis", "used_memory")),
    Resource("redis_clients", "clients of Redis", Unit.COUNT, 2, of_part("redis", "clients")),
)

REMARK = (
    "The slope is that of Theil and Sen, its significance that of Mann and Kendall (one-sided), over medians of sixty "
    "stretches of the steady time: decision 039."
)


def results(campaign: Campaign) -> list[Result]:
    """The targets of growth."""
    return [_judge(campaign, one) for one in JUDGED]


def _judge(campaign: Campaign, resource: Resource) -> Result:
    target = resource.target
    if not campaign.samples:
        return target.missing("samples.jsonl is missing")
    if campaign.facts.name != SOAK:
        return target.missing("the load is not the same for long")
    seen = steady(campaign, resource)
    if not seen:
        return target.missing(f"the samples do not tell {resource.title}")
    seconds = seen[-1][0] - seen[0][0]
    found = trend(seen) if seconds >= SHORTEST else None
    if found is None:
        return target.missing(f"{Figure(seconds, Unit.SECONDS)} of steady load are too short")
    said = "significant" if found.chance < 0.01 else "not significant"
    note = (
        f"{_signed(found.an_hour, resource.unit)} an hour at {Figure(found.level, resource.unit)}, {said} "
        f"(p {found.chance:.2g}), over {Figure(seconds, Unit.SECONDS)}"
    )
    # What is no growth by the test is 0, and so is what is less than the smallest that matters.
    measured = found.share if found.grows(resource.fewest) else 0.0
    return target.judge(Figure(measured, Unit.SHARE), note)


def steady(campaign: Campaign, resource: Resource) -> Points:
    """What the samples say of it from the time on at which the load is steady."""
    since, until = began(campaign), campaign.facts.ended
    return points((one for one in campaign.samples or () if since <= one.at <= until), resource.of)


def began(campaign: Campaign) -> float:
    """From when on the load counts as steady."""
    for phase in campaign.facts.phases:
        if phase.name == STEADY:
            return phase.start
    return campaign.facts.started + campaign.seconds / 4


def section(campaign: Campaign) -> Section:
    """Levels and slopes, and the pictures of the four that are judged."""
    if not campaign.samples:
        return Section("growth", "Growth", ["Not measured: samples.jsonl is missing."])
    judged = campaign.facts.name == SOAK and campaign.facts.ended - began(campaign) >= SHORTEST
    rows, drawn = [], []
    for resource in (*JUDGED, *SHOWN):
        seen = points(campaign.samples, resource.of)
        if not seen:
            continue
        found = trend(steady(campaign, resource)) if judged else None
        rows.append(_row(resource, seen, found))
        if resource in JUDGED:
            drawn.append((resource.title, resource.unit, seen, found))
    sentence = (
        "The load was the same all the time, so what rises leaks."
        if judged
        else "The load was not the same for long enough, so that a slope would say nothing: a soak judges it."
    )
    columns = ("what", "first", "last", "highest", "level", "an hour", "share an hour", "p")
    return Section(
        "growth",
        "Growth",
        [sentence],
        [Table("resources", "What may leak", columns, rows)],
        trends(campaign, drawn),
        REMARK,
    )


def _row(resource: Resource, seen: Sequence[tuple[float, float]], found: Trend | None) -> Sequence[Cell]:
    values = [value for _, value in seen]
    cells: list[Cell] = [
        resource.title,
        *(Figure(value, resource.unit) for value in (values[0], values[-1], max(values))),
    ]
    if found is None:
        return [*cells, *(Figure(None) for _ in range(4))]
    return [
        *cells,
        Figure(found.level, resource.unit),
        Figure(found.an_hour, resource.unit),
        Figure(found.share, Unit.SHARE),
        Figure(found.chance, Unit.EACH),
    ]


def _signed(value: float, unit: Unit) -> str:
    return f"{'+' if value >= 0 else '−'}{Figure(abs(value), unit)}"
