"""Alertmanager's matchers: `severity="critical"`, `namespace=~"prod-.*"`, compiled once and matched many
times.

The syntax is that of Alertmanager's UTF-8 parser: names and values may be quoted, an unquoted one ends at
white space or at one of `{}!=~,"'` and the backtick. One text may hold several matchers, `{a="b",c!="d"}`. A
label that an alert does not have counts as empty, so `team=""` matches an alert without a team. Regular
expressions are anchored at both ends and are RE2's, as in Alertmanager: that engine takes time linear in the
value, whatever a sender puts into it, which Python's own does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

import re2  # type: ignore[import-untyped]
from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

MATCHER_HINT = 'a matcher like severity="critical", team!="", namespace=~"prod-.*" or job!~".*-test"'

_RESERVED = frozenset("{}!=~,\"'`")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_QUOTING = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
"""Verdicts of short values are remembered, so the memory that senders can fill is bounded at some 256 KiB a
matcher.
"""


class MatchOp(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


class MatcherError(ValueError):
    """A matcher cannot be read; the message says why and shows where."""


class Matcher:
    """One comparison of one label. Immutable; equal where name, operator and value are."""

    __slots__ = ("_test", "name", "op", "value")

    name: str
    op: MatchOp
    value: str

    def __init__(self, name: str, op: MatchOp, value: str) -> None:
        """Compile; raises MatcherError where `name` is empty or `value` is no RE2 expression."""
        if not name:
            raise MatcherError("a matcher needs the name of a label")
        self.name = name
        self.op = op
        self.value = value
        self._test = _compile(op, value)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the alert with these labels is meant."""
        return self._test(labels.get(self.name, ""))

    def __str__(self) -> str:
        return f"{self.name if _is_bare(self.name) else _quoted(self.name)}{self.op}{_quoted(self.value)}"

    def __repr__(self) -> str:
        return f"<Matcher {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Matcher):
            return NotImplemented
        return (self.name, self.op, self.value) == (other.name, other.op, other.value)

    def __hash__(self) -> int:
        return hash((self.name, self.op, self.value))


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Say whether all of `matchers` match; True where there are none."""
    for matcher in matchers:  # noqa: SIM110 - this is asked for every alert, and a generator costs more
        if not matcher.matches(labels):
            return False
    return True


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of `text`, at least one; raises MatcherError."""
    return _Parser(text).matchers()


def _compile(op: MatchOp, value: str) -> Callable[[str], bool]:
    if op is MatchOp.EQUAL:
        return value.__eq__
    if op is MatchOp.NOT_EQUAL:
        return value.__ne__
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(value, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise MatcherError(f"{value!r} is no RE2 expression: {shown}") from error
    except UnicodeError as error:
        raise MatcherError(f"{value!r} is not text") from error
    wanted = op is MatchOp.REGEX

    def test(candidate: str) -> bool:
        try:
            found = expression.fullmatch(candidate)
        except UnicodeError:  # A lone surrogate, which only text from outside a JSON body can hold.
            found = expression.fullmatch(candidate.encode(errors="replace").decode())
        return (found is not None) is wanted

    remembered = lru_cache(maxsize=_REMEMBERED)(test)
    return lambda candidate: (remembered if len(candidate) <= _LONGEST_REMEMBERED else test)(candidate)


def _is_bare(text: str) -> bool:
    return bool(text) and not any(character in _RESERVED or character.isspace() for character in text)


def _quoted(text: str) -> str:
    return '"' + "".join(_QUOTING.get(character, character) for character in text) + '"'


class _Parser:
    """A recursive-descent reader of one text; positions in its errors count from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def matchers(self) -> tuple[Matcher, ...]:
        self._skip_space()
        braced = self._take("{")
        found = []
        while True:
            self._skip_space()
            if self._done() or (braced and self._peek() == "}"):
                break
            found.append(self._matcher())
            self._skip_space()
            if not self._take(","):
                break
        self._skip_space()
        if braced and not self._take("}"):
            raise self._error("'}' is missing")
        self._skip_space()
        if not self._done():
            raise self._error(f"unexpected {self._peek()!r}")
        if not found:
            raise MatcherError(f"there is no matcher in {self._text!r}")
        return tuple(found)

    def _matcher(self) -> Matcher:
        name = self._word("the name of a label")
        self._skip_space()
        op = next((op for op in ("=~", "!~", "!=", "=") if self._text.startswith(op, self._at)), None)
        if op is None:
            raise self._error("one of =, !=, =~ and !~ is missing")
        self._at += len(op)
        self._skip_space()
        return Matcher(name, MatchOp(op), self._word("a value"))

    def _word(self, what: str) -> str:
        if not self._done() and self._peek() == '"':
            return self._quoted()
        start = self._at
        while not self._done() and not (self._peek() in _RESERVED or self._peek().isspace()):
            self._at += 1
        if start == self._at:
            raise self._error(f"{what} is missing")
        return self._text[start : self._at]

    def _quoted(self) -> str:
        opened = self._at
        self._at += 1
        parts: list[str] = []
        while not self._done():
            character = self._peek()
            self._at += 1
            if character == '"':
                return "".join(parts)
            if character == "\\":
                following = self._text[self._at : self._at + 1]
                # `"prod-\d+"` is what people write: an unknown escape belongs to the expression.
                parts.append(_ESCAPES.get(following, f"\\{following}"))
                self._at += 1
            else:
                parts.append(character)
        self._at = opened
        raise self._error("this quote is never closed")

    def _done(self) -> bool:
        return self._at >= len(self._text)

    def _peek(self) -> str:
        return self._text[self._at]

    def _take(self, character: str) -> bool:
        if not self._done() and self._peek() == character:
            self._at += 1
            return True
        return False

    def _skip_space(self) -> None:
        while not self._done() and self._peek().isspace():
            self._at += 1

    def _error(self, message: str) -> MatcherError:
        return MatcherError(f"{message} at character {self._at + 1} of {self._text!r}")


def _from_setting(value: Any) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    for entry in value if isinstance(value, list | tuple) else [value]:
        if isinstance(entry, Matcher):
            found.append(entry)
            continue
        try:
            found.extend(parse_matchers(entry if isinstance(entry, str) else ""))
        except MatcherError as error:
            raise ValueError(f"holds a bad matcher: {error}; write {MATCHER_HINT}") from error
    if not found:
        raise ValueError("is empty, so the rule would match every alert; give at least one matcher")
    return tuple(found)


Matchers = Annotated[
    tuple[InstanceOf[Matcher], ...],
    Field(description="all of these must match; each is " + MATCHER_HINT),
    BeforeValidator(_from_setting),
    PlainSerializer(lambda found: [str(matcher) for matcher in found], return_type=list[str]),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]
"""The matchers of a rule in the settings: a tuple of `Matcher`, at least one."""
