"""How the contract's tests speak to an API: objects, paths, and what matters of a refusal."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from chaos.rig.api import GROUP_PATH, MERGE_PATCH, Api

Json = dict[str, Any]
FINGERPRINT = "a" * 64


def path(namespace: str, *rest: str, **query: object) -> str:
    where = "/".join([GROUP_PATH, "namespaces", namespace, "remediationrequests", *rest])
    return f"{where}?{urlencode(query, quote_via=quote)}" if query else where


def a_request(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """A valid object; members of `spec` given as None are left out."""
    seen = "2026-01-31T09:00:00Z"
    full = {
        "signalFingerprint": FINGERPRINT,
        "signalName": "PodOOMKilled",
        "severity": "critical",
        "environment": "production",
        "priority": "P0",
        "signalType": "prometheus",
        "targetType": "kubernetes",
        "firingTime": seen,
        "receivedTime": seen,
        "deduplication": {"isDuplicate": False, "firstSeen": seen, "lastSeen": seen, "occurrenceCount": 1},
        **spec,
    }
    return {
        "apiVersion": "remediation.kubernaut.io/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {key: value for key, value in full.items() if value is not None},
    }


def create(api: Api, namespace: str, name: str, **more: Any) -> Json:
    return api.call("POST", path(namespace), a_request(name, **more))


def merge(api: Api, namespace: str, name: str, patch: object, *rest: str) -> Json:
    return api.call("PATCH", path(namespace, name, *rest), patch, content_type=MERGE_PATCH)


def version(item: Json) -> str:
    found: str = item["metadata"]["resourceVersion"]
    return found


def refusal(answer: tuple[int, Json]) -> tuple[int, str, Json]:
    """What clients act on: code, reason and details (without causes' words). The body must be a `Status`."""
    code, body = answer
    assert (body.get("kind"), body.get("apiVersion"), body.get("status")) == ("Status", "v1", "Failure")
    assert body["code"] == code
    details = {key: value for key, value in body.get("details", {}).items() if key != "causes"}
    return code, body.get("reason", ""), details


def causes(answer: tuple[int, Json]) -> set[tuple[str, str]]:
    return {(cause["field"], cause["reason"]) for cause in answer[1]["details"].get("causes", ())}


def about(name: str, kind: str = "remediationrequests") -> Json:
    return {"name": name, "group": "remediation.kubernaut.io", "kind": kind}
