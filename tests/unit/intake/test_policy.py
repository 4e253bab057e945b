"""The first rule that matches decides, else the default; a denial has one of a few reasons."""

from __future__ import annotations

from gateway.config import load
from gateway.intake.policy import Judgement, Policy

RULES = (
    """policy.rules=[{matchers: ['namespace="kube-system"', 'severity="critical"'], action: allow}, """
    """{matchers: ['namespace=~"kube-.*"'], action: deny, reason: system_namespace}, """
    """{matchers: ['environment="test"'], action: deny}]"""
)


def policy(*sets: str) -> Policy:
    return Policy(load(None, {}, sets).policy)


def test_the_default_takes_everything_and_need_not_be_asked() -> None:
    assert policy().takes_all
    assert policy().judge({}) == Judgement(allowed=True, rule="policy.default")
    assert policy("""policy.rules=[{matchers: ['a="b"'], action: allow}]""").takes_all


def test_the_first_rule_that_matches_decides() -> None:
    found = policy(RULES)
    assert not found.takes_all
    assert found.judge({"namespace": "kube-system", "severity": "critical"}) == Judgement(
        allowed=True, rule="policy.rules[0]"
    )
    assert found.judge({"namespace": "kube-system", "environment": "test"}) == Judgement(
        allowed=False, rule="policy.rules[1]", reason="system_namespace"
    )
    assert found.judge({"environment": "test"}) == Judgement(
        allowed=False, rule="policy.rules[2]", reason="policy_rule"
    )
    assert found.judge({"namespace": "prod"}).allowed


def test_the_default_can_deny() -> None:
    found = policy("policy.default=deny", RULES)
    assert found.judge({"namespace": "prod"}) == Judgement(
        allowed=False, rule="policy.default", reason="default_deny"
    )
    assert found.judge({"namespace": "kube-system", "severity": "critical"}).allowed


def test_all_reasons_are_known_beforehand() -> None:
    assert policy(RULES).reasons == ("default_deny", "policy_rule", "system_namespace")
    assert policy().reasons == ("default_deny",)
