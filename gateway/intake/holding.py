"""Which new alerts are held in a window of their group, and how: the first rule that matches decides.

Only an alert without an open request asks. What it gets opens its group's window, if there is none yet; a window that
is open goes on as it was opened.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.config.matchers import Matcher, matches
from gateway.config.settings import Storm
from gateway.model import Hold

SECTION = "storm"
"""The name of what decides where no rule does."""


class _Rule(msgspec.Struct, frozen=True):
    matchers: tuple[Matcher, ...]
    decision: tuple[Hold | None, str]


class HoldPolicy:
    """The storm rules of the settings, compiled once. Immutable."""

    def __init__(self, settings: Storm) -> None:
        self._rules = tuple(
            _Rule(
                rule.matchers,
                (
                    None if rule.mode == "immediate" else _hold(settings.under(rule)),
                    f"{SECTION}.rules[{number}]",
                ),
            )
            for number, rule in enumerate(settings.rules)
        )
        self.otherwise: tuple[Hold | None, str] = (_hold(settings), SECTION)
        """The decision where no rule matches."""
        self.takes_all_alike = not self._rules
        """True where every alert gets `otherwise`, so that nobody needs to know its labels."""

    def decide(self, labels: Mapping[str, str]) -> tuple[Hold | None, str]:
        """Return how the alert of which matchers see these labels (`classification.visible`) is held, None for not at
        all, and what decided: `storm.rules[0]`, or `storm`.
        """
        for rule in self._rules:
            if matches(rule.matchers, labels):
                return rule.decision
        return self.otherwise


def _hold(settings: Storm) -> Hold:
    return Hold(
        threshold=settings.threshold,
        hold=_milliseconds(settings.hold),
        inactivity=_milliseconds(settings.inactivity),
        max_window=_milliseconds(settings.max_window),
        early=settings.emit == "on_threshold",
        buffer_size=settings.buffer_size,
        max_alerts=settings.max_alerts,
    )


def _milliseconds(seconds: float) -> int:
    """Return the nearest number of milliseconds; a duration that is more than 0 stays so."""
    return max(1, round(seconds * 1000))
