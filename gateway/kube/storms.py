"""What an aggregated request looks like: the bodies that create it, count on it, and take further members in. Pure.

It stands for many alerts of one group. What all of them share is where an own request has it (`signalLabels`,
`signalAnnotations`); what tells them apart, and their marks, is with the members (`gateway.kube.members`). What is
said once for all is what asks for most care: the worst severity, the most urgent priority, the earliest beginning;
an environment only if it is everybody's.

A later write needs the whole object, of which the index keeps only the marks. So it is read again (`Storm`), and the
patch is guarded by the version that was read: one version, one set of members, one sum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from gateway.kube import fitting, objects
from gateway.kube.decoding import RequestDecoder, UndecodableError
from gateway.kube.members import LONGEST_RESOURCE, Member, read_members, render
from gateway.kube.sharing import (
    COMMON_BUDGET,
    affected,
    length,
    shared_environment,
    shared_texts,
    worst,
)
from gateway.kube.stored import Stored
from gateway.model import Signal

STORM_TYPE = "rate"

_encode = msgspec.json.Encoder().encode


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that becomes a member."""

    signal: Signal
    marks: dict[str, str]
    """Slot → its intervals as text ("0-2"), the opener's first; `occurrences` is their sum."""
    occurrences: int
    resolved_since: str = ""
    resolved_at: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a member's record is to be from now on; it replaces all of it."""

    marks: dict[str, str]
    occurrences: int
    resolved_since: str = ""
    resolved_at: str = ""


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregated request as a GET shows it, as far as a later write needs it."""

    stored: Stored
    members: tuple[Member, ...]
    """In the order of joining; none if they cannot be read (`stored.damaged`)."""
    labels: dict[str, str]
    """What all members have in common."""
    annotations: dict[str, str]
    severity: str
    priority: str
    environment: str
    firing_time: str
    received_at: str
    """When its first member was received."""
    window_length: str
    """`spec.stormWindow`."""
    trimmed: bool


def create_body(
    *, window: str, namespace: str, name: str, source: str, newcomers: Sequence[Newcomer], last_seen: str
) -> bytes:
    """The body that creates the request of this window; `newcomers`, one at least, are in the order of joining.

    `last_seen`: when the last occurrence that is counted here was received, RFC 3339.
    """
    if not newcomers:
        raise ValueError("a storm has members")
    signals = [newcomer.signal for newcomer in newcomers]
    labels = [objects.clean(signal.labels) for signal in signals]
    common = shared_texts(labels[0], labels)
    annotations = [objects.clean(signal.annotations) for signal in signals]
    fitted = fitting.fit(common, shared_texts(annotations[0], annotations), COMMON_BUDGET)
    members = [_member(newcomer, own, common) for newcomer, own in zip(newcomers, labels, strict=True)]
    _expect_different(members)
    resources, resources_cut = affected(members)
    provider_data, members_cut = render(members)
    received = min(signal.received_at for signal in signals)
    severity = worst(signal.severity for signal in signals)
    fingerprint = objects.window_fingerprint(window)
    alertname = signals[0].alertname
    spec: dict[str, Any] = {
        "signalFingerprint": fingerprint,
        "signalName": objects.signal_name(alertname),
        "severity": severity,
        "environment": shared_environment(objects.environment(signal.environment) for signal in signals),
        "priority": min(objects.priority(signal.priority) for signal in signals),
        **objects.ORIGIN,
        "firingTime": min(signal.starts_at for signal in signals),
        "receivedTime": received,
        "deduplication": {
            "isDuplicate": False,
            "firstSeen": received,
            "lastSeen": last_seen,
            "occurrenceCount": sum(member.occurrences for member in members),
        },
        "isStorm": True,
        "stormType": STORM_TYPE,
        "stormWindow": length(received, max(signal.received_at for signal in signals)),
        "stormAlertCount": len(members),
        "affectedResources": resources,
        "signalLabels": fitted.labels,
        "signalAnnotations": fitted.annotations,
        "providerData": provider_data,
    }
    notes = {objects.ANNOTATION_SOURCE: source}
    if fitted.trimmed or resources_cut or members_cut:
        notes[objects.ANNOTATION_TRIMMED] = "true"
    marked = objects.labels_of(alertname, fingerprint, severity)
    marked |= {objects.LABEL_STORM: "true", objects.LABEL_WINDOW: window}
    return objects.new_object(name=name, namespace=namespace, labels=marked, annotations=notes, spec=spec)


def patch_body(
    storm: Storm, *, changes: Mapping[str, Change], newcomers: Sequence[Newcomer], last_seen: str
) -> bytes:
    """A merge patch (RFC 7386) of the object as `storm` shows it; any other version is a conflict.

    `changes` are by fingerprint, of members; `newcomers` are none yet. An empty `last_seen` leaves what is there.
    """
    members = [_changed(member, changes.get(member.fingerprint)) for member in storm.members]
    if strangers := changes.keys() - {member.fingerprint for member in members}:
        raise ValueError(f"not among the members: {', '.join(sorted(strangers))}")
    metadata: dict[str, Any] = {"resourceVersion": str(storm.stored.resource_version)}
    spec: dict[str, Any] = {}
    trimmed = False
    if newcomers:
        members, spec, trimmed = _joined(storm, members, newcomers)
        if spec["severity"] != storm.severity:
            metadata["labels"] = {objects.LABEL_SEVERITY: spec["severity"]}
    spec["providerData"], members_cut = render(members)
    counted = sum(member.occurrences for member in members)
    spec["deduplication"] = spec.get("deduplication", {}) | {"occurrenceCount": counted}
    if last_seen:
        spec["deduplication"]["lastSeen"] = last_seen
    if trimmed or members_cut:
        metadata["annotations"] = {objects.ANNOTATION_TRIMMED: "true"}
    return _encode({"metadata": metadata, "spec": spec})


# What follows mirrors the JSON of the API; everything that is not named is skipped.


class _Metadata(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel"):
    severity: str = ""
    priority: str = ""
    environment: str = ""
    firing_time: str = ""
    received_time: str = ""
    storm_window: str = ""
    signal_labels: dict[str, str] | None = None
    signal_annotations: dict[str, str] | None = None
    provider_data: msgspec.Raw = msgspec.Raw()


class _Request(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


class StormDecoder:
    """A `RemediationRequest` that is aggregated → `Storm`. `terminal_phases`: in which phases it is closed."""

    def __init__(self, terminal_phases: Collection[str]) -> None:
        self._decode_stored = RequestDecoder(terminal_phases)
        self._decode = msgspec.json.Decoder(_Request).decode

    def __call__(self, raw: bytes | msgspec.Raw) -> Storm:
        stored = self._decode_stored(raw)
        if not stored.is_storm:
            raise UndecodableError("not an aggregated request")
        try:
            request = self._decode(raw)
        except (msgspec.MsgspecError, ValueError) as error:
            raise UndecodableError(str(error)) from error
        spec = request.spec
        # Both are read from one text by one rule, so they are the same members, and none where it is damaged.
        members = () if stored.damaged else read_members(spec.provider_data)
        annotations = request.metadata.annotations or {}
        return Storm(
            stored=stored,
            members=members,
            labels=spec.signal_labels or {},
            annotations=spec.signal_annotations or {},
            severity=spec.severity,
            priority=spec.priority,
            environment=spec.environment,
            firing_time=spec.firing_time,
            received_at=spec.received_time,
            window_length=spec.storm_window,
            trimmed=objects.ANNOTATION_TRIMMED in annotations,
        )


def _member(newcomer: Newcomer, labels: Mapping[str, str], common: Mapping[str, str]) -> Member:
    signal = newcomer.signal
    return Member(
        fingerprint=signal.fingerprint,
        resource=fitting.cut(objects.encodable(signal.resource), LONGEST_RESOURCE),
        occurrences=newcomer.occurrences,
        starts_at=signal.starts_at,
        labels={key: value for key, value in labels.items() if key not in common},
        marks=newcomer.marks,
        resolved_since=newcomer.resolved_since,
        resolved_at=newcomer.resolved_at,
    )


def _changed(member: Member, change: Change | None) -> Member:
    if change is None:
        return member
    return msgspec.structs.replace(
        member,
        marks=change.marks,
        occurrences=change.occurrences,
        resolved_since=change.resolved_since,
        resolved_at=change.resolved_at,
    )


def _joined(
    storm: Storm, members: Sequence[Member], newcomers: Sequence[Newcomer]
) -> tuple[list[Member], dict[str, Any], bool]:
    """All members, the fields of the spec that newcomers can change, and whether any had to be cut."""
    signals = [newcomer.signal for newcomer in newcomers]
    labels = [objects.clean(signal.labels) for signal in signals]
    annotations = [objects.clean(signal.annotations) for signal in signals]
    common = shared_texts(storm.labels, labels, cut=storm.trimmed)
    common_annotations = shared_texts(storm.annotations, annotations, cut=storm.trimmed)
    sunk = {key: value for key, value in storm.labels.items() if key not in common}
    joined = [
        msgspec.structs.replace(member, labels=member.labels | sunk) if sunk else member for member in members
    ]
    joined += [_member(newcomer, own, common) for newcomer, own in zip(newcomers, labels, strict=True)]
    _expect_different(joined)
    resources, resources_cut = affected(joined)
    received = min([storm.received_at, *(signal.received_at for signal in signals)])
    last = max(signal.received_at for signal in signals)
    environments = [storm.environment, *(objects.environment(signal.environment) for signal in signals)]
    spec: dict[str, Any] = {
        "severity": worst([storm.severity, *(signal.severity for signal in signals)]),
        "environment": shared_environment(environments),
        "priority": min([storm.priority, *(objects.priority(signal.priority) for signal in signals)]),
        "firingTime": min([storm.firing_time, *(signal.starts_at for signal in signals)]),
        "receivedTime": received,
        "deduplication": {"firstSeen": received},
        "stormWindow": length(received, last, at_least=storm.window_length),
        "stormAlertCount": len(joined),
        "affectedResources": resources,
        # In a merge patch null takes a key away, and what is not named stays.
        "signalLabels": dict.fromkeys(sunk),
        "signalAnnotations": dict.fromkeys(storm.annotations.keys() - common_annotations.keys()),
    }
    return joined, spec, resources_cut


def _expect_different(members: Sequence[Member]) -> None:
    if len({member.fingerprint for member in members}) != len(members):
        raise ValueError("an alert joins a storm once")
