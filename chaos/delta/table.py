"""The difference of two expositions for people, as a table, and for scripts, as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from chaos.delta.comparing import QUANTILES, Delta, Gauge, Growth, Observed
from chaos.exposition import Series

_NAMED = tuple(f"p{share * 100:g}" for share in QUANTILES)
_NONE = "–"
_SECONDS = "_seconds"


def render(delta: Delta, *, everything: bool = False) -> str:
    """The table; without `everything` what stayed as it was is only counted."""
    lines = [_head(delta)]
    if delta.restarted:
        lines += ["", *_restart(delta)]
    lines += _block("counters", ("growth", "a second"), _counters(delta, everything=everything))
    lines += _block("gauges", ("before", "after", "change"), _gauges(delta, everything=everything))
    lines += _block(
        "histograms", ("count", "a second", "mean", *_NAMED), _histograms(delta, everything=everything)
    )
    if not everything and (left := _unchanged(delta)):
        lines += ["", f"{left} series stayed as they were (--all shows them)."]
    return "\n".join(lines) + "\n"


def to_json(delta: Delta) -> dict[str, Any]:
    """Everything; what is unknown is null."""
    return {
        "seconds": delta.seconds,
        "families": delta.families,
        "restarted": delta.restarted,
        "fallen": [_name(series) for series in delta.fallen],
        "counters": [
            {
                **_named(row.series),
                "before": row.before,
                "after": row.after,
                "growth": row.grown,
                "rate": _rate(delta, row.grown),
            }
            for row in delta.counters
        ],
        "gauges": [
            {**_named(row.series), "before": _finite(row.before), "after": _finite(row.after)}
            for row in delta.gauges
        ],
        "histograms": [
            {
                **_named(row.series),
                "count": row.count,
                "rate": _rate(delta, row.count),
                "sum": row.total,
                "mean": _finite(row.mean),
                **{name: _finite(row.quantile(share)) for name, share in zip(_NAMED, QUANTILES, strict=True)},
            }
            for row in delta.histograms
        ],
    }


def _head(delta: Delta) -> str:
    time = "an unknown time" if delta.seconds is None else f"{delta.seconds:,.1f} s"
    return f"{delta.families} families over {time}"


def _restart(delta: Delta) -> list[str]:
    lines = ["THE PROCESS WAS STARTED ANEW between the two: growth is what its counters show since then."]
    fallen = [_name(series) for series in delta.fallen]
    if fallen:
        more = f" and {len(fallen) - 3} more" if len(fallen) > 3 else ""
        lines.append(f"Counters that went back: {', '.join(fallen[:3])}{more}.")
    return lines


def _counters(delta: Delta, *, everything: bool) -> Iterable[tuple[Series, tuple[str, ...]]]:
    for row in delta.counters:
        if everything or _moved(row):
            yield row.series, (number(row.grown), _per_second(delta, row.grown))


def _gauges(delta: Delta, *, everything: bool) -> Iterable[tuple[Series, tuple[str, ...]]]:
    for row in delta.gauges:
        if everything or _moved(row):
            known = row.before is not None and row.after is not None
            change = f"{row.after - row.before:+,.6g}" if known else _NONE  # type: ignore[operator]
            yield row.series, (number(row.before), number(row.after), change)


def _histograms(delta: Delta, *, everything: bool) -> Iterable[tuple[Series, tuple[str, ...]]]:
    for row in delta.histograms:
        if everything or _moved(row):
            show = duration if row.series.name.endswith(_SECONDS) else number
            quantiles = (show(row.quantile(share)) for share in QUANTILES)
            yield row.series, (number(row.count), _per_second(delta, row.count), show(row.mean), *quantiles)


def _moved(row: Growth | Gauge | Observed) -> bool:
    if isinstance(row, Gauge):
        return row.before != row.after
    return bool(row.grown if isinstance(row, Growth) else row.count)


def _unchanged(delta: Delta) -> int:
    rows: tuple[Growth | Gauge | Observed, ...] = (*delta.counters, *delta.gauges, *delta.histograms)
    return sum(not _moved(row) for row in rows)


def _block(title: str, columns: Sequence[str], rows: Iterable[tuple[Series, tuple[str, ...]]]) -> list[str]:
    """A heading, and under each family's name its series; empty without any."""
    lines: list[tuple[str, tuple[str, ...]]] = []
    family = ""
    for series, cells in rows:
        if not series.labels:
            lines.append((series.name, cells))
        else:
            if series.name != family:
                lines.append((series.name, ()))
            lines.append((f"  {_labels(series)}", cells))
        family = series.name
    if not lines:
        return []
    table = [(title, tuple(columns)), *lines]
    width = max(len(name) for name, _ in table)
    widths = [max(len(cells[column]) for _, cells in table if cells) for column in range(len(columns))]
    return ["", *(_line(name, width, cells, widths) for name, cells in table)]


def _line(name: str, width: int, cells: Sequence[str], widths: Sequence[int]) -> str:
    right = "".join(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=False))
    return f"{name:<{width}}{right}".rstrip()


def number(value: float | None) -> str:
    """A figure for people: whole ones with thousands apart, others with six digits at the most."""
    if value is None or math.isnan(value):
        return _NONE
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def duration(seconds: float) -> str:
    """Seconds for people: with a unit in which they are neither tiny nor huge."""
    if math.isnan(seconds):
        return _NONE
    if seconds >= 1 or seconds == 0:
        return f"{seconds:,.3g} s" if seconds < 100 else f"{seconds:,.0f} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def _rate(delta: Delta, grown: float) -> float | None:
    return None if delta.seconds is None else grown / delta.seconds


def _per_second(delta: Delta, grown: float) -> str:
    rate = _rate(delta, grown)
    return _NONE if rate is None else f"{rate:,.3f}" if rate < 10 else f"{rate:,.1f}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _named(series: Series) -> dict[str, Any]:
    return {"name": series.name, "labels": dict(series.labels)}


def _labels(series: Series) -> str:
    return ", ".join(f'{key}="{found}"' for key, found in series.labels)


def _name(series: Series) -> str:
    return f"{series.name}{{{_labels(series)}}}" if series.labels else series.name
