"""What the gateway can write into its log, read off its source: messages, their levels and their fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.monitoring.files import ROOT

_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_ELSEWHERE = {"cli", "dev"}
"""Commands and the embedded components: not what a server writes."""


@dataclass
class Event:
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def events() -> dict[str, Event]:
    """Message → where it is written; what is filled in stands as `…`."""
    found: dict[str, Event] = {}
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if _ELSEWHERE.isdisjoint(path.relative_to(ROOT).parts):
            tree = ast.parse(path.read_text())
            tables = dict(_tables(tree))
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and (level := _level(call)):
                    for message in _messages(call.args[0], tables):
                        event = found.setdefault(message.replace("%s", "…"), Event())
                        event.levels.add(_LEVELS[level])
                        event.fields |= set(_fields(call, level))
    return found


def _level(call: ast.Call) -> str:
    """The level of a call of the module's logger; empty for any other call."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="log"), attr=attr) if attr in _LEVELS:
            return attr
        case _:
            return ""


def _tables(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Dictionaries of the module whose values are texts."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            texts = [str(value.value) for value in node.value.values if isinstance(value, ast.Constant)]
            yield from ((target.id, texts) for target in node.targets if isinstance(target, ast.Name))


def _messages(first: ast.expr, tables: dict[str, list[str]]) -> list[str]:
    if isinstance(first, ast.Constant):
        return [str(first.value)]
    if isinstance(first, ast.Subscript) and isinstance(first.value, ast.Name):
        return tables[first.value.id]
    raise AssertionError(f"line {first.lineno}: a message that is no constant cannot be documented")


def _fields(call: ast.Call, level: str) -> Iterator[str]:
    if level == "exception":
        yield "exception"
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield {"exc_info": "exception"}.get(keyword.arg, keyword.arg)
