"""What kind of problem an alert is: severity, environment and priority, each with what decided it.

Severity is read from the label `severity`, whatever its case: see `SEVERITIES`. The label itself stays as it
was sent. Environment is the alert's own label, else its Namespace's, else `unknown`. Priority is the first
rule that matches, the configured ones first. Those see the labels as they were sent, plus `environment`,
`identity` and `source`; the shipped ones see the severity as it was classified, so that `page` in production
is as urgent as `critical`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from gateway.config.matchers import Matcher, matches, parse_matchers
from gateway.config.settings import Classify
from gateway.model import Severity

EnvironmentOf = Callable[[str], str | None]
"""Returns the environment that a Namespace's own label names, from a cache; None where it names none."""

DEFAULT_SEVERITY = Severity.WARNING
UNKNOWN_ENVIRONMENT = "unknown"
DEFAULT_PRIORITY = "P2"

SEVERITIES: dict[str, Severity] = {
    word: severity
    for severity, words in {
        Severity.CRITICAL: (
            "critical crit fatal emergency emerg panic disaster alert page pager urgent severe high major "
            "error err"
        ),
        Severity.WARNING: "warning warn minor medium moderate average degraded",
        Severity.INFO: "info information informational notice notification low debug trace none ok",
    }.items()
    for word in words.split()
}
"""Values of the label, in lower case, and what they mean here. Any other, and a missing one, is
`DEFAULT_SEVERITY`.
"""


class SeverityBasis(StrEnum):
    """Where a severity came from."""

    LABEL = "label"
    """The label is one of the three words."""
    SYNONYM = "synonym"
    DEFAULT = "default"
    """The label is missing, or means nothing here."""


class EnvironmentBasis(StrEnum):
    """Where an environment came from."""

    LABEL = "label"
    NAMESPACE = "namespace"
    DEFAULT = "default"


class Classification(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What kind of problem an alert is, and why."""

    severity: Severity
    severity_basis: SeverityBasis
    environment: str
    environment_basis: EnvironmentBasis
    priority: str
    priority_rule: str
    """`classify.priority[0]`, `shipped: critical in production` or `default`."""


class _Rule(msgspec.Struct, frozen=True):
    name: str
    matchers: tuple[Matcher, ...]
    priority: str


_PRODUCTION = 'environment=~"(?i:prod|production)"'
_SHIPPED = tuple(
    _Rule(f"shipped: {name}", parse_matchers(text), priority)
    for name, text, priority in (
        ("critical in production", f'severity="critical",{_PRODUCTION}', "P0"),
        ("critical", 'severity="critical"', "P1"),
        ("warning in production", f'severity="warning",{_PRODUCTION}', "P1"),
        ("warning", 'severity="warning"', "P2"),
        ("info", 'severity="info"', "P3"),
    )
)


class Classifier:
    """Classifies alerts by the rules of the settings, compiled once. Immutable."""

    def __init__(self, settings: Classify, environment_of: EnvironmentOf) -> None:
        self._environment_label = settings.environment_label
        self._environment_of = environment_of
        self._rules = tuple(
            _Rule(f"classify.priority[{number}]", rule.matchers, rule.priority)
            for number, rule in enumerate(settings.priority)
        )

    def classify(self, labels: Mapping[str, str], *, identity: str, source: str) -> Classification:
        """Return what kind of problem the alert with these labels is."""
        severity, severity_basis = classify_severity(labels.get("severity", ""))
        environment, environment_basis = self.environment(labels)
        priority, rule = self._priority(visible(labels, environment, identity, source), severity)
        return Classification(severity, severity_basis, environment, environment_basis, priority, rule)

    def environment(self, labels: Mapping[str, str]) -> tuple[str, EnvironmentBasis]:
        """Return the environment and where it came from; never empty."""
        own = labels.get(self._environment_label, "").strip()
        if own:
            return own, EnvironmentBasis.LABEL
        namespace = labels.get("namespace")
        inherited = (self._environment_of(namespace) or "").strip() if namespace else ""
        if inherited:
            return inherited, EnvironmentBasis.NAMESPACE
        return UNKNOWN_ENVIRONMENT, EnvironmentBasis.DEFAULT

    def _priority(self, labels: dict[str, str], severity: Severity) -> tuple[str, str]:
        for rule in self._rules:
            if matches(rule.matchers, labels):
                return rule.priority, rule.name
        classified = {**labels, "severity": severity.value}
        for rule in _SHIPPED:
            if matches(rule.matchers, classified):
                return rule.priority, rule.name
        return DEFAULT_PRIORITY, "default"


def classify_severity(label: str) -> tuple[Severity, SeverityBasis]:
    """Return the severity that the value of a label means, and where it came from."""
    word = label.strip().lower() if len(label) <= 64 else ""
    severity = SEVERITIES.get(word)
    if severity is None:
        return DEFAULT_SEVERITY, SeverityBasis.DEFAULT
    return severity, SeverityBasis.LABEL if word == severity.value else SeverityBasis.SYNONYM


def visible(labels: Mapping[str, str], environment: str, identity: str, source: str) -> dict[str, str]:
    """Return what the matchers of a rule see. A label of one of the three names never stands in for the real
    one.
    """
    return {**labels, "environment": environment, "identity": identity, "source": source}
