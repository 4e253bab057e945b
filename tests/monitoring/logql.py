"""LogQL as far as `loki-queries.txt` uses it: a stream, line filters, `| json`, label filters.

As in Loki (https://grafana.com/docs/loki/latest/query/log_queries/): stages apply in their order; `json` makes a label
of each property, nested ones joined by `_`; a label filter compares text, or numbers where the value is one; a label
that is not there is the empty text. Anything else is refused, so that no query is taken for more than it was tried.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Labels = dict[str, str]
Stage = Callable[[str, Labels], bool]

_STREAM = re.compile(r"\s*\{([^}]*)\}")
_TEXT = r'"(?:[^"\\]|\\.)*"|`[^`]*`'
_LINE_FILTER = re.compile(rf"\s*(\|=|!=|\|~|!~)\s*({_TEXT})")
_JSON = re.compile(r"\s*\|\s*json\b(?!\s*\w+\s*=)")
_LABEL_FILTER = re.compile(rf"\s*\|\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|>=|<=|==|=|>|<)\s*({_TEXT}|-?\d+(?:\.\d+)?)")
_MATCHER = re.compile(rf"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({_TEXT})\s*(?:,|$)")
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Unknown(ValueError):
    """The query has something that is not evaluated here."""


@dataclass(frozen=True)
class LogQuery:
    stream: Labels
    stages: tuple[Stage, ...]

    def matches(self, line: str) -> bool:
        """Whether it gives the line, which is one of its stream."""
        labels: Labels = {}
        return all(stage(line, labels) for stage in self.stages)

    def select(self, lines: Iterable[str]) -> list[str]:
        return [line for line in lines if self.matches(line)]


def parse(query: str) -> LogQuery:
    """Raises `Unknown`."""
    start = _STREAM.match(query)
    if not start:
        raise Unknown(f"no stream: {query}")
    stream: Labels = {}
    for name, how, value in _MATCHER.findall(start[1]):
        if how != "=":
            raise Unknown(f"streams are chosen by equality: {query}")
        stream[name] = _text(value)
    return LogQuery(stream, tuple(_stages(query, start.end())))


def _stages(query: str, at: int) -> Iterator[Stage]:
    while query[at:].strip():
        if found := _LINE_FILTER.match(query, at):
            yield _line_filter(found[1], _text(found[2]))
        elif found := _JSON.match(query, at):
            yield _json
        elif found := _LABEL_FILTER.match(query, at):
            yield _label_filter(found[1], found[2], found[3])
        else:
            raise Unknown(f"not evaluated: {query[at:]}")
        at = found.end()


def _text(literal: str) -> str:
    if literal.startswith("`"):
        return literal[1:-1]
    text: str = json.loads(literal)
    return text


def _line_filter(how: str, wanted: str) -> Stage:
    if how in ("|=", "!="):
        return lambda line, _: (wanted in line) is (how == "|=")
    pattern = re.compile(wanted)
    return lambda line, _: bool(pattern.search(line)) is (how == "|~")


def _json(line: str, labels: Labels) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if isinstance(found, dict):
        labels.update(_flat(found))
    else:
        labels["__error__"] = "JSONParserErr"
    return True


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = re.sub(r"\W", "_", f"{prefix}{key}")
        if isinstance(item, dict):
            yield from _flat(item, f"{name}_")
        elif not isinstance(item, list):  # Loki leaves lists out
            yield name, item if isinstance(item, str) else json.dumps(item)


def _label_filter(name: str, how: str, value: str) -> Stage:
    if how in ("=~", "!~"):
        pattern = re.compile(_text(value))  # Loki anchors it at both ends
        return lambda _, labels: bool(pattern.fullmatch(labels.get(name, ""))) is (how == "=~")
    if value[0] in '"`':
        if how not in ("=", "!="):
            raise Unknown(f"text is compared by equality: {name} {how} {value}")
        return lambda _, labels: (labels.get(name, "") == _text(value)) is (how == "=")
    return lambda _, labels: _number(labels.get(name, ""), how, float(value))


def _number(found: str, how: str, wanted: float) -> bool:
    try:
        return _COMPARED[how](float(found), wanted)
    except ValueError:
        return False
