"""What stored `RemediationRequest`s say about counts, read as plain JSON: the audit's view of the cluster.

The audit is the oracle that the counting protocol is tested with, so nothing here is shared with the code that
writes these objects.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

_APPLIED = "remediation.kubernaut.io/applied"
_GENERATION = "remediation.kubernaut.io/generation"
_STORM = "remediation.kubernaut.io/storm"
_WINDOW = "remediation.kubernaut.io/window"
_RESOLVED_AT = "remediation.kubernaut.io/signal-resolved-at"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_INTERVAL = re.compile(r"(\d+)-(\d+)")

ProblemKey = tuple[tuple[tuple[str, str], ...], str]
"""What tells one problem from another on the sender's side: its labels, and the annotation `fingerprint`."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored `RemediationRequest` says about counts."""

    name: str
    """`namespace/name`."""
    open: bool
    count: int
    occurrences: dict[str, int]
    """Fingerprint → occurrences: one entry for an own request, one a member for an aggregated one."""
    problems: dict[str, ProblemKey]
    """Fingerprint → the labels of its alert, as far as the request keeps them."""
    storm: bool = False
    """Whether it is an aggregated request."""
    generation: int = 0
    ours: bool = True
    """Whether the gateway made it of a Prometheus alert; others may keep requests of their own."""
    signal: str = ""
    """The name of the alert, or of the storm's."""
    phase: str = ""
    last_seen: str = ""
    resolved_at: str = ""
    """When its alert resolved, empty while it fires."""
    fault: str | None = None
    """Why the object contradicts itself, if it does."""

    def holds(self, fingerprint: str) -> bool:
        """Whether it is open and the fingerprint's. A member that gave up all it counted is held elsewhere."""
        counted = self.occurrences.get(fingerprint)
        return self.open and counted is not None and (counted > 0 or not self.storm)


def read_request(item: Mapping[str, Any], terminal_phases: Collection[str]) -> Request:
    """Read a `RemediationRequest` from its JSON. Never raises: what cannot be read becomes the `fault`."""
    meta, spec = _mapping(item.get("metadata")), _mapping(item.get("spec"))
    labels, annotations = _mapping(meta.get("labels")), _mapping(meta.get("annotations"))
    phase = _mapping(item.get("status")).get("overallPhase") or ""
    deduplication = _mapping(spec.get("deduplication"))
    count = deduplication.get("occurrenceCount")
    generation = str(labels.get(_GENERATION, ""))
    storm = bool(spec.get("isStorm")) or labels.get(_STORM) == "true"
    occurrences: dict[str, int] = {}
    problems: dict[str, ProblemKey] = {}
    try:
        if not isinstance(count, int):
            raise TypeError("spec.deduplication.occurrenceCount is no number")
        if storm:
            fault = _read_members(spec, count, occurrences, problems)
        else:
            fingerprint = str(spec["signalFingerprint"])
            occurrences[fingerprint] = count
            problems[fingerprint] = problem_key(
                _mapping(spec.get("signalLabels")), _mapping(spec.get("signalAnnotations"))
            )
            marked = applied_sum(annotations.get(_APPLIED, "{}"))
            fault = None
            if set(marked) - {fingerprint} or marked.get(fingerprint, 0) != count:
                fault = f"occurrenceCount is {count}, its marks say {marked or 'nothing'}"
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as reason:
        fault = f"cannot be read: {type(reason).__name__}: {reason}"
    return Request(
        name=f"{meta.get('namespace', '')}/{meta.get('name', '')}",
        open=phase not in terminal_phases and not meta.get("deletionTimestamp"),
        count=count if isinstance(count, int) else 0,
        occurrences=occurrences,
        problems=problems,
        storm=storm,
        generation=int(generation) if generation.isdecimal() else 0,
        ours=_is_ours(labels, annotations) and spec.get("signalType", "prometheus") == "prometheus",
        signal=str(spec.get("signalName") or ""),
        phase=str(phase),
        last_seen=str(deduplication.get("lastSeen") or ""),
        resolved_at=str(annotations.get(_RESOLVED_AT) or ""),
        fault=fault,
    )


def _is_ours(labels: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    """Whether the gateway made the object; somebody may have taken off one of its marks, but hardly all."""
    return labels.get(_MANAGED_BY) == "gateway" or _APPLIED in annotations or _WINDOW in labels


def _read_members(
    spec: Mapping[str, Any], count: int, occurrences: dict[str, int], problems: dict[str, ProblemKey]
) -> str | None:
    """Read the members of an aggregated request into the two tables; return what does not add up."""
    provider_data = json.loads(base64.b64decode(spec.get("providerData", ""), validate=True))
    common = _mapping(spec.get("signalLabels"))
    members = provider_data["members"]
    wrong = []
    for member in members:
        fingerprint, counted = str(member["fingerprint"]), int(member["occurrences"])
        occurrences[fingerprint] = occurrences.get(fingerprint, 0) + counted
        problems[fingerprint] = problem_key({**common, **member.get("labels", {})}, {})
        if "marks" in member and (marked := marks_sum(member["marks"])) != counted:
            wrong.append(f"member {fingerprint[:10]} has {counted}, its marks say {marked}")
    summed = sum(occurrences.values())
    if summed != count:
        wrong.append(f"occurrenceCount is {count}, its members sum up to {summed}")
    if len(occurrences) != len(members):
        wrong.append("a member is there more than once")
    if spec.get("stormAlertCount", len(members)) != len(members):
        wrong.append(f"stormAlertCount is {spec['stormAlertCount']}, it has {len(members)} members")
    return "; ".join(wrong[:3]) or None


def applied_sum(annotation: str) -> dict[str, int]:
    """Return fingerprint → Σ (hi − lo) of an `applied` annotation: fingerprint → slot → `lo-hi[,lo-hi]`.

    Raises `ValueError` where it is not of that form.
    """
    return {fingerprint: marks_sum(slots) for fingerprint, slots in json.loads(annotation).items()}


def marks_sum(slots: Mapping[str, str]) -> int:
    """Return Σ (hi − lo) of slot → `lo-hi[,lo-hi]`. Raises `ValueError` where it is not of that form."""
    total = 0
    for slot, mark in slots.items():
        floor = 0
        for part in mark.split(","):
            interval = _INTERVAL.fullmatch(part)
            if interval is None or not floor <= int(interval[1]) <= int(interval[2]):
                raise ValueError(f"mark {mark!r} of slot {slot}")
            floor = int(interval[2])
            total += floor - int(interval[1])
    return total


def problem_key(labels: Mapping[str, str], annotations: Mapping[str, str]) -> ProblemKey:
    """Return what tells one problem from another on the sender's side. An empty label is an absent one."""
    named = tuple(sorted((name, value) for name, value in labels.items() if value != ""))
    return named, annotations.get("fingerprint", "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
