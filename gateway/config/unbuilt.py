"""Keys whose feature is not built yet, in one table: what asks for one is told so at the start, never
ignored.

`REFUSED` keys promise something that an operator relies on (protection, durability, a record): anything but
the default stops the start. `WITHOUT_EFFECT` keys only tune a feature that does not act yet; they are
accepted, so that a file written for it can be used, and each that differs from its default makes one warning.
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
    Refusal("rate_limit.requests", lambda limit: limit != 0, "rate limits are not built yet; leave it at 0"),
    Refusal(
        "tracing.endpoint", lambda endpoint: endpoint is not None, "tracing is not built yet; leave it out"
    ),
)

WITHOUT_EFFECT = {
    "rate_limit.window": "rate limits",
    "rate_limit.by": "rate limits",
}
"""Path of the key → the feature that it waits for."""


def value_at(settings: Settings, path: str) -> Any:
    """Return the setting at a dotted path."""
    value: Any = settings
    for key in path.split("."):
        value = getattr(value, key)
    return value


def warnings(settings: Settings) -> list[str]:
    """Return one line for each key that was set and does nothing yet."""
    defaults = Settings()
    return [
        f"{path} has no effect yet: {feature} are not built"
        for path, feature in WITHOUT_EFFECT.items()
        if value_at(settings, path) != value_at(defaults, path)
    ]
