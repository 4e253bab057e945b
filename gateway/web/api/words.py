"""What a route says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.web.problems import Reason

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A value as it is sent. Tests send every request, and hold every answer against its schema."""

    summary: str
    value: Any
    answer: int | None = None
    """The status that such a request gets where nothing is amiss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer with 2xx."""

    description: str
    body: type[msgspec.Struct] | None = None
    """What it is encoded from; None where it is no JSON of ours."""
    media: tuple[str, ...] = (JSON,)
    examples: Mapping[str, Example] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A body that is taken."""

    description: str
    body: type[msgspec.Struct]
    """What it is decoded to …"""
    examples: Mapping[str, Example]
    parts: tuple[type[msgspec.Struct], ...] = ()
    """… and what is decoded of it later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """The last segment of the path."""

    description: str
    schema: Mapping[str, Any]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of a route."""

    name: str
    """Its `operationId`."""
    tag: str
    summary: str
    description: str = ""
    answers: Mapping[int, Answered]
    errors: frozenset[Reason] = frozenset()
    """Its own ones, beside those of `errors.EVERYWHERE` and `errors.GUARDED`."""
    more: Mapping[Reason, type[msgspec.Struct]] = field(default_factory=dict)
    """Problems with members beyond those that every problem has."""
    takes: Taken | None = None
    parameter: Parameter | None = None
    slash: bool = False
    """Listed with a trailing slash, too. Every path may have one; senders ask about this one's."""
