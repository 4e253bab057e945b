"""Pictures of a scenario over time, as SVG: what came and what became of it, the queue, the breakers, and injections.

Four small pictures above one another share the axis of time, since their scales have nothing in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from chaos.verdicts import Span, Verdict

Points = Sequence[tuple[float, float]]

WIDTH, LEFT, RIGHT = 900, 56, 150
TOP, GAP, BOTTOM = 52, 36, 40
COLOURS = ("#1f6fb4", "#c75b12", "#3a7d44")


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the pictures: which series it has, and how high it is."""

    title: str
    series: tuple[str, ...]
    height: int
    steps: bool = False
    """Values hold until the next one, as states do."""


PANELS = (
    Panel("alerts, in all", ("received", "created", "deduplicated"), 150),
    Panel("waiting to be written", ("queue",), 80),
    Panel("written directly, in all", ("fallback",), 80),
    Panel("open breakers, over all gateways", ("breaker Redis", "breaker Kubernetes"), 70, steps=True),
)


def svg(verdict: Verdict) -> str:
    """The pictures of one scenario; empty where nothing was seen."""
    end = max((at for points in verdict.series.values() for at, _ in points), default=0.0)
    if end <= 0:
        return ""
    height = TOP + sum(panel.height + GAP for panel in PANELS) + BOTTOM - GAP
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(verdict.title)}, over time">',
        *_shades(verdict.spans, end, height),
    ]
    top = TOP
    for panel in PANELS:
        parts += _panel(panel, verdict, end, top)
        top += panel.height + GAP
    parts += _times(end, height)
    return "\n".join([*parts, "</svg>"])


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(at, end) / end


def _shades(spans: Sequence[Span], end: float, height: int) -> list[str]:
    """A band for each injection, with its name above; names that would overlap go one line up."""
    found = []
    last = -math.inf
    for span in spans:
        if span.kind != "injection":
            continue
        left, right = _x(span.begin, end), _x(end if span.end is None else span.end, end)
        found.append(
            f'<rect class="injection" x="{left:.1f}" y="{TOP - 4}" width="{max(1.0, right - left):.1f}" '
            f'height="{height - TOP - BOTTOM + 4}"/>'
        )
        y = 12 if left < last else 25
        found.append(f'<text class="name" x="{left:.1f}" y="{y}">{escape(span.name)}</text>')
        last = left + 6.2 * len(span.name) if y == 25 else last
    return found


def _panel(panel: Panel, verdict: Verdict, end: float, top: int) -> list[str]:
    series = [(name, verdict.series.get(name, [])) for name in panel.series]
    most = max((y for _, points in series for _, y in points), default=0.0)
    ceiling = _ceiling(most)
    bottom = top + panel.height
    right = WIDTH - RIGHT
    parts = [f'<text class="title" x="{LEFT}" y="{top - 6}">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = bottom - panel.height * share
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        if (ceiling * share).is_integer():
            parts.append(
                f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{ceiling * share:g}</text>'
            )
    labels = []
    for place, (name, points) in enumerate(series):
        colour = COLOURS[place]
        path = _path(points, end, top, panel.height, ceiling, steps=panel.steps)
        parts.append(f'<path class="line" stroke="{colour}" d="{path}"/>')
        last = points[-1][1] if points else 0.0
        labels.append((bottom - panel.height * last / ceiling, name, colour))
    parts += _labels(labels)
    return parts


def _labels(labels: list[tuple[float, str, str]]) -> list[str]:
    """Names at the ends of their lines, pushed apart where they would overlap."""
    found, above = [], math.inf
    for y, name, colour in sorted(labels, reverse=True):
        y = min(y + 4, above - 14)
        above = y
        found.append(f'<text class="label" x="{WIDTH - RIGHT + 8}" y="{y:.1f}" fill="{colour}">{name}</text>')
    return found


def _path(points: Points, end: float, top: int, height: int, ceiling: float, *, steps: bool) -> str:
    words = []
    before: float | None = None
    for at, value in points:
        x, y = _x(at, end), top + height * (1 - value / ceiling)
        if before is None:
            words.append(f"M{x:.1f} {y:.1f}")
        elif steps and y != before:
            words.append(f"H{x:.1f}V{y:.1f}")
        else:
            words.append(f"L{x:.1f} {y:.1f}")
        before = y
    return "".join(words)


def _times(end: float, height: int) -> list[str]:
    """The axis of time: a handful of round seconds."""
    step = _ceiling(end / 6)
    y = height - BOTTOM + 18
    found = []
    for number in range(int(end / step) + 1):
        at = number * step
        found.append(f'<text class="tick" x="{_x(at, end):.1f}" y="{y}" text-anchor="middle">{at:g} s</text>')
    return found


def _ceiling(value: float) -> float:
    """The next round number: 1, 2, 4 or 5 times a power of ten."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 5, 10) if power * factor >= value)
