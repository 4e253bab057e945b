"""Durations and sizes, as people write them in a configuration.

A duration is seconds as a float once it is loaded, a size is bytes as an int. A bare number other than 0 is
refused for a duration: half of the readers would take it for milliseconds.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DURATION_HINT = "a duration like 250ms, 60s, 5m or 1h30m"
DURATION_PATTERN = r"^\s*(0|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+)\s*$"
"""As JSON Schema says it."""
SIZE_HINT = "a size like 64KiB, 16MiB or 1GiB, or a number of bytes"

_SECONDS = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("i", 1024), ("B", 1000))
}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,60})?)(us|ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})")
_LONGEST = 10 * 365 * 86400.0


def parse_duration(value: object) -> float:
    """Return the seconds that `value` (text, or the number 0) stands for.

    Raises ValueError, with what would be right, for anything else and for more than ten years.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    text = value.strip() if isinstance(value, str) else ""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"is not {DURATION_HINT}")
    seconds = float(sum(Decimal(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))
    if seconds > _LONGEST:
        raise ValueError("is longer than ten years")
    return seconds


def render_duration(seconds: float) -> str:
    """Return `seconds` as text that `parse_duration` reads back to the same float."""
    if seconds >= 60 and seconds % 3600 == 0:
        return f"{int(seconds) // 3600}h"
    if seconds > 60 and seconds % 60 == 0:
        return f"{int(seconds) // 60}m"
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    milliseconds = round(seconds * 1000)
    if milliseconds and parse_duration(f"{milliseconds}ms") == seconds:
        return f"{milliseconds}ms"
    return f"{Decimal(repr(seconds)):f}s"


def parse_size(value: object) -> int:
    """Return the bytes that `value` (text, or a number of them) stands for; raises ValueError with a hint."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    factor = _BYTES.get(found[2]) if found else None
    if found is None or factor is None:
        raise ValueError(f"is not {SIZE_HINT}")
    size = Decimal(found[1]) * factor
    if size != int(size):
        raise ValueError("is not a whole number of bytes")
    return int(size)


def render_size(size: int) -> str:
    """Return `size` in the largest binary unit that divides it; `parse_size` reads it back."""
    if size == 0:
        return "0B"
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if not seconds > 0 or math.isinf(seconds):
        raise ValueError("must be more than 0")
    return seconds


def _positive_size(value: object) -> int:
    size = parse_size(value)
    if size < 1:
        raise ValueError("must be at least one byte")
    return size


_DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "description": DURATION_HINT,
    "examples": ["250ms", "60s", "5m"],
}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)? ?([KMGT](iB|i|B)|B)?\s*$"},
        {"type": "integer", "minimum": 0},
    ],
    "description": SIZE_HINT,
    "examples": ["16MiB"],
}

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(render_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds; 0 is allowed."""

PositiveDuration = Annotated[
    float,
    BeforeValidator(_positive_duration),
    PlainSerializer(render_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds, more than 0."""

Size = Annotated[
    int,
    BeforeValidator(_positive_size),
    PlainSerializer(render_size, return_type=str),
    WithJsonSchema(_SIZE_SCHEMA),
]
"""Bytes, at least 1."""
