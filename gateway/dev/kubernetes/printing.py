"""Tables: what `kubectl get` shows, computed here because the API server, not kubectl, knows the columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from gateway.dev.kubernetes.kinds import Column, Kind
from gateway.dev.kubernetes.store import Stored

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}
_STEP = re.compile(r"\.((?:\\.|[^.\[\]\\])+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")


def definitions(kind: Kind) -> list[dict[str, Any]]:
    """The table's columns: the name, then those of the kind."""
    return [
        _NAME,
        *(
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in kind.columns
        ),
    ]


def table(
    kind: Kind,
    rows: Iterable[Stored],
    now: datetime,
    *,
    metadata: dict[str, Any],
    include: str = "Metadata",
    with_columns: bool = True,
) -> dict[str, Any]:
    """A `Table`. `include` is what each row carries beside its cells: `Metadata`, `Object` or `None`.

    Without columns, as in a watch after its first event, only the rows are given.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions(kind) if with_columns else None,
        "rows": [_row(kind, stored, now, include) for stored in rows],
    }


def partial(stored: Stored) -> dict[str, Any]:
    """The object as `PartialObjectMetadata`."""
    return _partial(stored.body())


def _partial(body: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]}


def _row(kind: Kind, stored: Stored, now: datetime, include: str) -> dict[str, Any]:
    body = stored.body()
    beside: dict[str, Any] | None = None
    if include == "Object":
        beside = body
    elif include != "None":
        beside = _partial(body)
    cells = [stored.name, *(_cell(column, body, now) for column in kind.columns)]
    return {"cells": cells, "object": beside}


def _cell(column: Column, body: dict[str, Any], now: datetime) -> Any:
    value: Any = body
    for step in _STEP.finditer(column.path):
        name, index, quoted = step.groups()
        if index is not None:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            key = re.sub(r"\\(.)", r"\1", name if quoted is None else quoted)
            value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return None
    match column.type:
        case "date":
            return age(value, now)
        case "integer" | "number":
            return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case _:
            return value if isinstance(value, str) else str(value)


def age(timestamp: str, now: datetime) -> str:
    """How long ago, as kubectl says it: `5s`, `2m30s`, `45m`, `3h10m`, `2d4h`, `20d`, `2y30d`."""
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    seconds = int((now - then.astimezone(UTC)).total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(high: int, high_unit: str, low: int, low_unit: str) -> str:
    return f"{high}{high_unit}{low}{low_unit}" if low else f"{high}{high_unit}"
