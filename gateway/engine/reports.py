"""What the engine tells people who ask, as the types that are encoded: they are the description of the API, too.

Names of fields are a contract with whoever reads the answers; what a field means stands below it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gateway.state.records import Seen


class Mode(StrEnum):
    """How new alerts are taken now, as far as the breakers know."""

    NORMAL = "normal"
    """By Redis, and written to Kubernetes from there."""
    DIRECT = "direct"
    """Redis is left alone: each is written to Kubernetes before the answer."""
    QUEUEING = "queueing"
    """Kubernetes takes no writes: Redis keeps them until it does."""
    REFUSING = "refusing"
    """Neither takes them: the answer is 503."""


class Queue(msgspec.Struct, frozen=True):
    """What waits to be written."""

    depth: int
    """Requests in the work queue of all replicas, as last seen."""
    failing: bool
    """Kubernetes takes no writes now."""


class BreakerReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A breaker: while it is not closed, what it guards is left alone."""

    state: str
    """`closed`, `open`, or `half-open`: a probe is under way."""
    reason: str | None = None
    """What failed last; null while it is closed."""
    retry_after_seconds: float | None = None
    """Until the next probe; null while it is closed."""


class JournalReport(msgspec.Struct, frozen=True):
    """The journal of this process."""

    bytes: int
    trouble: str
    """Why it cannot be written; empty where it can."""


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The state of everything that takes and writes alerts, from memory."""

    process: str
    """The id under which this process's marks stand in requests."""
    mode: Mode
    queue: Queue
    breakers: dict[str, BreakerReport]
    """By the name of what they guard: `redis`, `k8s_api`."""
    unconfirmed: int
    """Problems with occurrences that this process accepted and that no stored request covers yet."""
    slots: int
    """Problems that this process holds a number for."""
    requests: int
    """Requests that this process knows, open or closed."""
    windows: int
    """Storm windows that collect now, as last seen."""
    synced: bool
    """The requests were listed and are being watched."""
    watch_error: str | None = None
    """Why they are not."""
    journal: JournalReport | None = None
    """Null where there is none."""


class RequestReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A `RemediationRequest` of one problem."""

    namespace: str
    name: str
    generation: int
    """Which request of the problem it is, from 1; 0 where somebody else made it."""
    phase: str
    """`status.overallPhase`, empty before a controller sets it."""
    open: bool
    """Neither in a terminal phase nor being deleted: what fires again is counted on it."""
    occurrence_count: int


class RecentRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A `RemediationRequest` that changed lately: of one problem, or aggregated."""

    namespace: str
    name: str
    fingerprint: str
    """The problem; of an aggregated request, that of its window."""
    signal: str
    """The name of the alert."""
    generation: int
    phase: str
    """`status.overallPhase`, empty before a controller sets it."""
    open: bool
    """Neither in a terminal phase nor being deleted: what fires again is counted on it."""
    resolved: bool
    """What fired has stopped, as the sender says."""
    problems: int | None
    """Of an aggregated request, how many it holds; null for any other."""
    occurrence_count: int
    unconfirmed: int
    """Occurrences that this process accepted and that it does not hold yet."""
    taken_seconds_ago: float | None
    """Since this process last took an alert for it; null where another one did, or long ago."""


class StormReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An aggregated `RemediationRequest` that holds a problem among others."""

    namespace: str
    name: str
    window: str
    """The id of the window that it was made of."""
    phase: str
    """`status.overallPhase`, empty before a controller sets it."""
    open: bool
    """Neither in a terminal phase nor being deleted: what fires again is counted on it."""
    occurrence_count: int
    """Of all members together."""


class RecordState(StrEnum):
    """Where a fingerprint stands in Redis."""

    UNKNOWN = "unknown"
    """Redis does not answer."""
    ABSENT = "absent"
    """Redis does not know it."""
    SETTLED = "settled"
    """All that it has taken is in a request."""
    HELD = "held"
    """In a storm window that collects."""
    QUEUED = "queued"
    """Something is to be written later: it is being written now, waits its turn, or failed and is tried again."""
    DUE = "due"
    """Something is to be written now."""
    DEAD = "dead"
    """A dead letter: Kubernetes refused its request for good."""


class WindowState(StrEnum):
    """How far a window has got."""

    HOLDING = "holding"
    """Below its threshold."""
    STORMING = "storming"
    """From it on: a storm."""
    CLOSED = "closed"
    """It collects no more, and its request is being written."""


class HeldReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The window that an alert is held in."""

    id: str
    group: str
    state: WindowState
    members: int
    due_at: str
    """When it ends, as far as it can be told now (RFC 3339)."""


class DeadReport(msgspec.Struct, frozen=True, kw_only=True):
    """Why an alert is among the dead letters."""

    reason: str
    since: str
    """RFC 3339."""


class RecordReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What Redis, which all replicas share, holds of one problem."""

    state: RecordState
    detail: str | None = None
    """Why it is unknown."""
    generation: int | None = None
    """Of the open request, or of the one to be created."""
    unwritten: int | None = None
    """Occurrences that no request is known to hold."""
    attempts: int | None = None
    """Failed writes since the last one that went well."""
    due_at: str | None = None
    """When it is written, or tried again (RFC 3339)."""
    window: HeldReport | None = None
    dead_letter: DeadReport | None = None


class AlertReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of one problem: by this process, which watches Kubernetes, and by Redis."""

    fingerprint: str
    unconfirmed: int
    """Occurrences that this process accepted and that no stored request covers yet."""
    requests: list[RequestReport]
    """Those of the problem alone, in the order of their generations."""
    storms: list[StormReport]
    """Those that hold it among others."""
    window: str | None
    """The id of the window that holds it."""
    redis: RecordReport


class WindowReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A storm window that collects. Times are RFC 3339, by the clock of Redis."""

    id: str
    group: str
    """What its alerts have in common: namespace and alertname, by default."""
    state: WindowState
    members: int
    threshold: int
    """So many different problems make a storm."""
    opened_at: str
    last_member_at: str
    due_at: str
    due_in: float
    """Seconds until it ends; below 0 where its end is about to be noticed."""
    spilled: int
    """How often its buffer was full."""


def record_state(seen: Seen) -> RecordState:
    """Where a fingerprint stands."""
    if seen.dead:
        return RecordState.DEAD
    if seen.window and not seen.window.closed and seen.pending:
        return RecordState.HELD
    if seen.pending or seen.due_at >= 0:
        return RecordState.DUE if 0 <= seen.due_at <= seen.now else RecordState.QUEUED
    return RecordState.SETTLED if seen.known else RecordState.ABSENT
