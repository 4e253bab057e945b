"""The Kubernetes API of the simulation: objects, versions, watches, and rules that nobody may break."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway import errors
from gateway.engine import marks as marking
from gateway.kube.decoding import HeadDecoder, RequestDecoder
from gateway.kube.objects import ANNOTATION_APPLIED, LABEL_FINGERPRINT
from gateway.kube.stored import Head, Stored
from gateway.kube.storms import Storm, StormDecoder
from gateway.model import RequestRef

TERMINAL = ("Completed", "Failed", "Cancelled", "TimedOut", "Skipped")


class Violation(AssertionError):
    """A promise was broken."""


class Api:
    """One API server. `events` is the whole history, for watches."""

    def __init__(self, namespaces: Sequence[str] = ("prod",)) -> None:
        self.namespaces = set(namespaces)
        self.objects: dict[RequestRef, dict[str, Any]] = {}
        self.version = 0
        self.events: list[tuple[str, Stored]] = []
        self.finals: dict[str, list[Stored]] = {}
        """Deleted requests as they last were, by fingerprint."""
        self.split: dict[str, int] = {}
        """Fingerprint → the most requests of it that were open at once."""
        self.writes = 0
        self.listeners: list[Callable[[], None]] = []
        self._uid = 0
        self._decode = RequestDecoder(TERMINAL)
        self._head = HeadDecoder()
        self._storm = StormDecoder(TERMINAL)
        self.born: dict[str, int] = {}
        """Window → how many requests were created for it."""

    # --- what the gateway calls

    def create(self, namespace: str, body: bytes) -> Stored:
        sent = msgspec.json.decode(body)
        ref = RequestRef(namespace, sent["metadata"]["name"])
        if namespace not in self.namespaces:
            raise errors.KubeNamespaceMissing(f"namespace {namespace} not found", status=404)
        if ref in self.objects:
            raise errors.KubeAlreadyExists(f"{ref} exists", status=409)
        self._uid += 1
        sent["metadata"]["uid"] = f"uid-{self._uid}"
        self.writes += 1
        stored = self._store("ADDED", ref, sent)
        if stored.is_storm:
            self.born[stored.window] = self.born.get(stored.window, 0) + 1
        return stored

    def patch(self, ref: RequestRef, body: bytes) -> Stored:
        found = self._find(ref)
        change = msgspec.json.decode(body)
        if change["metadata"].pop("resourceVersion") != found["metadata"]["resourceVersion"]:
            raise errors.KubeConflict(f"{ref} was changed", status=409)
        before = self._stored(found)
        merged = _merge(copy.deepcopy(found), change)
        after = self._stored(merged)
        if not before.open and counts(after) != counts(before):
            raise Violation(f"a closed request was counted on: {ref}")
        if after.count != sum(counts(after).values()):
            raise Violation(f"{ref}: the count is not the sum of its marks")
        self.writes += 1
        return self._store("MODIFIED", ref, merged)

    def get(self, ref: RequestRef) -> Stored:
        return self._stored(self._find(ref))

    def storm(self, ref: RequestRef) -> Storm:
        return self._storm(msgspec.json.encode(self._find(ref)))

    def delete(self, ref: RequestRef, uid: str, resource_version: int) -> None:
        found = self._find(ref)
        metadata = found["metadata"]
        if metadata["uid"] != uid or metadata["resourceVersion"] != str(resource_version):
            raise errors.KubeConflict(f"{ref} is not what was to be deleted", status=409)
        self._remove(ref)

    def heads(self, fingerprints: Sequence[str], namespaces: Sequence[str] | None) -> list[Head]:
        wanted = {fingerprint[:63] for fingerprint in fingerprints}
        return [
            self._head(msgspec.json.encode({"metadata": found["metadata"]}))
            for ref, found in self.objects.items()
            if found["metadata"]["labels"].get(LABEL_FINGERPRINT) in wanted
            and (namespaces is None or ref.namespace in namespaces)
        ]

    # --- what others do

    def listed(self) -> list[Stored]:
        return [self._stored(found) for found in self.objects.values()]

    def open_requests(self) -> list[Stored]:
        return [stored for stored in self.listed() if stored.open]

    def close(self, ref: RequestRef, phase: str = "Completed") -> None:
        found = copy.deepcopy(self._find(ref))
        found["status"] = {"overallPhase": phase}
        self._store("MODIFIED", ref, found)

    def touch(self, ref: RequestRef, text: str) -> None:
        """A rival writer: changes something that is not the gateway's, and so the version."""
        found = copy.deepcopy(self._find(ref))
        found["metadata"]["annotations"]["rival"] = text
        self._store("MODIFIED", ref, found)

    def remove(self, ref: RequestRef) -> None:
        self._remove(ref)

    # --- inside

    def _find(self, ref: RequestRef) -> dict[str, Any]:
        if ref not in self.objects:
            raise errors.KubeNotFound(f"{ref} not found", status=404)
        return self.objects[ref]

    def _store(self, kind: str, ref: RequestRef, found: dict[str, Any]) -> Stored:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self.objects[ref] = found
        stored = self._stored(found)
        self.events.append((kind, stored))
        self._observe(stored)
        return stored

    def _remove(self, ref: RequestRef) -> None:
        found = copy.deepcopy(self._find(ref))
        del self.objects[ref]
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        stored = self._stored(found)
        self.finals.setdefault(stored.fingerprint, []).append(stored)
        self.events.append(("DELETED", stored))
        self._observe(stored)

    def _observe(self, changed: Stored) -> None:
        opened: dict[str, int] = {}
        for stored in self.open_requests():
            for fingerprint in counts(stored):
                opened[fingerprint] = opened.get(fingerprint, 0) + 1
        for fingerprint in counts(changed):
            self.split[fingerprint] = max(self.split.get(fingerprint, 0), opened.get(fingerprint, 0))
        for listener in self.listeners:
            listener()

    def _stored(self, found: dict[str, Any]) -> Stored:
        return self._decode(msgspec.json.encode(found))

    def applied(self, ref: RequestRef) -> str:
        return str(self.objects[ref]["metadata"]["annotations"].get(ANNOTATION_APPLIED, ""))


def counts(stored: Stored) -> dict[str, int]:
    """What a request counts, by fingerprint: its own, or its members'."""
    if not stored.is_storm:
        return {stored.fingerprint: marking.total(marking.parse(stored.applied, stored.fingerprint))}
    return {
        fingerprint: marking.total(marking.read(member.applied))
        for fingerprint, member in (stored.members or {}).items()
    }


def _merge(target: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            target[key] = _merge(target.get(key) or {}, value)
        else:
            target[key] = value
    return target
