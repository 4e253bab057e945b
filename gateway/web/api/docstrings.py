"""What stands below the fields of a type, read from its source: one text for readers of the code and of the API."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from enum import Enum
from functools import cache


def of_type(kind: type) -> str:
    """The docstring of a type as paragraphs; of an enum with a list of those members that have one."""
    text = paragraphs(kind.__doc__ or "")
    if issubclass(kind, Enum):
        members = [f"- `{kind[name].value}`: {told}" for name, told in of_fields(kind).items()]
        text = "\n\n".join(filter(None, [text, "\n".join(members)]))
    return text


@cache
def of_fields(kind: type) -> Mapping[str, str]:
    """Name of a field → what stands below it, inherited ones included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("gateway."):
            found.update(_own(base))
    return found


def _own(kind: type) -> Mapping[str, str]:
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        name = _name(field)
        if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[name] = paragraphs(str(below.value.value))
    return found


def _name(field: ast.stmt) -> str:
    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
        return field.target.id
    if isinstance(field, ast.Assign) and isinstance(field.targets[0], ast.Name):
        return field.targets[0].id
    return ""


def paragraphs(text: str) -> str:
    """The text without the line breaks and indents of the source."""
    blocks = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()) for block in blocks)
