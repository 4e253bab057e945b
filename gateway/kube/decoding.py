"""From the bytes of an answer to what the gateway keeps, without the client library's model classes.

Those take about a millisecond an object and build everything. Here msgspec decodes the few fields that matter
and skips the rest, some microseconds an object. Each object of a list is decoded by itself, so that one of a
strange shape (an older CRD, a hand-made object) is left out and counted instead of hiding all others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import field

from gateway.kube import members, objects
from gateway.kube.stored import Head, MemberMarks, Space, Stored
from gateway.model import RequestRef


class Versioned(Protocol):
    """What lists and watches are made of."""

    @property
    def resource_version(self) -> int: ...


T = TypeVar("T", bound=Versioned)
T_co = TypeVar("T_co", covariant=True)


class UndecodableError(Exception):
    """The bytes are not the object that was asked for."""


class Change(StrEnum):
    """What an event of a watch says."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    UNKNOWN = "UNKNOWN"
    """A kind that did not exist yet, or an object that cannot be read: only its version counts."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: list[T]
    resource_version: int
    """That of the whole list: all its pages show the same moment."""
    token: str
    """What asks for the next page; empty on the last."""
    skipped: int = 0
    """Objects that could not be read."""


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One line of a watch."""

    change: Change
    resource_version: int
    item: T | None
    """What was added, modified or deleted (then its last state); None with the other kinds."""

    @property
    def unreadable(self) -> bool:
        return self.change is Change.UNKNOWN


@dataclass(frozen=True, slots=True)
class Failure:
    """The line by which a watch says that it cannot go on: an HTTP status, and the body with it."""

    status: int
    body: bytes


class Decoder(Protocol[T_co]):
    """Makes one kind of object out of its bytes; raises `UndecodableError`."""

    def __call__(self, raw: bytes | msgspec.Raw) -> T_co: ...


# What follows mirrors the JSON of the API; everything that is not named is skipped.


class _Labels(msgspec.Struct):
    generation: str = field(name=objects.LABEL_GENERATION, default="")
    window: str = field(name=objects.LABEL_WINDOW, default="")
    fingerprint: str = field(name=objects.LABEL_FINGERPRINT, default="")


class _Annotations(msgspec.Struct):
    applied: str = field(name=objects.ANNOTATION_APPLIED, default="")
    source: str = field(name=objects.ANNOTATION_SOURCE, default="")
    resolved_at: str = field(name=objects.ANNOTATION_RESOLVED_AT, default="")
    resolved_starts_at: str = field(name=objects.ANNOTATION_RESOLVED_STARTS_AT, default="")


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    uid: str
    resource_version: str
    namespace: str = ""
    deletion_timestamp: str | None = None
    labels: _Labels | None = None
    annotations: _Annotations | None = None


class _Deduplication(msgspec.Struct, rename="camel"):
    occurrence_count: int = 0


class Spec(msgspec.Struct, rename="camel"):
    """What is read of a request's spec."""

    signal_fingerprint: str = ""
    signal_name: str = ""
    is_storm: bool = False
    deduplication: _Deduplication | None = None
    # As bytes, because only an aggregated request's is read; that can be a megabyte.
    provider_data: msgspec.Raw = msgspec.Raw()


class _Status(msgspec.Struct, rename="camel"):
    overall_phase: str = ""


class _Request(msgspec.Struct):
    metadata: _Metadata
    spec: Spec | None = None
    status: _Status | None = None


class _Sent(msgspec.Struct):
    spec: Spec | None = None


class _Head(msgspec.Struct):
    metadata: _Metadata


class _SpaceMetadata(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None


class _Space(msgspec.Struct):
    metadata: _SpaceMetadata


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = "0"
    token: str | None = field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _VersionOnly(msgspec.Struct):
    class Metadata(msgspec.Struct, rename="camel"):
        resource_version: str = "0"

    metadata: Metadata


class _Code(msgspec.Struct):
    code: int = 500


_NO_LABELS, _NO_ANNOTATIONS = _Labels(), _Annotations()
_NO_SPEC, _NO_STATUS, _NO_DEDUPLICATION = Spec(), _Status(), _Deduplication()
_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_sent = msgspec.json.Decoder(_Sent)
_version_only = msgspec.json.Decoder(_VersionOnly)
_code = msgspec.json.Decoder(_Code)
_CHANGES = {change.value: change for change in Change}
_LARGEST_GENERATION = 10**9
# ValueError: a resourceVersion that is no number, or text that is not UTF-8.
_FAULTS = (msgspec.MsgspecError, ValueError)


class RequestDecoder:
    """`RemediationRequest` → `Stored`. `terminal_phases`: in which phases a request is closed."""

    def __init__(self, terminal_phases: Collection[str]) -> None:
        self._terminal = frozenset(terminal_phases)
        self._decode = msgspec.json.Decoder(_Request).decode

    def __call__(self, raw: bytes | msgspec.Raw, sent: Spec | None = None) -> Stored:
        """`sent`: the spec where the answer has none, as one of metadata only."""
        try:
            request = self._decode(raw)
            metadata = request.metadata
            version = int(metadata.resource_version)
        except _FAULTS as error:
            raise UndecodableError(str(error)) from error
        labels = metadata.labels or _NO_LABELS
        annotations = metadata.annotations or _NO_ANNOTATIONS
        spec = request.spec or sent or _NO_SPEC
        phase = (request.status or _NO_STATUS).overall_phase
        deleted = metadata.deletion_timestamp is not None
        held, damaged = _members(spec)
        return Stored(
            ref=RequestRef(intern(metadata.namespace), metadata.name),
            uid=metadata.uid,
            resource_version=version,
            fingerprint=spec.signal_fingerprint,
            generation=_generation(labels.generation, metadata.name, spec.signal_fingerprint),
            open=phase not in self._terminal and not deleted,
            phase=intern(phase),
            count=(spec.deduplication or _NO_DEDUPLICATION).occurrence_count,
            applied=annotations.applied,
            signal_name=intern(spec.signal_name),
            window=labels.window or (_window(metadata.name, spec) if spec.is_storm else ""),
            is_storm=spec.is_storm,
            members=held,
            damaged=damaged,
            source=intern(annotations.source),
            resolved_at=annotations.resolved_at,
            resolved_starts_at=annotations.resolved_starts_at,
            deleted=deleted,
        )


class HeadDecoder:
    """Metadata of a `RemediationRequest` → `Head`."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(_Head).decode

    def __call__(self, raw: bytes | msgspec.Raw) -> Head:
        try:
            metadata = self._decode(raw).metadata
            version = int(metadata.resource_version)
        except _FAULTS as error:
            raise UndecodableError(str(error)) from error
        labels = metadata.labels or _NO_LABELS
        return Head(
            ref=RequestRef(intern(metadata.namespace), metadata.name),
            uid=metadata.uid,
            resource_version=version,
            fingerprint=labels.fingerprint,
            generation=_generation(labels.generation, metadata.name, labels.fingerprint),
        )


class SpaceDecoder:
    """Metadata of a `Namespace` → `Space`."""

    def __init__(self, environment_label: str) -> None:
        self._label = environment_label
        self._decode = msgspec.json.Decoder(_Space).decode

    def __call__(self, raw: bytes | msgspec.Raw) -> Space:
        try:
            metadata = self._decode(raw).metadata
            version = int(metadata.resource_version)
        except _FAULTS as error:
            raise UndecodableError(str(error)) from error
        return Space(
            name=metadata.name,
            resource_version=version,
            environment=(metadata.labels or {}).get(self._label) or None,
            deleted=metadata.deletion_timestamp is not None,
        )


def spec_of(body: bytes) -> Spec:
    """The spec of a request that is to be created; an empty one where it has a shape that no request has."""
    try:
        return _sent.decode(body).spec or _NO_SPEC
    except msgspec.MsgspecError:
        return _NO_SPEC


def decode_page(body: bytes, decoder: Decoder[T]) -> Page[T]:
    """One page of a list; raises `UndecodableError` if it is none."""
    try:
        page = _list.decode(body)
        version = int(page.metadata.resource_version)
    except _FAULTS as error:
        raise UndecodableError(str(error)) from error
    items, skipped = [], 0
    for raw in page.items or ():
        try:
            items.append(decoder(raw))
        except UndecodableError:
            skipped += 1
    return Page(items=items, resource_version=version, token=page.metadata.token or "", skipped=skipped)


def decode_line(line: bytes, decoder: Decoder[T]) -> Event[T] | Failure:
    """One line of a watch; raises `UndecodableError` if it has not even a version."""
    try:
        event = _line.decode(line)
        if event.type == "ERROR":
            return Failure(_code.decode(event.object).code, bytes(event.object))
        change = _CHANGES.get(event.type, Change.UNKNOWN)
        if change is not Change.BOOKMARK and change is not Change.UNKNOWN:
            try:
                item = decoder(event.object)
            except UndecodableError:
                change = Change.UNKNOWN
            else:
                return Event(change, item.resource_version, item)
        return Event(change, int(_version_only.decode(event.object).metadata.resource_version), None)
    except _FAULTS as error:
        raise UndecodableError(str(error)) from error


def _members(spec: Spec) -> tuple[dict[str, MemberMarks] | None, bool]:
    """An aggregated request's members, and whether they could not be read."""
    if not spec.is_storm:
        return None, False
    try:
        return members.read_marks(spec.provider_data), False
    except members.DamagedError:
        return {}, True


def _window(name: str, spec: Spec) -> str:
    """Where somebody stripped the label: from the name, if the fingerprint bears it out."""
    window = name.rpartition("-storm-")[2]
    return window if objects.window_fingerprint(window) == spec.signal_fingerprint else ""


def _generation(label: str, name: str, fingerprint: str) -> int:
    """From the label; without it (someone stripped it) from a name that only the gateway would choose; else
    0."""
    if not label:
        parts = name.rsplit("-", 2)
        if len(parts) < 3 or len(parts[1]) not in objects.NAME_DIGITS or not fingerprint.startswith(parts[1]):
            return 0
        label = parts[2]
    if not (label.isascii() and label.isdigit()):
        return 0
    generation = int(label)
    return generation if generation <= _LARGEST_GENERATION else 0
