"""The first storm rule that matches decides how a new alert is held; what it leaves out, the section says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.config.quantities import render_duration
from gateway.config.settings import Storm, StormRule
from gateway.intake.holding import HoldPolicy
from gateway.model import Hold

DEFAULT = Hold(
    threshold=3,
    hold=60_000,
    inactivity=60_000,
    max_window=300_000,
    early=False,
    buffer_size=100,
    max_alerts=1000,
)
RULES = (
    """storm.rules=[{matchers: ['severity="critical"'], mode: immediate}, """
    """{matchers: ['namespace=~"prod-.*"'], hold: 20s, emit: on_threshold}, """
    """{matchers: ['environment="test"', 'source="10.0.0.1"'], threshold: 50, inactivity: 5s, max_window: 2m}]"""
)

OVERRIDES: dict[str, st.SearchStrategy[Any]] = {
    "threshold": st.integers(min_value=1, max_value=10),
    "hold": st.integers(min_value=1, max_value=60_000).map(lambda number: f"{number}ms"),
    "inactivity": st.integers(min_value=1, max_value=60_000).map(lambda number: f"{number}ms"),
    "max_window": st.integers(min_value=60_000, max_value=600_000).map(lambda number: f"{number}ms"),
    "emit": st.sampled_from(["on_close", "on_threshold"]),
}
RULE = st.builds(
    lambda value, mode, own: (
        value,
        {"matchers": [f'a="{value}"'], "mode": mode} | (own if mode == "hold" else {}),
    ),
    st.sampled_from("xyz"),
    st.sampled_from(["hold", "immediate"]),
    st.fixed_dictionaries({}, optional=OVERRIDES),
)


def policy(*sets: str) -> HoldPolicy:
    return HoldPolicy(load(None, {}, sets).storm)


def test_without_rules_every_alert_is_held_as_the_section_says() -> None:
    assert policy().takes_all_alike
    assert policy().decide({}) == policy().otherwise == (DEFAULT, "storm")
    changed = policy(
        "storm={threshold: 5, hold: 1500ms, inactivity: 2s, max_window: 1h, emit: on_threshold, "
        "buffer_size: 7, max_alerts: 70}"
    )
    assert changed.decide({"a": "b"}) == (Hold(5, 1500, 2000, 3_600_000, True, 7, 70), "storm")


def test_the_first_rule_that_matches_decides() -> None:
    found = policy(RULES)
    assert not found.takes_all_alike
    assert found.decide({"severity": "critical", "namespace": "prod-a"}) == (None, "storm.rules[0]")
    hold, rule = found.decide({"severity": "warning", "namespace": "prod-a"})
    assert rule == "storm.rules[1]"
    assert hold is not None
    assert (hold.hold, hold.early, hold.threshold, hold.max_window) == (20_000, True, 3, 300_000)
    hold, rule = found.decide({"environment": "test", "source": "10.0.0.1"})
    assert rule == "storm.rules[2]"
    assert hold == Hold(50, 60_000, 5000, 120_000, False, 100, 1000)
    assert found.decide({"environment": "test"}) == (DEFAULT, "storm")


def test_a_rule_without_anything_but_matchers_holds_as_the_section_does() -> None:
    hold, rule = policy("""storm.rules=[{matchers: ['a="b"']}]""", "storm.hold=5s").decide({"a": "b"})
    assert rule == "storm.rules[0]"
    assert hold is not None
    assert hold.hold == 5000


@given(st.lists(RULE, max_size=5), st.sampled_from("wxyz"))
def test_every_key_is_the_first_matching_rules_or_the_sections(rules: list[Any], value: str) -> None:
    written = [StormRule.model_validate(rule) for _, rule in rules]
    hold, decided = HoldPolicy(Storm(rules=tuple(written))).decide({"a": value})
    number = next((number for number, (matched, _) in enumerate(rules) if matched == value), None)
    if number is None:
        assert (hold, decided) == (DEFAULT, "storm")
        return
    assert decided == f"storm.rules[{number}]"
    own = rules[number][1]
    if own["mode"] == "immediate":
        assert hold is None
        return
    assert hold is not None
    for name in ("hold", "inactivity", "max_window"):
        expected = int(own[name].removesuffix("ms")) if name in own else getattr(DEFAULT, name)
        assert getattr(hold, name) == expected
    assert hold.threshold == own.get("threshold", 3)
    assert hold.early is (own.get("emit") == "on_threshold")
    assert (hold.buffer_size, hold.max_alerts) == (100, 1000)


@given(st.integers(min_value=1, max_value=10 * 365 * 86_400_000))
def test_whole_milliseconds_stay_what_they_are(milliseconds: int) -> None:
    hold, _ = policy(f"storm.inactivity={render_duration(milliseconds / 1000)}").otherwise
    assert hold is not None
    assert hold.inactivity == milliseconds


@pytest.mark.parametrize(("text", "milliseconds"), [("1us", 1), ("333us", 1), ("1600us", 2), ("1.4ms", 1)])
def test_a_time_below_a_millisecond_is_never_nothing(text: str, milliseconds: int) -> None:
    hold, _ = policy(f"storm.inactivity={text}").otherwise
    assert hold is not None
    assert hold.inactivity == milliseconds


def test_an_alert_is_held_as_matchers_see_it(make_desk: Any) -> None:
    desk = make_desk(RULES, environments={"n": "test"})
    assert desk.one(severity="critical").hold() is None
    assert desk.one(namespace="prod-a").hold().early
    assert desk.one(namespace="n").hold() == DEFAULT
    from_there = desk.one(namespace="n", caller={"source": "10.0.0.1"})
    assert from_there.hold().threshold == 50
    assert from_there.hold() == from_there.hold()


def test_severity_is_matched_as_it_was_sent(make_desk: Any) -> None:
    assert make_desk(RULES).one(severity="page").hold() == DEFAULT


def test_without_rules_nobody_classifies_an_alert_to_hold_it(make_desk: Any) -> None:
    class NotAsked(dict[str, str]):
        def get(self, *_: Any) -> Any:
            raise AssertionError("the environment was asked for")

    assert make_desk(environments=NotAsked(n="test")).one(namespace="n").hold() == DEFAULT


LABELS = st.dictionaries(
    st.sampled_from(["severity", "namespace", "environment", "source", "identity", "team"]),
    st.sampled_from(["", "critical", "prod-a", "test", "10.0.0.1"]),
)


@given(labels=LABELS, source=st.sampled_from(["", "10.0.0.1"]))
def test_asking_an_alert_is_asking_the_policy_with_what_is_visible(
    make_desk: Any, labels: dict[str, str], source: str
) -> None:
    reading = make_desk(RULES).one(caller={"source": source}, **labels)
    seen = {
        **labels,
        "environment": labels.get("environment") or "unknown",
        "identity": "",
        "source": source,
    }
    assert reading.hold() == policy(RULES).decide(seen)[0]
