"""Whether the served definition of requests takes what the gateway writes. Pure.

The API server drops fields that a definition does not know, and says nothing: a request without its marks or members
would look fine and count wrong. So the fields are compared one by one, in the schema that the server publishes to
everybody who may log in; the definition itself is readable for few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.model import API_GROUP, API_VERSION, KIND

WRITTEN: Final[Mapping[str, str]] = {
    "signalFingerprint": "string",
    "signalName": "string",
    "severity": "string",
    "environment": "string",
    "priority": "string",
    "signalType": "string",
    "signalSource": "string",
    "targetType": "string",
    "firingTime": "string",
    "receivedTime": "string",
    "deduplication": "object",
    "deduplication.isDuplicate": "boolean",
    "deduplication.firstSeen": "string",
    "deduplication.lastSeen": "string",
    "deduplication.occurrenceCount": "integer",
    "deduplication.previousRemediationRequestRef": "string",
    "isStorm": "boolean",
    "stormType": "string",
    "stormWindow": "string",
    "stormAlertCount": "integer",
    "affectedResources": "array",
    "signalLabels": "object",
    "signalAnnotations": "object",
    "providerData": "string",
    "originalPayload": "string",
}
"""Every field of a spec that the gateway writes → its type."""

ALWAYS: Final = WRITTEN.keys() - {
    "deduplication.previousRemediationRequestRef",
    "stormType",
    "stormWindow",
    "stormAlertCount",
    "affectedResources",
    "originalPayload",
}
"""Those that every request has: others must not be required."""


def spec_of(document: Any) -> Mapping[str, Any] | None:
    """The schema of a request's spec in an OpenAPI v3 document of the group and version; None where it has none."""
    for schema in _mapping(_mapping(_mapping(document).get("components")).get("schemas")).values():
        whole = _mapping(schema)
        kinds = whole.get("x-kubernetes-group-version-kind")
        wanted = {"group": API_GROUP, "version": API_VERSION, "kind": KIND}
        if isinstance(kinds, list) and wanted in kinds:
            return whole if _open(whole) else _mapping(_mapping(whole.get("properties")).get("spec"))
    return None


def faults(spec: Mapping[str, Any]) -> list[str]:
    """What keeps requests from being stored as they are written, one line each; empty where nothing does."""
    found: list[str] = []
    for path, kind in WRITTEN.items():
        *above, name = path.split(".")
        parent = _at(spec, above)
        if parent is None or _open(parent):
            continue
        field = _mapping(_mapping(parent).get("properties")).get(name)
        if field is None:
            found.append(f"spec.{path} is not known, and would be dropped")
        elif _mapping(field).get("type", kind) != kind:
            found.append(f"spec.{path} is of type {field.get('type')}, and the gateway writes {kind}")
    return [
        *found,
        *_required(spec, ""),
        *_required(_mapping(_at(spec, ["deduplication"])), "deduplication."),
    ]


def _required(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    needed = schema.get("required")
    for name in needed if isinstance(needed, list) else ():
        if prefix + name not in ALWAYS:
            yield f"spec.{prefix}{name} is required, and the gateway does not always write it"


def _at(schema: Mapping[str, Any], path: list[str]) -> Mapping[str, Any] | None:
    """The schema below a path of fields; None where there is none, which is a fault of the field above."""
    for name in path:
        below = _mapping(schema.get("properties")).get(name)
        if below is None:
            return schema if _open(schema) else None
        schema = _mapping(below)
    return schema


def _open(schema: Any) -> bool:
    """Whether it takes any field."""
    return bool(_mapping(schema).get("x-kubernetes-preserve-unknown-fields"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
