"""Keys whose feature is not built yet, in one table: what asks for one is told so at the start, never
ignored: anything but the default stops it.

Whoever builds a feature takes its line out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.config.settings import Settings


@dataclass(frozen=True)
class Refusal:
    """A value that cannot be used yet: its path, whether a value is meant, and what would be right."""

    path: str
    asks: Callable[[Any], bool]
    instead: str


REFUSED = (
    Refusal(
        "tracing.endpoint", lambda endpoint: endpoint is not None, "tracing is not built yet; leave it out"
    ),
)


def value_at(settings: Settings, path: str) -> Any:
    """Return the setting at a dotted path."""
    value: Any = settings
    for key in path.split("."):
        value = getattr(value, key)
    return value
