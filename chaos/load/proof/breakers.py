"""When breakers opened, from samples of the gateways' metrics, and which openings an injection explains.

A breaker that closes observes in `gateway_recovery_duration_seconds` how long it was not closed; so the sample in which
the count grows tells when it had opened, also where that was between two samples. One that is still open at the end is
told by its gauge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaos.load.proof.folder import Campaign, Injection

COMPONENTS = ("redis", "k8s_api")
STATE = "gateway_circuit_breaker_state"
CHANGES = "gateway_circuit_breaker_state_changes_total"
RECOVERY = "gateway_recovery_duration_seconds"
SETTLING = 15.0
"""Seconds after an injection in which what it began may still show: by then everything has to go on again."""
TARGETS = {"redis": "redis", "kubernetes": "k8s_api"}
"""What a fault is aimed at → the breaker that it may open."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A breaker that left its closed state."""

    gateway: int
    component: str
    at: float
    until: float


def openings(campaign: Campaign) -> list[Opening]:
    """All of them, in order of time."""
    found = [
        one
        for component in COMPONENTS
        for number in range(len(campaign.facts.gateways) or 1)
        for one in _of(campaign, number, component)
    ]
    return sorted(found, key=lambda one: one.at)


def _of(campaign: Campaign, number: int, component: str) -> Iterator[Opening]:
    before: tuple[float, float] | None = None
    open_since: float | None = None
    last = 0.0
    for count, spent, state in zip(
        campaign.metric(f"{RECOVERY}_count", component=component),
        campaign.metric(f"{RECOVERY}_sum", component=component),
        campaign.metric(STATE, component=component),
        strict=True,
    ):
        at, counts = count
        if number >= len(counts):
            continue
        seen, total, now = counts[number], spent[1][number], state[1][number]
        if seen is None or total is None:
            continue
        if before is not None and seen < before[0]:  # the process began anew
            before = (0.0, 0.0)
        if before is not None and seen > before[0]:
            closed, each = int(seen - before[0]), (total - before[1]) / (seen - before[0])
            begun = open_since if open_since is not None else at - each
            for place in range(closed):
                yield Opening(number, component, begun if place == 0 else at - each, at)
            open_since = None
        open_since = (at if open_since is None else open_since) if now else None
        before, last = (seen, total), at
    if open_since is not None:
        yield Opening(number, component, open_since, last)


def unexplained(found: Iterable[Opening], injections: Sequence[Injection]) -> list[Opening]:
    """Those that no injection explains.

    One explains what begins while it acts and within `SETTLING` after it, at a breaker of what it is aimed at. A fault
    that all calls meet explains one opening at each gateway; one that some of them meet explains every one, since it
    lets probes pass by chance, and the calls after them fail again. Where its detail tells nothing, it counts as one
    that all calls of every kind meet.
    """
    spent: set[tuple[int, int, str]] = set()
    left = []
    for one in found:
        for place, span in reversed(list(enumerate(injections))):
            share = _shares(span).get(one.component)
            key = (place, one.gateway, one.component)
            near = span.start - 1 <= one.at <= span.end + SETTLING
            if near and share is not None and (share < 1 or key not in spent):
                spent.add(key)
                break
        else:
            left.append(one)
    return left


def within(found: Iterable[Opening], injections: Sequence[Injection]) -> tuple[int, str]:
    """The most openings of one breaker during one injection, and its name; 0 and nothing without any."""
    counted = Counter(
        (one.gateway, one.component, span.name)
        for one in found
        for span in injections
        if span.start <= one.at <= span.end
    )
    (key, most), *_ = counted.most_common(1) or [((0, "", ""), 0)]
    return most, key[2]


def _shares(span: Injection) -> dict[str, float]:
    """Breaker → the share of its calls that meet the fault, the largest of several."""
    faults = span.detail.get("faults", [span.detail]) if isinstance(span.detail, dict) else []
    told = [one for one in faults if isinstance(one, dict) and "target" in one]
    if not told:
        return dict.fromkeys(COMPONENTS, 1.0)
    shares: dict[str, float] = {}
    for one in told:
        component = TARGETS.get(one["target"])
        if component is not None:
            shares[component] = max(shares.get(component, 0.0), float(one.get("pct", 100)) / 100)
    return shares


def open_spans(campaign: Campaign) -> list[tuple[float, float]]:
    """Times in which a breaker of some gateway was seen open at both ends, between neighbouring samples."""
    spans = []
    for component in COMPONENTS:
        before: tuple[float, list[float | None]] | None = None
        for at, states in campaign.metric(STATE, component=component):
            if before is not None and any(
                one and other for one, other in zip(before[1], states, strict=False)
            ):
                spans.append((before[0], at))
            before = (at, states)
    return _merged(sorted(spans))


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for begin, end in spans:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found
