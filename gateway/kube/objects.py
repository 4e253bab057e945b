"""What a request looks like in Kubernetes: its name, labels, and the bodies that create and count it. Pure.

Labels and annotations of alerts may hold anything: 64 KiB values, emoji, NUL, names that are no DNS labels.
Whatever comes in, what goes out is accepted by the API server and valid under the published CRD: an object
that can never be written would be a lost alert. So each field is brought into its bounds here, and objects
that would outgrow what etcd stores are trimmed, longest values first.

The counter is a grow-only counter with a source for each accepting process (Shapiro et al. 2011): the
annotation `applied` holds the sources' marks, `occurrenceCount` their sum, and one guarded write changes both
or neither.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gateway.kube import fitting
from gateway.model import API_GROUP, API_VERSION, KIND, Signal

_PREFIX = "remediation.kubernaut.io/"
LABEL_ALERT_NAME = "alert-name"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_FINGERPRINT = _PREFIX + "fingerprint"
LABEL_GENERATION = _PREFIX + "generation"
LABEL_SEVERITY = _PREFIX + "severity"
LABEL_STORM = _PREFIX + "storm"
LABEL_WINDOW = _PREFIX + "window"
ANNOTATION_APPLIED = _PREFIX + "applied"
ANNOTATION_RESOLVED_AT = _PREFIX + "signal-resolved-at"
ANNOTATION_RESOLVED_STARTS_AT = _PREFIX + "signal-resolved-starts-at"
ANNOTATION_SOURCE = _PREFIX + "source"
"""What made the request: `immediate`, `buffer_expiration`, `storm`, `storm_bypass` or `recovery`."""
ANNOTATION_TRIMMED = _PREFIX + "trimmed"
"""Present, "true", where labels, annotations or the payload had to be cut."""

MANAGED_BY = "gateway"
SIGNAL_TYPE = "prometheus"
SIGNAL_SOURCE = "prometheus-adapter"
TARGET_TYPE = "kubernetes"
FIELD_MANAGER = "alert-gateway"
ORIGIN = {"signalType": SIGNAL_TYPE, "signalSource": SIGNAL_SOURCE, "targetType": TARGET_TYPE}
"""The fields of the spec that are the same in every request."""

DIGITS = 10
LONG_DIGITS = 16
NAME_DIGITS = frozenset({DIGITS, LONG_DIGITS})
"""How many digits of the fingerprint a name may hold; the long form is for when the short one collided."""

_LONGEST_NAME = 63
_LONGEST_LABEL_VALUE = 63
_LONGEST_SIGNAL_NAME = 253
_LONGEST_ENVIRONMENT = 63
_LONGEST_RESOURCE_PART = 512
_PRIORITIES = frozenset({"P0", "P1", "P2", "P3"})
_DEFAULT_PRIORITY = "P2"
_UNKNOWN_ENVIRONMENT = "unknown"
_NAMELESS = "alert"

_NOT_DNS = re.compile(r"[^a-z0-9]+")
_NOT_LABEL_VALUE = re.compile(r"[^A-Za-z0-9_.-]+")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_encode = msgspec.json.Encoder().encode


def is_namespace(name: str) -> bool:
    """Whether a namespace could have this name at all (a DNS label, RFC 1123)."""
    return _DNS_LABEL.fullmatch(name) is not None


def request_name(alertname: str, fingerprint: str, generation: int, digits: int = DIGITS) -> str:
    """`rr-<alertname>-<fingerprint>-<generation>`: a DNS label, the same on every replica, whatever the
    alert's name.

    Only the alert's name is ever cut. Names of one fingerprint differ by generation; those of two differ
    unless the first `digits` digits agree.
    """
    return _name(alertname, f"{fingerprint[:digits]}-{generation}")


def storm_name(alertname: str, window: str) -> str:
    """`rr-<alertname>-storm-<window id>`; the id must be made of what a DNS label may hold."""
    return _name(alertname, f"storm-{window}")


def window_fingerprint(window: str) -> str:
    """`spec.signalFingerprint` of the aggregated request of this window."""
    return sha256(window.encode()).hexdigest()


def create_body(  # noqa: PLR0913 (the fields of one object, all by keyword)
    signal: Signal,
    *,
    namespace: str,
    name: str,
    generation: int,
    applied: str,
    count: int,
    first_seen: str,
    last_seen: str,
    source: str = "immediate",
    predecessor: str = "",
    resolved_at: str = "",
    resolved_starts_at: str = "",
) -> bytes:
    """The body that creates an own request.

    `namespace` is where it goes, which need not be the alert's own: that one stays in `signalLabels` and
    `providerData`. `applied` are the marks and `count` their sum. `source`: see `ANNOTATION_SOURCE`.
    `predecessor` names the request of the generation before, if that still exists. Times are RFC 3339.
    `resolved_*` are given where the alert resolved before its request could be written.
    """
    annotations = {ANNOTATION_APPLIED: applied, ANNOTATION_SOURCE: source}
    if resolved_at:
        annotations[ANNOTATION_RESOLVED_AT] = resolved_at
    if resolved_starts_at:
        annotations[ANNOTATION_RESOLVED_STARTS_AT] = resolved_starts_at
    deduplication: dict[str, Any] = {
        # It is about the request itself: this one exists because no active request had the fingerprint.
        "isDuplicate": False,
        "firstSeen": first_seen,
        "lastSeen": last_seen,
        "occurrenceCount": count,
    }
    if predecessor:
        deduplication["previousRemediationRequestRef"] = predecessor
    fitted = fitting.fit(clean(signal.labels), clean(signal.annotations))
    if fitted.trimmed:
        annotations[ANNOTATION_TRIMMED] = "true"
    spec: dict[str, Any] = {
        "signalFingerprint": signal.fingerprint,
        "signalName": signal_name(signal.alertname),
        "severity": signal.severity.value,
        "environment": environment(signal.environment),
        "priority": priority(signal.priority),
        **ORIGIN,
        "firingTime": signal.starts_at,
        "receivedTime": signal.received_at,
        "deduplication": deduplication,
        "isStorm": False,
        "signalLabels": fitted.labels,
        "signalAnnotations": fitted.annotations,
        "providerData": b64encode(_encode(_provider_data(signal))).decode("ascii"),
    }
    if signal.raw and len(signal.raw) <= fitting.LONGEST_PAYLOAD:
        spec["originalPayload"] = b64encode(signal.raw).decode("ascii")
    labels = labels_of(signal.alertname, signal.fingerprint, signal.severity)
    labels |= {LABEL_GENERATION: str(generation), LABEL_STORM: "false"}
    return new_object(name=name, namespace=namespace, labels=labels, annotations=annotations, spec=spec)


def patch_body(
    *,
    resource_version: int,
    applied: str | UnsetType = UNSET,
    count: int | UnsetType = UNSET,
    last_seen: str | UnsetType = UNSET,
    resolved_at: str | UnsetType | None = UNSET,
    resolved_starts_at: str | UnsetType | None = UNSET,
) -> bytes:
    """A merge patch (RFC 7386) of the object as it was in `resource_version`; any other version is a
    conflict.

    What is not given stays as it is; None removes a mark of resolution. Marks and count only go together:
    they are one counter, and a write of one alone would break it.
    """
    if (applied is UNSET) is not (count is UNSET):
        raise ValueError("the marks and their sum are written together or not at all")
    annotations: dict[str, str | None] = {}
    deduplication: dict[str, Any] = {}
    if applied is not UNSET:
        annotations[ANNOTATION_APPLIED] = applied
        deduplication["occurrenceCount"] = count
    if resolved_at is not UNSET:
        annotations[ANNOTATION_RESOLVED_AT] = resolved_at
    if resolved_starts_at is not UNSET:
        annotations[ANNOTATION_RESOLVED_STARTS_AT] = resolved_starts_at
    if last_seen is not UNSET:
        deduplication["lastSeen"] = last_seen
    metadata: dict[str, Any] = {"resourceVersion": str(resource_version)}
    if annotations:
        metadata["annotations"] = annotations
    patch: dict[str, Any] = {"metadata": metadata}
    if deduplication:
        patch["spec"] = {"deduplication": deduplication}
    return _encode(patch)


def new_object(
    *, name: str, namespace: str, labels: dict[str, str], annotations: dict[str, str], spec: dict[str, Any]
) -> bytes:
    """The body that creates a request."""
    return _encode(
        {
            "apiVersion": f"{API_GROUP}/{API_VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
            "spec": spec,
        }
    )


def labels_of(alertname: str, fingerprint: str, severity: str) -> dict[str, str]:
    """The labels that every request has."""
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_FINGERPRINT: fingerprint[:_LONGEST_LABEL_VALUE],
        LABEL_SEVERITY: str(severity),
    }
    if alert_name := label_value(alertname):
        labels[LABEL_ALERT_NAME] = alert_name
    return labels


def signal_name(alertname: str) -> str:
    return encodable(alertname)[:_LONGEST_SIGNAL_NAME]


def environment(text: str) -> str:
    return encodable(text)[:_LONGEST_ENVIRONMENT] or _UNKNOWN_ENVIRONMENT


def priority(text: str) -> str:
    return text if text in _PRIORITIES else _DEFAULT_PRIORITY


def label_value(text: str) -> str:
    """The nearest thing to `text` that a Kubernetes label can hold; empty if nothing of it can be kept."""
    return (
        _NOT_LABEL_VALUE.sub("-", text[: 4 * _LONGEST_LABEL_VALUE])
        .strip("-_.")[:_LONGEST_LABEL_VALUE]
        .strip("-_.")
    )


def _name(alertname: str, rest: str) -> str:
    room = _LONGEST_NAME - len("rr--") - len(rest)
    middle = (
        _NOT_DNS.sub("-", alertname[: 4 * _LONGEST_NAME].lower()).strip("-")[:room].strip("-") or _NAMELESS
    )
    return f"rr-{middle}-{rest}"


def _provider_data(signal: Signal) -> dict[str, Any]:
    data: dict[str, Any] = {"namespace": encodable(signal.namespace)[:_LONGEST_RESOURCE_PART]}
    # The namespace of a resource holds no colon where it is one; the last part may hold several.
    parts = encodable(signal.resource).split(":", 2)
    if len(parts) == 3:
        kind, name = (part[:_LONGEST_RESOURCE_PART] for part in parts[1:])
        data["resource"] = {"kind": kind, "name": name}
    return data


def clean(texts: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations whose every key and value is `encodable`."""
    return {encodable(key): encodable(value) for key, value in texts.items()}


def encodable(text: str) -> str:
    """`text` without what UTF-8 cannot carry (lone surrogates, from a sender that wrote half a pair)."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
