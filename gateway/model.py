"""The words of the domain, as frozen types: what travels between the packages, and nothing that acts.

Nothing here does I/O, reads a clock or imports another package of the project. Times are strings in one
fixed-width form, UTC with nanoseconds (`2026-01-31T09:00:00.000000000Z`), so that they compare as text in Python
and in Lua alike, and lose no precision on the way.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

API_GROUP = "remediation.kubernaut.io"
API_VERSION = "v1alpha1"
PLURAL = "remediationrequests"
KIND = "RemediationRequest"


class Severity(StrEnum):
    """What a `RemediationRequest` calls its severity."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Outcome(StrEnum):
    """What became of one alert of a webhook; the same word in the answer, the log and the metric."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    BUFFERED = "buffered"
    QUEUED = "queued"
    RESOLVED = "resolved"
    DENIED = "denied"
    INVALID = "invalid"


class Happening(StrEnum):
    """What became of a request; the `reason` of an event about it."""

    CREATED = "Created"
    STORM_CLOSED = "StormClosed"
    """Its window takes no more members."""
    GAVE_UP = "GaveUpCount"
    """Another open request counts the same, and keeps it."""
    DISCARDED = "Discarded"
    """It counted nothing any more, and is deleted."""


class RequestRef(msgspec.Struct, frozen=True, gc=False):
    """Where a `RemediationRequest` is stored."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Signal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert, validated, fingerprinted and classified: all that its request is made of.

    It is also the payload that a record in Redis keeps until the request exists, so that any replica can write it:
    new fields need a default, because an older replica's payload may be read by a newer one and the reverse.
    """

    fingerprint: str
    """64 hex digits (SHA-256) that name one problem on one resource."""
    alertname: str
    namespace: str
    """The alert's own namespace label; empty where it names none (the request goes to the fallback namespace)."""
    group: str
    """The key of the group by which storms are counted; its shard holds everything about the fingerprint."""
    labels: dict[str, str]
    annotations: dict[str, str]
    severity: Severity
    environment: str
    priority: str
    """P0 (most urgent) to P3."""
    resource: str = ""
    """`namespace:Kind:name` of what the labels name, empty where they name nothing."""
    starts_at: str
    """When it began to fire, fixed-width; the time of receipt where the sender did not say."""
    dated: bool = True
    """False where `starts_at` is only the time of receipt: such an alert is never stale."""
    received_at: str
    raw: bytes = b""
    """The alert's own JSON as it was sent; empty where it was too large to keep."""
    traceparent: str = ""
    """The trace of the webhook that it came with, in W3C's form; empty where it is not traced."""


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """How a new alert is held: what its group's window is opened with. Times in milliseconds."""

    threshold: int
    """Different fingerprints that make a storm."""
    hold: int
    """How long the first alerts wait for company."""
    inactivity: int
    """A storm is over this long after its last new alert …"""
    max_window: int
    """… and this long after its first one at the latest."""
    early: bool
    """The aggregated request is written at the threshold, and not only at the end."""
    buffer_size: int
    """Members that one key in Redis holds."""
    max_alerts: int
    """Members of one window."""


class WindowView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The window that holds an alert, as an answer tells it."""

    id: str
    due_at: str
    """When it ends, as far as it can be told now (RFC 3339)."""
    members: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What became of one alert, as the answer to its webhook tells it."""

    outcome: Outcome
    fingerprint: str | None = None
    request: RequestRef | None = None
    occurrence_count: int | None = None
    """Occurrences of the open request, as far as this replica knows: what is stored plus its own unconfirmed ones."""
    reason: str | None = None
    """Why it is denied or invalid, in one word; that of a denial is also the label of the metric."""
    detail: str | None = None
    window: WindowView | None = None


class TokenOwner(msgspec.Struct, frozen=True):
    """Whom Kubernetes says that a token belongs to."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: dict[str, list[str]]
