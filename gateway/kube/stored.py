"""What the gateway keeps of Kubernetes objects.

Flat, frozen structs of strings and numbers: a replica that follows fifty thousand requests holds each of
them once, and the garbage collector never visits them (`gc=False`: nothing in them can lead back to them).
`gateway.kube.decoding` makes them from the bytes of an answer.

`resource_version` is a number. Kubernetes promises that the versions of one resource compare as decimal
integers (KEP-5504, and in fact true of every release before it).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.model import RequestRef


class MemberMarks(msgspec.Struct, frozen=True, gc=False):
    """What an aggregated request counts for one of its members."""

    applied: dict[str, str]
    """Slot → its intervals as text ("0-2,3-5"), in the order in which the slots were added."""
    resolved_since: str = ""
    """The `startsAt` of the member's latest episode that ended, and `resolved_at` its end; empty where none did."""
    resolved_at: str = ""


class Stored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A `RemediationRequest` as one answer or event showed it."""

    ref: RequestRef
    uid: str
    resource_version: int
    fingerprint: str = ""
    """`spec.signalFingerprint`: 64 hex digits; empty where someone stored an object without one."""
    generation: int = 0
    """Which own request of the fingerprint this is, from 1; 0 where it cannot be told (made by someone
    else)."""
    open: bool = True
    """The phase is not terminal and nobody has asked for its deletion."""
    phase: str = ""
    count: int = 0
    """`spec.deduplication.occurrenceCount`."""
    applied: str = ""
    """The annotation that holds the marks, as it is stored; empty where there is none."""
    signal_name: str = ""
    window: str = ""
    is_storm: bool = False
    """An aggregated request."""
    members: Mapping[str, MemberMarks] | None = None
    """Of an aggregated request: fingerprint → marks, in the order of joining; None for any other."""
    damaged: bool = False
    """An aggregated request whose members cannot be read: somebody else made it or edited it."""
    source: str = ""
    """What made the request (annotation `source`); empty where it does not say."""
    resolved_at: str = ""
    resolved_starts_at: str = ""
    deleted: bool = False
    """Deletion was asked for (`metadata.deletionTimestamp`); finalizers may keep the object for a while."""

    @property
    def namespace(self) -> str:
        return self.ref.namespace

    @property
    def name(self) -> str:
        return self.ref.name


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request as a metadata-only list shows it: that it exists, and in which version."""

    ref: RequestRef
    uid: str
    resource_version: int
    fingerprint: str
    """The label: the first 63 of the fingerprint's 64 digits (a label value holds no more)."""
    generation: int = 0


class Tomb(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is still known of a request that was deleted: enough to never count its occurrences again."""

    ref: RequestRef
    uid: str
    resource_version: int
    fingerprint: str
    generation: int
    applied: str
    """The final marks."""
    count: int
    resolved_starts_at: str
    is_storm: bool
    window: str
    members: Mapping[str, MemberMarks] | None
    """The final marks of an aggregated request."""
    died_at: float
    """The reader's clock, in seconds."""

    @classmethod
    def of(cls, last: Stored, now: float) -> Tomb:
        return cls(
            ref=last.ref,
            uid=last.uid,
            resource_version=last.resource_version,
            fingerprint=last.fingerprint,
            generation=last.generation,
            applied=last.applied,
            count=last.count,
            resolved_starts_at=last.resolved_starts_at,
            is_storm=last.is_storm,
            window=last.window,
            members=last.members,
            died_at=now,
        )


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """A Namespace, as far as the gateway cares."""

    name: str
    resource_version: int
    environment: str | None
    """The value of the configured label, None without it."""
    deleted: bool = False
    """It is being deleted and takes no new objects."""
