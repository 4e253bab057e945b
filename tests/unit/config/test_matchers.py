"""Matchers are Alertmanager's: their syntax, their anchoring, and what they make of a label that is not there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.matchers import Matcher, MatcherError, MatchOp, matches, parse_matchers

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ('severity="critical"', {"severity": "critical"}, True),
        ('severity="critical"', {"severity": "warning"}, False),
        ('severity="critical"', {}, False),
        ('team=""', {}, True),
        ('team=""', {"team": "a"}, False),
        ('team!=""', {}, False),
        ('team!="a"', {}, True),
        ('namespace=~"prod-.*"', {"namespace": "prod-api"}, True),
        ('namespace=~"prod"', {"namespace": "prod-api"}, False),
        ('namespace=~"prod"', {"namespace": "my-prod"}, False),
        ('namespace=~"a|b"', {"namespace": "ab"}, False),
        ('namespace=~"a|b"', {"namespace": "b"}, True),
        ('namespace=~".*"', {}, True),
        ('namespace=~".+"', {}, False),
        ('namespace!~"prod-.*"', {"namespace": "test"}, True),
        ('namespace!~"prod-.*"', {"namespace": "prod-api"}, False),
        ('namespace!~"prod-.*"', {}, True),
        ("namespace=~prod-.*", {"namespace": "prod-api"}, True),
        ('env=~"(?i:prod)"', {"env": "PROD"}, True),
        (r'pod=~"web-\d+"', {"pod": "web-12"}, True),
        (r'pod=~"web-\\d+"', {"pod": "web-12"}, True),
        ('name=~"é."', {"name": "éß"}, True),
        ('name=~"a.b"', {"name": "a\nb"}, False),
    ],
)
def test_a_matcher_matches_as_alertmanager_does(text: str, labels: dict[str, str], expected: bool) -> None:
    assert matches(parse_matchers(text), labels) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a="b"', [("a", "=", "b")]),
        (" a = b ", [("a", "=", "b")]),
        ('{a="b",c!="d"}', [("a", "=", "b"), ("c", "!=", "d")]),
        ('a="b", c=~"d,e",', [("a", "=", "b"), ("c", "=~", "d,e")]),
        ('"with space"="x"', [("with space", "=", "x")]),
        ('a="say \\"hi\\"\\n\\\\"', [("a", "=", 'say "hi"\n\\')]),
        ("a!~b", [("a", "!~", "b")]),
        ('été="x"', [("été", "=", "x")]),
        ('a=""', [("a", "=", "")]),
    ],
)
def test_all_forms_are_read(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(found.name, found.op, found.value) for found in parse_matchers(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no matcher"),
        ("{}", "no matcher"),
        ("a", "one of =, !=, =~ and !~ is missing at character 2"),
        ("a=", "a value is missing at character 3"),
        ('="b"', "the name of a label is missing at character 1"),
        ('""="b"', "needs the name of a label"),
        ('a="b', "never closed at character 3"),
        ('{a="b"', "'}' is missing"),
        ('a="b"}', "unexpected '}'"),
        ('a="b" c="d"', "unexpected 'c'"),
        ('a=~"("', "no RE2 expression: missing )"),
        (r'a=~"(a)\1"', "no RE2 expression"),
        ('a=~"(?=a)"', "no RE2 expression"),
        ('a=~"a)|(b"', "no RE2 expression"),
    ],
)
def test_a_bad_matcher_says_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(MatcherError) as caught:
        parse_matchers(text)
    assert message in str(caught.value)


@given(TEXTS.filter(bool), st.sampled_from(["=", "!="]), TEXTS)
def test_every_matcher_reads_back_what_it_shows(name: str, op: str, value: str) -> None:
    matcher = Matcher(name, MatchOp(op), value)
    assert parse_matchers(str(matcher)) == (matcher,)


@given(TEXTS)
def test_any_text_is_read_or_refused_as_a_matcher_error(text: str) -> None:
    try:
        found = parse_matchers(text)
    except MatcherError:
        return
    assert found


@given(st.text())
def test_any_value_can_be_matched_against_an_expression(value: str) -> None:
    assert matches(parse_matchers('a=~"(?s).*"'), {"a": value})


def test_an_expression_takes_time_linear_in_what_a_sender_puts_into_a_label() -> None:
    matchers = parse_matchers('a=~".*x.*x.*x.*x.*y",b=~"(a+)+b"')
    began = time.process_time()
    assert not matches(matchers, {"a": "x" * 65536})
    assert not matches(matchers[1:], {"b": "a" * 65536})
    assert time.process_time() - began < 1


def test_verdicts_stay_right_however_many_values_were_seen() -> None:
    matchers = parse_matchers('a=~"v.*[05]"')
    for number in range(5000):
        assert matches(matchers, {"a": f"v{number}"}) is (number % 5 == 0)
    assert matches(matchers, {"a": "v" * 1000 + "0"})
