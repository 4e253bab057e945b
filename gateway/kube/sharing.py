"""What many alerts have in common, and what is said of all of them at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil

from gateway.kube import fitting
from gateway.kube.members import Member
from gateway.model import Severity

MIXED = "mixed"
"""The environment of a storm whose members are in several. It is no name of an environment, so that no controller
takes a request that touches production for one that does not, or the reverse."""
COMMON_BUDGET = 48 * 1024
"""Stored bytes for the common labels, and as many for the common annotations."""
RESOURCES_BUDGET = 96 * 1024
"""Stored bytes of `affectedResources`; the members name every resource all the same."""


_WORST_FIRST = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
_MICROSECONDS = len("2026-01-31T09:00:00.000000")
_SECONDS = re.compile(r"([0-9]{1,9})s")


def shared_texts(
    first: Mapping[str, str], others: Iterable[Mapping[str, str]], *, cut: bool = False
) -> dict[str, str]:
    """Those of `first` that all others have, too. `cut`: values of `first` may be beginnings with an end mark."""
    shared = dict(first)
    for other in others:
        shared = {key: value for key, value in shared.items() if _agree(value, other.get(key), cut=cut)}
    return shared


def shared_environment(environments: Iterable[str]) -> str:
    """The one that all are in, or `MIXED`."""
    different = set(environments)
    return different.pop() if len(different) == 1 else MIXED


def worst(severities: Iterable[str]) -> str:
    different = set(severities)
    return next(
        (severity.value for severity in _WORST_FIRST if severity in different), Severity.WARNING.value
    )


def affected(members: Sequence[Member]) -> tuple[list[str], bool]:
    """The members' resources, each once and in order, and whether some are left out for want of room."""
    found: list[str] = []
    room = RESOURCES_BUDGET
    for resource in dict.fromkeys(member.resource for member in members if member.resource):
        room -= fitting.stored_size(resource) + len('"",')
        if room < 0:
            return found, True
        found.append(resource)
    return found, False


def length(first: str, last: str, *, at_least: str = "") -> str:
    """The seconds from `first` to `last` (RFC 3339, fixed width), rounded up, as a duration: "42s".

    Never less than `at_least`, if that is another such duration. What somebody else wrote in a form that cannot be
    read counts for nothing.
    """
    try:
        seconds = ceil((_moment(last) - _moment(first)).total_seconds())
    except ValueError:
        seconds = 0
    known = _SECONDS.fullmatch(at_least)
    return f"{max(seconds, int(known[1]) if known else 0)}s"


def _agree(value: str, other: str | None, *, cut: bool) -> bool:
    if other is None or value == other:
        return value == other
    return cut and value.endswith(fitting.CUT) and other.startswith(value.removesuffix(fitting.CUT))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:_MICROSECONDS]).replace(tzinfo=UTC)
