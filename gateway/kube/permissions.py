"""Which permissions the API server refused lately, for people who are to grant them.

A refusal is remembered until the same call passes, or is not refused again for a while: what is refused is tried
again far more often than that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from gateway.kube.observing import Verb

REMEMBERED: Final = 60.0
"""Seconds."""
MOST: Final = 20
"""Refusals that are told at a time."""

Place = tuple[str, str, str]
"""Verb, resource and namespace; an empty namespace stands for all of them."""


class Permissions:
    """What was refused, as far as it still seems to be."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._refused: dict[Place, float] = {}

    def refused(self, verb: Verb, path: str) -> None:
        """A call was answered with 403 because the permission is missing."""
        place = placed(verb, path)
        if place in self._refused or len(self._refused) < MOST:
            self._refused[place] = self._clock()

    def passed(self, verb: Verb, path: str) -> None:
        """A call was not refused."""
        if self._refused:
            self._refused.pop(placed(verb, path), None)

    def missing(self) -> list[str]:
        """One line for each, like `create remediationrequests in namespace prod`."""
        oldest = self._clock() - REMEMBERED
        self._refused = {place: at for place, at in self._refused.items() if at > oldest}
        return [_line(place) for place in sorted(self._refused)]


def placed(verb: Verb, path: str) -> Place:
    """What a call needs permission for; `path` without a query."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]  # /api/v1/…, /apis/GROUP/VERSION/…
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = unquote(parts[1]), parts[2:]
    word = Verb.CREATE if verb is Verb.PROBE else verb
    return word.value, parts[0] if parts else "", namespace


def _line(place: Place) -> str:
    verb, resource, namespace = place
    return f"{verb} {resource} in {f'namespace {namespace}' if namespace else 'all namespaces'}"
