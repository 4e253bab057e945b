"""Which alerts are taken: the first rule that matches decides, else the default."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.config import settings as config
from gateway.config.matchers import Matcher, matches

DEFAULT_DENIED = "default_deny"
"""The reason of a denial that no rule asked for."""


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """Whether an alert is taken, and by which rule."""

    allowed: bool
    rule: str
    """`policy.rules[0]` or `policy.default`."""
    reason: str = ""
    """Why it is denied: a word from the settings, so one of a few. Empty where it is allowed."""


class _Rule(msgspec.Struct, frozen=True):
    matchers: tuple[Matcher, ...]
    judgement: Judgement


class Policy:
    """The policy of the settings, compiled once. Immutable."""

    def __init__(self, settings: config.Policy) -> None:
        self._rules = tuple(
            _Rule(rule.matchers, _judgement(rule.action, f"policy.rules[{number}]", rule.reason))
            for number, rule in enumerate(settings.rules)
        )
        self._default = _judgement(settings.default, "policy.default", DEFAULT_DENIED)
        self.takes_all = self._default.allowed and all(rule.judgement.allowed for rule in self._rules)
        """True where no alert can be denied, so that nobody needs to ask."""
        self.asks_environment = not self.takes_all and any(
            matcher.name == "environment" for rule in self._rules for matcher in rule.matchers
        )
        """True where a verdict can depend on the environment of an alert."""
        self.reasons = tuple(
            sorted(
                {DEFAULT_DENIED} | {rule.judgement.reason for rule in self._rules if rule.judgement.reason}
            )
        )
        """Every reason that a denial can have."""

    def judge(self, labels: Mapping[str, str]) -> Judgement:
        """Judge the alert of which matchers see these labels (`classification.visible`)."""
        for rule in self._rules:
            if matches(rule.matchers, labels):
                return rule.judgement
        return self._default


def _judgement(action: str, rule: str, reason: str) -> Judgement:
    allowed = action == "allow"
    return Judgement(allowed, rule, "" if allowed else reason)
