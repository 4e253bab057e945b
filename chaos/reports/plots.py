"""Pictures over time, as SVG: panels above one another that share the axis of time, and what was done meanwhile.

Several small pictures rather than one, since their scales have nothing in common. Colours are classes (`style.py`), so
that a picture within a page follows the page, and one in a file brings its own (`standalone`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from chaos.reports import style

Points = Sequence[tuple[float, float]]

WIDTH, LEFT, RIGHT = 900, 64, 150
GAP, BOTTOM = 36, 40
ROW = 13
"""Height of a row of names above the panels."""
LETTER = 6.2
"""How wide a letter of a name is, about."""


def plain(value: float) -> str:
    """A tick's number."""
    return f"{value:g}"


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel."""

    name: str
    points: Points
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the pictures."""

    title: str
    lines: Sequence[Line]
    height: int = 120
    steps: bool = False
    """Values hold until the next one, as states do."""
    log: bool = False
    """Each tick is ten times the one below."""
    least: float = 1.0
    """The axis reaches this far at least."""
    tick: Callable[[float], str] = plain
    from_zero: bool = True
    """The axis begins at 0, or, where a small change on a high level matters, near the lowest value."""


@dataclass(frozen=True, slots=True)
class Band:
    """A time with a name behind the panels: an injection, or a phase."""

    name: str
    begin: float
    end: float
    kind: str = "injection"


def draw(label: str, panels: Sequence[Panel], bands: Sequence[Band] = (), *, end: float | None = None) -> str:
    """The SVG, from second 0 to `end` (that of the longest line without one); empty where there is nothing to show."""
    if end is None:
        end = max(
            (line.points[-1][0] for panel in panels for line in panel.lines if line.points), default=0.0
        )
    if end <= 0:
        return ""
    names, rows = _names(bands, end)
    top = 12 + rows * ROW + 18
    height = top + sum(panel.height + GAP for panel in panels) + BOTTOM - GAP
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    parts += _shades(bands, end, top, height)
    parts += names
    for panel in panels:
        parts += _panel(panel, end, top)
        top += panel.height + GAP
    parts += _times(end, height)
    return "\n".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class Range:
    """A row of `ranges`: some values of one thing, in order, such as its quantiles; None where one is missing."""

    name: str
    values: Sequence[float | None]


def ranges(
    label: str,
    rows: Sequence[Range],
    names: Sequence[str],
    *,
    tick: Callable[[float], str] = plain,
    mark: tuple[str, float] | None = None,
) -> str:
    """Rows of dots on one axis, each of whose ticks is ten times the one before; `names` are those of the dots.

    `mark` is a line with a name.
    """
    values = [value for row in rows for value in row.values if value]
    if not values:
        return ""
    values += [mark[1]] if mark else []
    low = math.floor(math.log10(min(values)))
    decades = max(1, math.ceil(math.log10(max(values))) - low)
    left, right, top, each = 150, WIDTH - 40, 44, 24
    bottom = top + each * len(rows)

    def x(value: float) -> float:
        return left + (right - left) * (math.log10(max(value, 10.0**low)) - low) / decades

    parts = [f'<svg viewBox="0 0 {WIDTH} {bottom + 28}" role="img" aria-label="{escape(label)}">']
    for number, name in enumerate(names):
        place = left + number * 70
        parts.append(f'<circle class="dot c{number}" cx="{place}" cy="12" r="5"/>')
        parts.append(f'<text class="name" x="{place + 10}" y="16">{escape(name)}</text>')
    for power in range(decades + 1):
        at = x(10.0 ** (low + power))
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top - 8}" x2="{at:.1f}" y2="{bottom}"/>')
        shown = escape(tick(10.0 ** (low + power)))
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{shown}</text>')
    if mark:
        at = x(mark[1])
        parts.append(f'<path class="line dashed c4" d="M{at:.1f} {top - 8}V{bottom}"/>')
        parts.append(
            f'<text class="name" x="{at:.1f}" y="{top - 12}" text-anchor="middle">{escape(mark[0])}</text>'
        )
    for number, row in enumerate(rows):
        y = top + each * (number + 0.5)
        parts.append(
            f'<text class="row" x="{left - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(row.name)}</text>'
        )
        dots = [(x(value), place) for place, value in enumerate(row.values) if value is not None]
        if dots:
            ends = f'x1="{dots[0][0]:.1f}" x2="{dots[-1][0]:.1f}"'
            parts.append(f'<line class="span" {ends} y1="{y:.1f}" y2="{y:.1f}"/>')
        parts += [
            f'<circle class="dot c{place}" cx="{at:.1f}" cy="{y:.1f}" r="5"/>' for at, place in reversed(dots)
        ]
    return "\n".join([*parts, "</svg>"])


def standalone(svg: str) -> str:
    """The same as a file of its own, with its colours."""
    head, _, rest = svg.partition(">")
    paper = '<rect width="100%" height="100%" style="fill: var(--paper)"/>'
    look = f"<style>{style.COLOURS}{style.PICTURES}</style>"
    return f'{head} xmlns="http://www.w3.org/2000/svg">\n{look}\n{paper}{rest}\n'


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), end) / end


def _shades(bands: Sequence[Band], end: float, top: int, height: int) -> list[str]:
    """Injections are shaded; of phases every other one is, lightly, to show where one ends."""
    found, phases = [], 0
    for band in bands:
        if band.kind != "injection":
            phases += 1
            if phases % 2:
                continue
        left, right = _x(band.begin, end), _x(band.end, end)
        shade = "injection" if band.kind == "injection" else "band"
        found.append(
            f'<rect class="{shade}" x="{left:.1f}" y="{top - 4}" width="{max(1.0, right - left):.1f}" '
            f'height="{height - top - BOTTOM + 4}"/>'
        )
    return found


def _names(bands: Sequence[Band], end: float) -> tuple[list[str], int]:
    """The names, each in the lowest row where it overlaps none before it; and how many rows that takes."""
    placed: list[tuple[int, float, str]] = []
    free: list[float] = []
    for band in sorted(bands, key=lambda band: band.begin):
        wide = LETTER * len(band.name) + 6
        left = min(_x(band.begin, end), WIDTH - wide)
        row = next((number for number, until in enumerate(free) if until <= left), len(free))
        free[row : row + 1] = [left + wide]
        placed.append((row, left, band.name))
    base = 12 + (len(free) - 1) * ROW
    return [
        f'<text class="name" x="{left:.1f}" y="{base - row * ROW}">{escape(name)}</text>'
        for row, left, name in placed
    ], len(free)


class _Scale:
    """From values to heights."""

    def __init__(self, panel: Panel, top: int) -> None:
        values = [y for line in panel.lines for _, y in line.points]
        most, least = max([panel.least, *values]), min(values, default=0.0)
        self.top, self.height, self.log = top, panel.height, panel.log
        if panel.log:
            positive = [y for y in values if y > 0]
            self.low = 10.0 ** math.floor(math.log10(min(positive, default=1.0)))
            self.high = max(self.low * 10, 10.0 ** math.ceil(math.log10(most)))
            decades = round(math.log10(self.high / self.low))
            self.ticks = [self.low * 10.0**power for power in range(decades + 1)]
            return
        if panel.from_zero or least <= 0:
            self.low, self.high = 0.0, ceiling(most)
            self.ticks = [self.high * part for part in (0.0, 0.5, 1.0)]
            return
        step = ceiling(max(most - least, most * 0.05) / 2)
        self.low, self.high = math.floor(least / step) * step, math.ceil((most + step / 4) / step) * step
        steps = round((self.high - self.low) / step)
        self.ticks = [self.low + step * number for number in range(steps + 1)]

    def y(self, value: float) -> float:
        if self.log:
            value = max(value, self.low)
            part = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.top + self.height * (1 - part)


def _panel(panel: Panel, end: float, top: int) -> list[str]:
    scale = _Scale(panel, top)
    right = WIDTH - RIGHT
    parts = [f'<text class="title" x="{LEFT}" y="{top - 6}">{escape(panel.title)}</text>']
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        if panel.tick is not plain or float(tick).is_integer():
            shown = escape(panel.tick(tick))
            parts.append(
                f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>'
            )
    labels = []
    for line in panel.lines:
        if not line.points:
            continue
        path = _path(line.points, end, scale, steps=panel.steps)
        dashed = " dashed" if line.dashed else ""
        parts.append(f'<path class="line c{line.colour}{dashed}" d="{path}"/>')
        labels.append((scale.y(line.points[-1][1]), line.name, line.colour))
    return parts + _labels(labels)


def _labels(labels: list[tuple[float, str, int]]) -> list[str]:
    """Names at the ends of their lines, pushed apart where they would overlap."""
    found, above = [], math.inf
    for y, name, colour in sorted(labels, reverse=True):
        y = min(y + 4, above - 14)
        above = y
        found.append(
            f'<text class="label c{colour}" x="{WIDTH - RIGHT + 8}" y="{y:.1f}">{escape(name)}</text>'
        )
    return found


def _path(points: Points, end: float, scale: _Scale, *, steps: bool) -> str:
    words = []
    before: float | None = None
    for at, value in points:
        x, y = _x(at, end), scale.y(value)
        if before is None:
            words.append(f"M{x:.1f} {y:.1f}")
        elif steps and y != before:
            words.append(f"H{x:.1f}V{y:.1f}")
        else:
            words.append(f"L{x:.1f} {y:.1f}")
        before = y
    return "".join(words)


def _times(end: float, height: int) -> list[str]:
    """The axis of time: a handful of round seconds, or minutes where it is long."""
    unit, name = (60.0, "min") if end > 300 else (1.0, "s")
    step = ceiling(end / unit / 6)
    y = height - BOTTOM + 18
    found = []
    for number in range(int(end / unit / step) + 1):
        at = number * step
        x = _x(at * unit, end)
        found.append(f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{at:g} {name}</text>')
    return found


def ceiling(value: float) -> float:
    """The next round number: 1, 2, 4 or 5 times a power of ten; 1 at least."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 5, 10) if power * factor >= value)
