"""`metadata`: its shape, and what names, labels and annotations may hold.

The rules are those of Kubernetes' *Object Names and IDs* and *Labels and Selectors* pages, worded as the API words
them, since people find these messages in their terminals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.dev.kubernetes.errors import Cause, bad_request

ANNOTATIONS_LIMIT = 256 * 1024

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_LABEL_FAULT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_FAULT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_FAULT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)

_STRINGS = frozenset(
    (
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
    )
)
_NUMBERS = frozenset(("generation", "deletionGracePeriodSeconds"))
_MAPS = frozenset(("labels", "annotations"))
_LISTS = frozenset(("ownerReferences", "finalizers", "managedFields"))
KNOWN = _STRINGS | _NUMBERS | _MAPS | _LISTS


def read(body: Mapping[str, Any], refusal: str) -> tuple[dict[str, Any], list[str]]:
    """A copy of the body's metadata without nulls, empties and unknown fields, and the names of the unknown ones.

    Raises `ApiError` (400) for a field of the wrong type, with `refusal` ("X in version … cannot be handled …")
    before it.
    """
    given = body.get("metadata")
    if given is None:
        return {}, []
    if not isinstance(given, dict):
        raise bad_request(
            f"{refusal}: json: cannot unmarshal {_json_type(given)} into Go value of type v1.ObjectMeta"
        )
    metadata: dict[str, Any] = {}
    unknown: list[str] = []
    for field, value in given.items():
        if field not in KNOWN:
            unknown.append(f"metadata.{field}")
            continue
        if value is None:
            continue
        if field in _MAPS:
            value = _strings(field, value, refusal)
        else:
            _check_type(field, value, refusal)
        if field == "managedFields" or (not value and field not in _NUMBERS):
            continue
        metadata[field] = value
    return metadata, unknown


def _strings(field: str, value: Any, refusal: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _mismatch(field, value, "map[string]string", refusal)
    for item in value.values():
        if item is not None and not isinstance(item, str):
            raise _mismatch(field, item, "string", refusal)
    return {key: item or "" for key, item in value.items()}


def _check_type(field: str, value: Any, refusal: str) -> None:
    if field in _STRINGS and not isinstance(value, str):
        raise _mismatch(field, value, "string", refusal)
    if field in _NUMBERS and (not isinstance(value, int) or isinstance(value, bool)):
        raise _mismatch(field, value, "int64", refusal)
    if field in _LISTS and not isinstance(value, list):
        raise _mismatch(field, value, "[]string" if field == "finalizers" else "[]struct", refusal)
    if field == "finalizers":
        for item in value:
            if not isinstance(item, str):
                raise _mismatch(field, item, "string", refusal)


def _mismatch(field: str, value: Any, wanted: str, refusal: str) -> Exception:
    found = _json_type(value)
    into = f"Go struct field ObjectMeta.{field} of type {wanted}"
    return bad_request(f"{refusal}: json: cannot unmarshal {found} into {into}")


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "null"


def faults(metadata: Mapping[str, Any], *, label_names: bool = False) -> list[Cause]:
    """What is wrong with a name, labels and annotations. `label_names`: the kind's names are DNS labels."""
    causes: list[Cause] = []
    name = metadata.get("name", "")
    if not name:
        causes.append(
            Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
        )
    else:
        pattern, fault, limit = (
            (_LABEL, _LABEL_FAULT, 63) if label_names else (_SUBDOMAIN, _SUBDOMAIN_FAULT, 253)
        )
        if len(name) > limit:
            causes.append(_invalid(name, f"must be no more than {limit} characters", "metadata.name"))
        if not pattern.fullmatch(name):
            causes.append(_invalid(name, fault, "metadata.name"))
    for key, value in (metadata.get("labels") or {}).items():
        causes.extend(_invalid(key, fault, "metadata.labels") for fault in label_key_faults(key))
        causes.extend(_invalid(value, fault, "metadata.labels") for fault in label_value_faults(value))
    if annotations := metadata.get("annotations"):
        for key in annotations:
            causes.extend(
                _invalid(key, fault, "metadata.annotations") for fault in label_key_faults(key.lower())
            )
        if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > ANNOTATIONS_LIMIT:
            message = f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
            causes.append(Cause("FieldValueTooLong", message, "metadata.annotations"))
    return causes


def _invalid(value: str, fault: str, field: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": {fault}', field)


def label_key_faults(key: str) -> list[str]:
    """Why `key` cannot be the key of a label or an annotation; empty if it can."""
    parts = key.split("/")
    if len(parts) > 2:
        prefixed = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {_QUALIFIED_RULE} {prefixed}"]
    found: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            found.append("prefix part must be non-empty")
        elif len(parts[0]) > 253:
            found.append("prefix part must be no more than 253 characters")
        elif not _SUBDOMAIN.fullmatch(parts[0]):
            found.append(f"prefix part {_SUBDOMAIN_FAULT}")
    name = parts[-1]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 characters")
    if not _QUALIFIED.fullmatch(name):
        found.append(f"name part {_QUALIFIED_RULE}")
    return found


def label_value_faults(value: str) -> list[str]:
    """Why `value` cannot be the value of a label; empty if it can."""
    found: list[str] = []
    if len(value) > 63:
        found.append("must be no more than 63 characters")
    if value and not _QUALIFIED.fullmatch(value):
        found.append(_VALUE_FAULT)
    return found
