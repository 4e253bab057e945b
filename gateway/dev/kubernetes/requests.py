"""What a request asks for: its path as a resource, its query as options. Pure parsing; `routes` acts on it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gateway.dev.kubernetes import errors
from gateway.dev.kubernetes.admission import WriteOptions
from gateway.dev.kubernetes.api import Api, DeleteOptions
from gateway.dev.kubernetes.kinds import Kind
from gateway.dev.kubernetes.selectors import Matches, both, field_selector, label_selector

_POLICIES = ("Foreground", "Background", "Orphan")
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path. Without `name` it is the collection; without `namespace`, that of all namespaces."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target(path: str, api: Api) -> Target | None:
    """The resource at a raw URL path, None if there is no such resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        _, namespace, *rest = rest
    if not rest or len(rest) > 3:
        return None
    kind = api.find(group, version, rest[0])
    if (
        kind is None
        or (kind.namespaced and not namespace and len(rest) > 1)
        or (namespace and not kind.namespaced)
    ):
        return None
    name = rest[1] if len(rest) > 1 else ""
    return Target(kind, namespace, name, rest[2] if len(rest) > 2 else "")


def flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


def write_options(query: Mapping[str, str], kind: str) -> WriteOptions:
    """`dryRun`, `fieldValidation` and `fieldManager` of a write; `kind` names the options in a refusal (422)."""
    validation = query.get("fieldValidation", "")
    if validation not in _VALIDATIONS:
        said = ", ".join(json.dumps(value) for value in _VALIDATIONS)
        raise _refused(kind, "fieldValidation", f'"{validation}": supported values: {said}')
    if len(query.get("fieldManager", "").encode()) > 128:
        cause = errors.Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager")
        raise errors.invalid_options(kind, cause)
    return WriteOptions(_dry_run(query.get("dryRun"), kind), validation or "Warn")


def _dry_run(value: str | None, kind: str) -> bool:
    if value in (None, "", "All"):
        return value == "All"
    raise _refused(kind, "dryRun", f'["{value}"]: supported values: "All"')


def _refused(kind: str, field: str, what: str) -> errors.ApiError:
    cause = errors.Cause("FieldValueNotSupported", f"Unsupported value: {what}", field)
    return errors.invalid_options(kind, cause)


def delete_options(query: Mapping[str, str], body: Any) -> DeleteOptions:
    """The preconditions and `dryRun` of a deletion, from its body and its query. Objects go at once whatever the
    propagation policy is: nothing here owns anything."""
    given = body if isinstance(body, dict) else {}
    policy = query.get("propagationPolicy") or given.get("propagationPolicy")
    if policy is not None and policy not in _POLICIES:
        said = ", ".join(f'"{name}"' for name in (*_POLICIES, "nil"))
        raise _refused("DeleteOptions", "propagationPolicy", f'"{policy}": supported values: {said}')
    preconditions = given.get("preconditions") or {}
    dry = query.get("dryRun") or next(iter(given.get("dryRun") or ()), None)
    return DeleteOptions(
        uid=preconditions.get("uid"),
        version=preconditions.get("resourceVersion"),
        dry_run=_dry_run(dry, "DeleteOptions"),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """The query of a list. `version` is the state to show, None for now; `after` the key to continue after."""

    matches: Matches | None
    limit: int
    version: int | None
    after: str = ""


def selection(query: Mapping[str, str], kind: Kind) -> Matches | None:
    return both(
        label_selector(query.get("labelSelector", "")),
        field_selector(query.get("fieldSelector", ""), kind.fields),
    )


def listing(query: Mapping[str, str], kind: Kind, current: int) -> Listing:
    """Reads the query of a list. Raises `ApiError`: 400, 410, 422, or 504 for a version of the future."""
    matches = selection(query, kind)
    try:
        limit = max(int(query.get("limit") or 0), 0)
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{query["limit"]}": invalid syntax') from None
    match_rule = query.get("resourceVersionMatch", "")
    if token := query.get("continue"):
        version, after = _continued(token)
        return Listing(matches, limit, version, after)
    text = query.get("resourceVersion", "")
    if match_rule and not text:
        message = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise errors.invalid_options(
            "ListOptions", errors.Cause("FieldValueForbidden", message, "resourceVersionMatch")
        )
    if not text:
        return Listing(matches, limit, None)
    if not (text.isascii() and text.isdigit()):
        said = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.bad_request(f"invalid resource version: resourceVersion: {said}")
    if int(text) > current:
        raise errors.version_ahead(int(text), current)
    return Listing(matches, limit, int(text) if match_rule == "Exact" and int(text) else None)


def watch_version(query: Mapping[str, str]) -> int | None:
    """Where a watch starts, None for the state of now first. Raises `ApiError` for what is no version."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        said = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.internal(f"resourceVersion: {said}")
    return int(text) or None


def streams_list(query: Mapping[str, str]) -> bool:
    """Whether a watch is to send the objects of now and mark their end. Raises `ApiError` (422) if asked wrongly."""
    if not flag(query, "sendInitialEvents"):
        return False
    if query.get("resourceVersionMatch") != "NotOlderThan":
        message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise errors.invalid_options(
            "ListOptions", errors.Cause("FieldValueForbidden", message, "resourceVersionMatch")
        )
    return True


def continue_token(version: int, after: str) -> str:
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": after}).encode()
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _continued(token: str) -> tuple[int, str]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(content["rv"]), str(content["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from None
