"""A CRD's structural schema, compiled once into functions that prune, default and validate an object in one walk.

What the API server does to a custom resource is what happens here: unknown fields are dropped (and reported), nulls
are dropped where the schema does not allow them, defaults are filled in, and every violation becomes a cause with
its field. Of the CEL rules (`x-kubernetes-validations`) only immutability, `self == oldSelf`, is known; `Schema`
lists the others in `unchecked`, so that a test can say that none was forgotten.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.dev.kubernetes.errors import Cause

_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_UNEVALUATED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
    "<nil>",
)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})")
_INT64 = 2**63


@dataclass(slots=True)
class Findings:
    """What one walk noticed."""

    causes: list[Cause] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


_Visit = Callable[[Any, str, Findings], Any]


@dataclass(frozen=True, slots=True)
class Immutable:
    """A field that must not change once it is set."""

    path: tuple[str, ...]
    message: str

    def broken(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        before, after = _look(old, self.path), _look(new, self.path)
        return before is not None and after is not None and before != after

    def cause(self, new: Mapping[str, Any]) -> Cause:
        message = f'Invalid value: "{_type(_look(new, self.path))}": {self.message}'
        return Cause("FieldValueInvalid", message, ".".join(self.path))


class Schema:
    """The compiled `openAPIV3Schema` of one version of a CRD."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._rules: list[Immutable] = []
        self.unchecked: list[str] = []
        properties = {
            name: part
            for name, part in source.get("properties", {}).items()
            if name not in ("apiVersion", "kind", "metadata")
        }
        self._collect(properties, ())
        self._visit = _object({**source, "properties": properties, "required": _required(source)})

    def admit(self, body: dict[str, Any]) -> tuple[dict[str, Any], Findings]:
        """The object as it would be stored, and what the schema says against it; `metadata` passes unseen."""
        findings = Findings()
        own = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata")}
        admitted: dict[str, Any] = self._visit(own, "", findings)
        for key in ("apiVersion", "kind", "metadata"):
            if key in body:
                admitted[key] = body[key]
        return admitted, findings

    def rules(
        self, causes: Sequence[Cause], old: Mapping[str, Any] | None, new: Mapping[str, Any]
    ) -> list[Cause]:
        """What the CEL rules add to `causes`: nothing is evaluated while the object's shape is wrong."""
        if not self._rules and not self.unchecked:
            return []
        if any(cause.reason in _BLOCKING for cause in causes):
            return [_UNEVALUATED]
        if old is None:
            return []
        return [rule.cause(new) for rule in self._rules if rule.broken(old, new)]

    def _collect(self, properties: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for name, part in properties.items():
            here = (*path, name)
            for rule in part.get("x-kubernetes-validations", ()):
                text = str(rule.get("rule", ""))
                if "".join(text.split()) == "self==oldSelf":
                    self._rules.append(Immutable(here, rule.get("message") or f"failed rule: {text}"))
                else:
                    self.unchecked.append(f"{'.'.join(here)}: {text}")
            self._collect(part.get("properties", {}), here)


def _required(source: Mapping[str, Any]) -> list[str]:
    return [name for name in source.get("required", ()) if name not in ("apiVersion", "kind", "metadata")]


def _look(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _compile(schema: Mapping[str, Any]) -> _Visit:
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return _checked(schema, ("integer", "string"))
    if kind == "object":
        return _object(schema)
    if kind == "array":
        return _array(schema)
    if kind is None:
        return _anything
    return _checked(schema, (kind,))


def _anything(value: Any, _path: str, _findings: Findings) -> Any:
    return value


def _object(schema: Mapping[str, Any]) -> _Visit:
    properties = {name: _compile(part) for name, part in schema.get("properties", {}).items()}
    nullable = frozenset(n for n, part in schema.get("properties", {}).items() if part.get("nullable"))
    defaults = {n: part["default"] for n, part in schema.get("properties", {}).items() if "default" in part}
    required = tuple(schema.get("required", ()))
    other = _others(schema)
    sizes = _sizes(schema, "minProperties", "maxProperties", "properties")

    def visit(value: Any, path: str, findings: Findings) -> Any:
        if not isinstance(value, dict):
            findings.causes.append(_wrong_type(value, path, "object"))
            return value
        admitted: dict[str, Any] = {}
        prefix = f"{path}." if path else ""
        for name, item in value.items():
            check = properties.get(name, other)
            if check is None:
                findings.unknown.append(prefix + name)
            elif item is not None:
                admitted[name] = check(item, prefix + name, findings)
            elif name in nullable or check is _anything:
                admitted[name] = None
        for name, default in defaults.items():
            if name not in admitted:
                admitted[name] = copy.deepcopy(default)
        for name in required:
            if name not in admitted:
                findings.causes.append(Cause("FieldValueRequired", "Required value", prefix + name))
        if sizes:
            sizes(len(value), path, findings)
        return admitted

    return visit


def _others(schema: Mapping[str, Any]) -> _Visit | None:
    """What is done with members that the schema does not name; None where they are unknown."""
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return _compile(additional)
    return _anything if additional is True or schema.get("x-kubernetes-preserve-unknown-fields") else None


def _array(schema: Mapping[str, Any]) -> _Visit:
    each = _compile(schema.get("items") or {})
    sizes = _sizes(schema, "minItems", "maxItems", "items")

    def visit(value: Any, path: str, findings: Findings) -> Any:
        if not isinstance(value, list):
            findings.causes.append(_wrong_type(value, path, "array"))
            return value
        if sizes:
            sizes(len(value), path, findings)
        return [each(item, f"{path}[{index}]", findings) for index, item in enumerate(value)]

    return visit


_Size = Callable[[int, str, Findings], None]


def _sizes(schema: Mapping[str, Any], least: str, most: str, noun: str) -> _Size | None:
    low, high = schema.get(least), schema.get(most)
    if low is None and high is None:
        return None

    def check(size: int, path: str, findings: Findings) -> None:
        if high is not None and size > high:
            message = f"Too many: {size}: must have at most {high} items"
            findings.causes.append(Cause("FieldValueTooMany", message, path))
        if low is not None and size < low:
            message = f"Invalid value: {size}: {_spoken(path)} in body should have at least {low} {noun}"
            findings.causes.append(Cause("FieldValueInvalid", message, path))

    return check


def _checked(schema: Mapping[str, Any], kinds: tuple[str, ...]) -> _Visit:
    """A scalar: its type, then whatever else the schema asks of it."""
    checks = _string_checks(schema) if "string" in kinds else _number_checks(schema)
    allowed = schema.get("enum")
    said = ", ".join(json.dumps(item, ensure_ascii=False) for item in allowed or ())

    def visit(value: Any, path: str, findings: Findings) -> Any:
        found = _type(value)
        if found not in kinds and not (found == "integer" and "number" in kinds):
            findings.causes.append(_wrong_type(value, path, kinds[0]))
        else:
            for check in checks:
                if (cause := check(value, path)) is not None:
                    findings.causes.append(cause)
        if allowed is not None and value not in allowed:
            message = f"Unsupported value: {json.dumps(value, ensure_ascii=False)}: supported values: {said}"
            findings.causes.append(Cause("FieldValueNotSupported", message, path))
        if "integer" in kinds and isinstance(value, float) and found == "integer":
            return int(value)
        return value

    return visit


_Check = Callable[[Any, str], Cause | None]


def _string_checks(schema: Mapping[str, Any]) -> list[_Check]:
    checks: list[_Check] = []
    if (most := schema.get("maxLength")) is not None:
        too_long = f"Too long: may not be more than {most} bytes"
        checks.append(lambda v, p: Cause("FieldValueTooLong", too_long, p) if len(v) > most else None)
    if (least := schema.get("minLength")) is not None:
        wanted = f"should be at least {least} chars long"
        checks.append(lambda v, p: _fault(v, p, wanted) if len(v) < least else None)
    if (pattern := schema.get("pattern")) is not None:
        search = re.compile(pattern).search
        checks.append(lambda v, p: None if search(v) else _fault(v, p, f"should match '{pattern}'"))
    match schema.get("format"):
        case "byte":
            checks.append(lambda v, p: None if _BASE64.fullmatch(v) else _wrong_format(v, p, "byte"))
        case "date-time":
            checks.append(lambda v, p: None if _is_date_time(v) else _wrong_format(v, p, "date-time"))
    return checks


def _number_checks(schema: Mapping[str, Any]) -> list[_Check]:
    checks: list[_Check] = []
    if (least := schema.get("minimum")) is not None:
        checks.append(
            lambda v, p: _fault(v, p, f"should be greater than or equal to {least}") if v < least else None
        )
    if (most := schema.get("maximum")) is not None:
        checks.append(
            lambda v, p: _fault(v, p, f"should be less than or equal to {most}") if v > most else None
        )
    return checks


def _spoken(path: str) -> str:
    """The field as messages name it. A server checks the status by itself, so its paths begin below it."""
    first, _, rest = path.partition(".")
    return rest if first == "status" else path


def _fault(value: Any, path: str, wanted: str) -> Cause:
    said = json.dumps(value, ensure_ascii=False)
    return Cause("FieldValueInvalid", f"Invalid value: {said}: {_spoken(path)} in body {wanted}", path)


def _wrong_format(value: str, path: str, wanted: str) -> Cause:
    said = json.dumps(value, ensure_ascii=False)
    message = f"Invalid value: {said}: {_spoken(path)} in body must be of type {wanted}: {said}"
    return Cause("FieldValueTypeInvalid", message, path)


def _wrong_type(value: Any, path: str, wanted: str) -> Cause:
    found = _type(value)
    message = f'Invalid value: "{found}": {_spoken(path)} in body must be of type {wanted}: "{found}"'
    return Cause("FieldValueTypeInvalid", message, path)


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -_INT64 <= value < _INT64 else "number"
    if isinstance(value, float):
        return "integer" if value.is_integer() and abs(value) < _INT64 else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "null"


def _is_date_time(text: str) -> bool:
    """RFC 3339 as the API reads it: `t` and `z` in either case, any fraction, no leap second."""
    day, separator, clock = text.lower().partition("t")
    match = _CLOCK.fullmatch(clock) if separator else None
    if match is None or len(day) != 10:
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    hour, minute, second = (int(part) for part in match.groups()[:3])
    return hour <= 23 and minute <= 59 and second <= 59
