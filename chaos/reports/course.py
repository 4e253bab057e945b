"""The pictures of a scenario: what came and what became of it, the queue, the breakers, and injections."""

from __future__ import annotations

from chaos.reports.plots import Band, Line, Panel, draw
from chaos.verdicts import Verdict

PANELS = (
    ("alerts, in all", ("received", "created", "deduplicated"), 150, False),
    ("waiting to be written", ("queue",), 80, False),
    ("written directly, in all", ("fallback",), 80, False),
    ("open breakers, over all gateways", ("breaker Redis", "breaker Kubernetes"), 70, True),
)


def svg(verdict: Verdict) -> str:
    """The pictures of one scenario; empty where nothing was seen."""
    end = max((at for points in verdict.series.values() for at, _ in points), default=0.0)
    panels = [
        Panel(
            title,
            [Line(name, verdict.series.get(name, []), place) for place, name in enumerate(names)],
            height,
            steps=steps,
        )
        for title, names, height, steps in PANELS
    ]
    bands = [
        Band(span.name, span.begin, end if span.end is None else span.end)
        for span in verdict.spans
        if span.kind == "injection"
    ]
    return draw(f"{verdict.title}, over time", panels, bands, end=end)
