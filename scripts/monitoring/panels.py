"""Dashboards of Grafana as few words as possible: a panel is a question, why it is asked, and its queries.

Panels stand in rows, each row shares its width evenly. Ids and positions follow from the order, so that a changed
query is a changed line of the JSON and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

WIDTH: Final = 24
"""Columns of Grafana's grid."""
HEIGHT: Final = 8
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its lines are called (`{{label}}` stands for a label's value)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One question."""

    title: str
    why: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    unit: str = "short"
    words: Sequence[tuple[int, str, str]] = ()
    """Value, word and colour, where a value stands for a state."""
    thresholds: Sequence[tuple[float, str]] = ()
    """From which value on which colour; below the first it is green."""

    def render(self, number: int, place: Json) -> Json:
        targets = [
            {
                "refId": chr(ord("A") + position),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
            }
            for position, query in enumerate(self.queries)
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.why,
            "datasource": SOURCE,
            "gridPos": place,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": self._options(),
            "targets": targets,
        }

    def _defaults(self) -> Json:
        steps: list[Json] = [{"color": "green", "value": None}]
        steps += [{"color": color, "value": value} for value, color in self.thresholds]
        defaults: Json = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.words:
            options = {
                str(value): {"text": word, "color": color, "index": position}
                for position, (value, word, color) in enumerate(self.words)
            }
            defaults["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        return defaults

    def _options(self) -> Json:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        if self.kind == "stat":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
        return {"showValue": "never", "mergeValues": True, "legend": {"showLegend": False}}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side under a heading."""

    title: str
    panels: Sequence[Panel]
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Annotation:
    """Vertical lines where an expression is above zero."""

    name: str
    expr: str
    color: str
    text: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    annotations: Sequence[Annotation] = ()
    refresh: str = "30s"
    since: str = "now-6h"
    tags: Sequence[str] = field(default=("alert-gateway",))

    def queries(self) -> list[tuple[str, str]]:
        """(title of the panel, expression) of every query, those of annotations included."""
        asked = [(p.title, q.expr) for row in self.rows for p in row.panels for q in p.queries]
        return asked + [(one.name, one.expr) for one in self.annotations]

    def render(self) -> str:
        """Its JSON, as Grafana reads it from a file."""
        board = {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": list(self.tags),
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": self.refresh,
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "templating": {"list": _variables()},
            "annotations": {"list": [_annotation(one) for one in self.annotations]},
            "panels": self._panels(),
        }
        return json.dumps(board, indent=2, ensure_ascii=False) + "\n"

    def _panels(self) -> list[Json]:
        made: list[Json] = []
        top = 0
        for row in self.rows:
            heading = {"h": 1, "w": WIDTH, "x": 0, "y": top}
            made.append(
                {
                    "id": len(made) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": heading,
                    "panels": [],
                }
            )
            width = WIDTH // len(row.panels)
            for position, panel in enumerate(row.panels):
                place = {"h": row.height, "w": width, "x": position * width, "y": top + 1}
                made.append(panel.render(len(made) + 1, place))
            top += 1 + row.height
        return made


def _variables() -> list[Json]:
    instances = "label_values(gateway_build_info, instance)"
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Replica",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": instances, "refId": "instances"},
            "definition": instances,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
            "sort": 1,
        },
    ]


def _annotation(one: Annotation) -> Json:
    return {
        "name": one.name,
        "datasource": SOURCE,
        "enable": True,
        "expr": one.expr,
        "iconColor": one.color,
        "titleFormat": one.name,
        "textFormat": one.text,
        "step": "5s",
    }
