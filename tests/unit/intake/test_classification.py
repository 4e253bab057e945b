"""Severity, environment and priority: what decides each, and the defaults where nothing does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.intake.classification import (
    SEVERITIES,
    Classification,
    Classifier,
    EnvironmentBasis,
    SeverityBasis,
    classify_severity,
)
from gateway.model import Severity


def classify(
    *sets: str,
    environments: dict[str, str] | None = None,
    identity: str = "",
    source: str = "",
    **labels: str,
) -> Classification:
    classifier = Classifier(load(None, {}, sets).classify, (environments or {}).get)
    return classifier.classify({"alertname": "A", **labels}, identity=identity, source=source)


@pytest.mark.parametrize(
    ("label", "severity", "basis"),
    [
        ("critical", Severity.CRITICAL, SeverityBasis.LABEL),
        ("warning", Severity.WARNING, SeverityBasis.LABEL),
        ("info", Severity.INFO, SeverityBasis.LABEL),
        ("CRITICAL", Severity.CRITICAL, SeverityBasis.LABEL),
        (" Warning ", Severity.WARNING, SeverityBasis.LABEL),
        ("page", Severity.CRITICAL, SeverityBasis.SYNONYM),
        ("error", Severity.CRITICAL, SeverityBasis.SYNONYM),
        ("Fatal", Severity.CRITICAL, SeverityBasis.SYNONYM),
        ("warn", Severity.WARNING, SeverityBasis.SYNONYM),
        ("minor", Severity.WARNING, SeverityBasis.SYNONYM),
        ("none", Severity.INFO, SeverityBasis.SYNONYM),
        ("notice", Severity.INFO, SeverityBasis.SYNONYM),
        ("", Severity.WARNING, SeverityBasis.DEFAULT),
        ("purple", Severity.WARNING, SeverityBasis.DEFAULT),
        ("critical" * 10_000, Severity.WARNING, SeverityBasis.DEFAULT),
    ],
)
def test_a_severity_is_one_of_three(label: str, severity: Severity, basis: SeverityBasis) -> None:
    assert classify_severity(label) == (severity, basis)


def test_no_word_means_two_severities_and_all_are_lower_case() -> None:
    assert set(SEVERITIES.values()) == set(Severity)
    assert all(word == word.lower().strip() for word in SEVERITIES)
    assert all(SEVERITIES[severity.value] is severity for severity in Severity)


@pytest.mark.parametrize(
    ("labels", "environment", "basis"),
    [
        ({"environment": "staging", "namespace": "n"}, "staging", EnvironmentBasis.LABEL),
        ({"namespace": "n"}, "production", EnvironmentBasis.NAMESPACE),
        ({"environment": "  ", "namespace": "n"}, "production", EnvironmentBasis.NAMESPACE),
        ({"namespace": "elsewhere"}, "unknown", EnvironmentBasis.DEFAULT),
        ({"namespace": "blank"}, "unknown", EnvironmentBasis.DEFAULT),
        ({}, "unknown", EnvironmentBasis.DEFAULT),
    ],
)
def test_an_environment_is_the_alerts_own_else_its_namespaces(
    labels: dict[str, str], environment: str, basis: EnvironmentBasis
) -> None:
    found = classify(environments={"n": "production", "blank": " ", "": "never asked"}, **labels)
    assert (found.environment, found.environment_basis) == (environment, basis)


def test_the_label_of_the_environment_can_be_named() -> None:
    found = classify("classify.environment_label=env", env="qa", environment="ignored")
    assert found.environment == "qa"


@pytest.mark.parametrize(
    ("severity", "environment", "priority", "rule"),
    [
        ("critical", "production", "P0", "shipped: critical in production"),
        ("page", "prod", "P0", "shipped: critical in production"),
        ("critical", "Production", "P0", "shipped: critical in production"),
        ("critical", "staging", "P1", "shipped: critical"),
        ("critical", "preprod", "P1", "shipped: critical"),
        ("warning", "production", "P1", "shipped: warning in production"),
        ("warning", "staging", "P2", "shipped: warning"),
        ("purple", "staging", "P2", "shipped: warning"),
        ("info", "production", "P3", "shipped: info"),
        ("info", "", "P3", "shipped: info"),
    ],
)
def test_the_shipped_rules_weigh_severity_and_environment(
    severity: str, environment: str, priority: str, rule: str
) -> None:
    found = classify(severity=severity, environment=environment)
    assert (found.priority, found.priority_rule) == (priority, rule)


RULES = (
    """classify.priority=[{matchers: ['severity="sev1"', 'environment="production"'], priority: P0}, """
    """{matchers: ['identity="team-a"'], priority: P3}, {matchers: ['source="10.0.0.1"'], priority: P1}, """
    """{matchers: ['alertname="Z"'], priority: P2}]"""
)


def test_configured_rules_come_first_and_see_the_labels_as_sent() -> None:
    found = classify(RULES, environments={"n": "production"}, namespace="n", severity="sev1")
    assert (found.priority, found.priority_rule) == ("P0", "classify.priority[0]")
    assert classify(RULES, severity="critical").priority_rule == "shipped: critical"


def test_rules_see_who_sent_it_and_from_where() -> None:
    assert classify(RULES, identity="team-a", severity="critical").priority_rule == "classify.priority[1]"
    assert classify(RULES, source="10.0.0.1").priority_rule == "classify.priority[2]"


def test_a_label_cannot_pass_for_the_sender() -> None:
    assert classify(RULES, severity="info").priority == "P3"
    classifier = Classifier(load(None, {}, [RULES]).classify, {}.get)
    labels = {"alertname": "A", "severity": "warning", "identity": "team-a", "source": "10.0.0.1"}
    assert classifier.classify(labels, identity="", source="").priority_rule == "shipped: warning"


@given(st.dictionaries(st.text(), st.text()))
def test_any_labels_can_be_classified(labels: dict[str, str]) -> None:
    found = Classifier(load(None, {}).classify, {}.get).classify(labels, identity="", source="")
    assert found.priority in {"P0", "P1", "P2", "P3"}
    assert found.environment
