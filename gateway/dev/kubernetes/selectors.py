"""Label and field selectors: their grammar, and matching.

Labels follow Kubernetes' grammar: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`, `a<1`,
joined by commas. `!=` and `notin` also match objects without the label. Field selectors know `=`, `==` and `!=` on
the few fields that a kind offers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.dev.kubernetes.errors import bad_request
from gateway.dev.kubernetes.metadata import label_key_faults, label_value_faults
from gateway.dev.kubernetes.store import Stored

Matches = Callable[[Stored], bool]
_TOKEN = re.compile(r"\s*(?:(?P<operator>==|!=|[=!<>(),])|(?P<word>[^\s=!<>(),]+))")
_Test = Callable[[Mapping[str, str]], bool]


def label_selector(text: str) -> Matches | None:
    """What `text` selects; None for everything. Raises `ApiError` (400) for what is no selector."""
    if not text.strip():
        return None
    parser = _Labels(text)
    tests = parser.requirements()
    if len(tests) == 1:
        only = tests[0]
        return lambda stored: only(stored.labels)
    return lambda stored: all(test(stored.labels) for test in tests)


class _Labels:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:  # pragma: no cover - the two alternatives cover every character
                raise bad_request(f"unable to parse requirement: {text!r}")
            self._tokens.append(match["operator"] or match["word"])
            position = match.end()
        self._at = 0

    def requirements(self) -> list[_Test]:
        tests = [self._requirement()]
        while (token := self._next()) != "":
            if token != ",":
                raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
            tests.append(self._requirement())
        return tests

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _requirement(self) -> _Test:
        if self._peek() == "!":
            self._next()
            absent = self._key()
            return lambda labels: absent not in labels
        key = self._key()
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._next()
        match operator:
            case "=" | "==":
                value = self._value(key)
                return lambda labels: labels.get(key) == value
            case "!=":
                value = self._value(key)
                return lambda labels: labels.get(key) != value
            case "in":
                among = self._values(key)
                return lambda labels: labels.get(key) in among
            case "notin":
                others = self._values(key)
                return lambda labels: labels.get(key) not in others
            case ">" | "<":
                return self._ordered(key, operator)
        raise bad_request(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        key = self._next()
        if key in ("", ",", "(", ")", "=", "==", "!=", "<", ">"):
            raise bad_request(f"found '{key}', expected: !, identifier, or 'end of string'")
        if faults := label_key_faults(key):
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{key}": {faults[0]}')
        return key

    def _value(self, key: str) -> str:
        if self._peek() in ("", ","):
            return ""
        value = self._next()
        if value in ("(", ")", "=", "==", "!=", "<", ">", "!"):
            raise bad_request(f"found '{value}', expected: identifier")
        self._check(key, value)
        return value

    def _values(self, key: str) -> frozenset[str]:
        if self._next() != "(":
            raise bad_request("found something else, expected: '('")
        values: set[str] = set()
        current = ""
        while (token := self._next()) != ")":
            if token == "":
                raise bad_request("found '', expected: ',', or ')'")
            if token == ",":
                values.add(current)
                current = ""
            else:
                self._check(key, token)
                current = token
        values.add(current)
        return frozenset(values)

    def _ordered(self, key: str, operator: str) -> _Test:
        value = self._value(key)
        try:
            bound = int(value)
        except ValueError:
            message = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise bad_request(f"unable to parse requirement: values[0][{key}]: {message}") from None

        def compare(labels: Mapping[str, str]) -> bool:
            try:
                number = int(labels[key])
            except (KeyError, ValueError):
                return False
            return number > bound if operator == ">" else number < bound

        return compare

    def _check(self, key: str, value: str) -> None:
        if faults := label_value_faults(value):
            where = f'values[0][{key}]: Invalid value: "{value}"'
            raise bad_request(f"unable to parse requirement: {where}: {faults[0]}")


Field = Callable[[Stored], str]


def field_selector(text: str, fields: Mapping[str, Field]) -> Matches | None:
    """What `text` selects, by the fields that the kind offers; None for everything. Raises `ApiError` (400)."""
    tests: list[tuple[Field, str, bool]] = []
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        match = re.match(r"^([^=!]*)(==|!=|=)(.*)$", term, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        name, operator, value = match.groups()
        if name not in fields:
            raise bad_request(f"field label not supported: {name}")
        tests.append((fields[name], re.sub(r"\\([\\,=])", r"\1", value), operator != "!="))
    if not tests:
        return None
    return lambda stored: all((field(stored) == value) is wanted for field, value, wanted in tests)


def at_path(*path: str) -> Field:
    """The text at a path in an object's body, empty where there is none."""

    def read(stored: Stored) -> str:
        value: Any = stored.body()
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    return read


def both(first: Matches | None, second: Matches | None) -> Matches | None:
    """The conjunction of two selections."""
    if first is None or second is None:
        return first or second
    return lambda stored: first(stored) and second(stored)
