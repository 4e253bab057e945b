"""What is wrong with a configuration, said so that it can be mended: the path, the fault, and what would be
right.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.settings import Settings

SECRET_PATHS = frozenset({"redis.url"})
"""Settings whose value may hold a password: never shown in a message."""

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping of keys",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a mapping of keys",
    "string_type": "text (in quotes where it looks like a number)",
    "tuple_type": "a list, like [a, b]",
}
_BOUNDS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
}

Location = tuple[int | str, ...]


def dotted(location: Location) -> str:
    """Return a path as it is written in the messages: `storm.rules[0].mode`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def describe(error: ErrorDetails, origin: str | None = None) -> str:
    """Return the line for one error of pydantic's. `origin` is the variable or flag the value is from."""
    location = error["loc"]
    place = dotted(location) or "the configuration"
    if origin is not None:
        place += f" ({origin})"
    return f"{place}: {_what(error, location)}"


def _what(error: ErrorDetails, location: Location) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(location)
    if kind == "missing":
        return f"is missing; expected {_choices(location) or 'a value'}"
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        what = f"is out of range; expected {text.format(context.get(name))}"
    elif kind in _EXPECTED:
        what = f"does not fit; expected {_EXPECTED[kind]}"
    elif kind == "literal_error":
        what = f"is not allowed; expected {_choices(location) or context.get('expected')}"
    elif kind == "string_too_short":
        what = "is empty; expected some text, or leave the key out"
    elif kind == "value_error":
        what = str(context.get("error"))
    else:
        what = f"cannot be used: {error['msg']}"
    shown = "the value" if dotted(location) in SECRET_PATHS else show(error["input"])
    return f"{shown} {what}"


def _unknown(location: Location) -> str:
    *parents, name = location
    model = _model_at(tuple(parents))
    siblings = list(model.model_fields) if model else []
    close = get_close_matches(str(name).lower().replace("-", "_"), siblings, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {dotted((*parents, close[0]))}?"
    elsewhere = [path for path in _paths() if path.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key here; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; expected one of {', '.join(siblings)}"


def _choices(location: Location) -> str | None:
    *parents, name = location
    model = _model_at(tuple(parents))
    if model is None or name not in model.model_fields:
        return None
    annotation = model.model_fields[str(name)].annotation
    # Where a key may be left out, `annotation` is the union of its type and None.
    annotation = next((part for part in get_args(annotation) if get_origin(part) is Literal), annotation)
    if get_origin(annotation) is Literal:
        *others, last = (str(value) for value in get_args(annotation))
        return f"{', '.join(others)} or {last}"
    return None


def _model_at(location: Location) -> type[BaseModel] | None:
    model: Any = Settings
    for part in location:
        if isinstance(part, int):
            model = next((item for item in get_args(model) if item is not Ellipsis), None)
        elif isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        else:
            return None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _paths(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _paths(field.annotation, f"{prefix}{name}.")
    return found


def show(value: object) -> str:
    """Return a value as a reader of YAML knows it, cut short."""
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
