"""Figures with their units: how each is written for people, everywhere in the report."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

NONE = "–"


class Unit(StrEnum):
    """What a figure counts; the value is its name in JSON."""

    COUNT = "count"
    MILLISECONDS = "ms"
    SHARE = "share"
    """0 to 1; written in per cent."""
    RATE = "per second"
    BYTES = "bytes"
    SECONDS = "s"
    CORES = "cores"
    RATIO = "ratio"
    EACH = "each"
    """So many for one of something; small numbers matter."""
    MICROSECONDS = "µs"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured, or reckoned from what was; None where there is none."""

    value: float | None
    unit: Unit = Unit.COUNT

    def __str__(self) -> str:
        return written(self.value, self.unit)


def written(value: float | None, unit: Unit) -> str:
    """The value for people."""
    if value is None or math.isnan(value):
        return NONE
    match unit:
        case Unit.MILLISECONDS:
            return f"{value / 1000:,.2f} s" if abs(value) >= 1000 else f"{digits(value)} ms"
        case Unit.MICROSECONDS:
            return f"{value / 1000:,.2f} ms" if abs(value) >= 1000 else f"{digits(value)} µs"
        case Unit.SHARE:
            return percent(value)
        case Unit.RATE:
            return f"{digits(value)}/s"
        case Unit.BYTES:
            return size(value)
        case Unit.SECONDS:
            return lasting(value)
        case Unit.CORES:
            return f"{value:.2f}"
        case Unit.RATIO:
            return f"{digits(value)} ×"
        case Unit.EACH:
            return small(value)
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.2f}"


def round_figure(figure: Figure) -> str:
    """The figure without zeros behind the point: a limit is round because somebody chose it."""
    return re.sub(r"\.0+(?=\D|$)", "", re.sub(r"(\.\d*?[1-9])0+(?=\D|$)", r"\1", str(figure)))


def digits(value: float) -> str:
    """Three digits that count, no more than the measurement is worth."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percent(value: float) -> str:
    """Never rounded up to 100 %, nor down to 0."""
    if value in (0.0, 1.0):
        return f"{value * 100:.0f} %"
    shown = f"{value * 100:.2f}"
    if shown == "100.00":
        return "> 99.99 %"
    return "< 0.01 %" if shown == "0.00" else f"{shown} %"


def small(value: float) -> str:
    """A number near 0, or not; what is above 0 is never written as 0."""
    if 0 < value < 1e-4:
        return "< 0.0001"
    if abs(value) >= 10 or value == 0:
        return f"{value:,.1f}" if value else "0"
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def size(value: float) -> str:
    """Bytes in the unit that leaves a handful of digits."""
    for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if abs(value) >= 1 << power:
            return f"{digits(value / (1 << power))} {name}"
    return f"{value:,.0f} B"


def lasting(seconds: float) -> str:
    """A time: `2 h 5 min`, `6 min 30 s`, `45.2 s`."""
    if abs(seconds) < 60:
        return f"{digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [
        f"{hours} h" * bool(hours),
        f"{minutes} min" * bool(minutes),
        f"{rest} s" * bool(rest and not hours),
    ]
    return " ".join(part for part in parts if part)
