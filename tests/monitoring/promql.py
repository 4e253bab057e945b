"""What a PromQL expression names: metrics with their labels, and labels that it groups or joins by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_WORDS = {
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
}


@dataclass(frozen=True)
class Named:
    metric: str
    labels: frozenset[str]


def named(expression: str) -> Iterator[Named]:
    """Every selector of an expression: its metric and the labels that it matches."""
    text = _RANGE.sub("", _GROUPING.sub("", _TEXT.sub('""', expression)))
    for match in _SELECTOR.finditer(text):
        word, matchers = match[1], match[2]
        called = text[match.end() :].lstrip().startswith("(")
        if word in _WORDS or (called and matchers is None):
            continue
        yield Named(word, frozenset(_MATCHER.findall(matchers or "")))


def grouped(expression: str) -> frozenset[str]:
    """The labels that it groups or joins by."""
    found = _GROUPING.findall(_TEXT.sub('""', expression))
    return frozenset(label.strip() for _, labels in found for label in labels.split(",") if label.strip())
