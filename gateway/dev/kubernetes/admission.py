"""What a submitted object becomes before it is stored: identity, system fields, pruning, defaults, validation.

The order is the API server's, because it decides which refusal a caller sees: the type of the body (400), the shape
of its metadata (400), unknown fields where the caller asked to be strict (400), and then everything that is wrong
with the content at once (422).
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.dev.kubernetes import errors, metadata
from gateway.dev.kubernetes.kinds import DEFINITIONS, NAMESPACES, Kind

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be done: not at all but for its answer (`dry_run`), and what unknown fields lead to."""

    dry_run: bool = False
    unknown_fields: str = "Warn"
    """`Ignore`, `Warn` or `Strict`."""


PLAIN = WriteOptions()


@dataclass(frozen=True, slots=True)
class Admitted:
    """An object ready to be stored, and what the caller should be warned of."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def for_create(kind: Kind, given: Any, namespace: str, now: datetime, options: WriteOptions) -> Admitted:
    """A new object, complete but for its resourceVersion. Raises `ApiError`."""
    body = _typed(kind, given)
    meta, unknown = metadata.read(body, _refusal(kind))
    _same_namespace(meta, namespace)
    if meta.get("resourceVersion"):
        raise errors.internal("resourceVersion should not be set on objects to be created")
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"] + "".join(secrets.choice(_SUFFIX) for _ in range(5))
    for field in (*_SYSTEM, "resourceVersion", "selfLink"):
        meta.pop(field, None)
    if namespace:
        meta["namespace"] = namespace
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = timestamp(now)
    if kind.custom or kind is DEFINITIONS:
        meta["generation"] = 1
    body["metadata"] = meta
    if kind.has_status:
        body.pop("status", None)
    return _validated(kind, body, unknown, None, options)


def for_update(
    kind: Kind, given: Any, old: Mapping[str, Any], options: WriteOptions, *, status: bool, patched: bool
) -> Admitted:
    """The object that is to replace `old`; without a new resourceVersion. Raises `ApiError`.

    `status`: only the status is taken from what was given, else everything but the status. `patched`: what was
    given is `old` with a patch applied, so that a wrong uid is an attempt to change it and no stale reference.
    """
    body = _typed(kind, given)
    was = old["metadata"]
    name, namespace = was["name"], was.get("namespace", "")
    meta, unknown = metadata.read(body, _refusal(kind))
    if meta.get("name", name) != name:
        message = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        raise errors.bad_request(message)
    _same_namespace(meta, namespace)
    _same_version(kind, meta, was, name)
    faults = _identity(kind, meta, was, patched=patched)
    if status:
        body = {**old, "status": body.get("status")}
        meta = dict(was)
    elif kind.has_status:
        body.pop("status", None)
        if "status" in old:
            body["status"] = old["status"]
    meta.update({"name": name, "uid": was["uid"]})
    for field in ("namespace", *_SYSTEM):
        if field in was:
            meta[field] = was[field]
        else:
            meta.pop(field, None)
    meta.pop("resourceVersion", None)
    meta.pop("selfLink", None)
    body["metadata"] = meta
    admitted = _validated(kind, body, unknown, old, options, faults)
    if (kind.custom or kind is DEFINITIONS) and _content(admitted.body) != _content(old):
        meta["generation"] = was.get("generation", 0) + 1
    return admitted


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a generation counts the changes of."""
    return {key: value for key, value in body.items() if key not in ("metadata", "status")}


def _refusal(kind: Kind) -> str:
    return f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'


def _typed(kind: Kind, given: Any) -> dict[str, Any]:
    """A copy of the body, if it is of this kind."""
    if not isinstance(given, dict):
        found = "array" if isinstance(given, list) else "string" if isinstance(given, str) else "value"
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; "
            f"json parse error: json: cannot unmarshal {found} into Go value of type struct"
        )
    body = dict(given)
    version, name = body.get("apiVersion") or "", body.get("kind") or ""
    if not kind.custom:  # the API fills in what a built-in kind leaves out
        if (version or kind.api_version, name or kind.kind) != (kind.api_version, kind.kind):
            raise errors.bad_request(f'{name} in version "{version}" cannot be handled as a {kind.kind}')
        body.update(apiVersion=kind.api_version, kind=kind.kind)
        return body
    if not name:
        said = json.dumps(given, ensure_ascii=False)[:200]
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing in '{said}'"
        )
    if version != kind.api_version:
        message = f"the API version in the data ({version}) does not match the expected API version"
        raise errors.bad_request(f"{message} ({kind.api_version})")
    if name != kind.kind:
        meta = body.get("metadata")
        about = errors.About(
            str(name), kind.group, str(meta.get("name", "")) if isinstance(meta, dict) else ""
        )
        message = f'Invalid value: "{name}": must be {kind.kind}'
        raise errors.invalid(about, [errors.Cause("FieldValueInvalid", message, "kind")])
    return body


def _same_namespace(meta: Mapping[str, Any], namespace: str) -> None:
    if meta.get("namespace", namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _same_version(kind: Kind, meta: Mapping[str, Any], was: Mapping[str, Any], name: str) -> None:
    """The optimistic lock: a named version must be the stored one, and custom resources must name one."""
    text = meta.get("resourceVersion", "")
    if text and not (text.isascii() and text.isdigit()):
        raise errors.internal(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text or 0) == 0:
        if not kind.custom:
            return
        message = "Invalid value: 0: must be specified for an update"
        cause = errors.Cause("FieldValueInvalid", message, "metadata.resourceVersion")
        raise errors.invalid(kind.about(name), [cause])
    if int(text) != int(was["resourceVersion"]):
        raise errors.conflict(kind.about(name))


def _identity(
    kind: Kind, meta: Mapping[str, Any], was: Mapping[str, Any], *, patched: bool
) -> list[errors.Cause]:
    """Attempts to change what never changes. (A creationTimestamp is put back without a word.)"""
    if not patched and meta.get("uid", was["uid"]) != was["uid"]:
        why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {was['uid']}"
        raise errors.conflict(kind.about(was["name"]), why)
    return [
        errors.Cause(
            "FieldValueInvalid", f'Invalid value: "{meta[field]}": field is immutable', f"metadata.{field}"
        )
        for field in ("uid", "deletionTimestamp")
        if field in meta and meta[field] != was.get(field)
    ]


def _validated(
    kind: Kind,
    body: dict[str, Any],
    unknown: list[str],
    old: Mapping[str, Any] | None,
    options: WriteOptions,
    causes: list[errors.Cause] | None = None,
) -> Admitted:
    causes = causes or []
    meta = body["metadata"]
    if kind.schema is not None:
        body, findings = kind.schema.admit(body)
        unknown = unknown + findings.unknown
    else:
        findings = None
        _complete(kind, body, old)
    said = [f'unknown field "{path}"' for path in unknown]
    if said and options.unknown_fields == "Strict":
        raise errors.bad_request(f"{_refusal(kind)}: strict decoding error: {', '.join(said)}")
    causes += metadata.faults(meta, label_names=kind is NAMESPACES)
    if kind.schema is not None and findings is not None:
        causes += findings.causes
        causes += kind.schema.rules(causes, old, body)
    if causes:
        raise errors.invalid(kind.about_kind(meta.get("name", "")), causes)
    return Admitted(body, () if options.unknown_fields == "Ignore" else tuple(said))


def _complete(kind: Kind, body: dict[str, Any], old: Mapping[str, Any] | None) -> None:
    """What the API adds to built-in kinds, and what it does not let callers change."""
    if kind is not NAMESPACES:
        return
    meta = body["metadata"]
    if name := meta.get("name"):
        meta["labels"] = {**meta.get("labels", {}), _NAME_LABEL: name}
    body["spec"] = old["spec"] if old else {"finalizers": ["kubernetes"]}
    body["status"] = old["status"] if old else {"phase": "Active"}
