"""The operations of the API on its objects: create, read, list, replace, patch, delete.

No HTTP here and no waiting: every operation runs to its end before the next one starts, so each is atomic, and a
patch never loses a race that its caller did not ask about. Refusals are raised as `ApiError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.dev.kubernetes import admission, errors
from gateway.dev.kubernetes.admission import PLAIN, Admitted, WriteOptions, timestamp
from gateway.dev.kubernetes.kinds import DEFINITIONS, EVENTS, JSON_PATCH, NAMESPACES, Kind, defined_by
from gateway.dev.kubernetes.patches import PatchError, json_patch, merge_patch
from gateway.dev.kubernetes.selectors import Matches
from gateway.dev.kubernetes.store import HISTORY, Collection, Gone, Oversized, Stored, Versions

_PROTECTED = frozenset(("default", "kube-system", "kube-public"))


@dataclass(frozen=True, slots=True)
class Written:
    """The object after a write, and the warnings that go with the answer."""

    stored: Stored
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list. `more` is the key to continue after, None at the end; `remaining` counts the rest where known."""

    items: Sequence[Stored]
    version: int
    more: str | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What must hold for a deletion to happen."""

    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


ANYWAY = DeleteOptions()


class Api:
    """Every object of the embedded cluster. `clock` returns an aware datetime in UTC."""

    def __init__(self, *, clock: Callable[[], datetime], history: int = HISTORY) -> None:
        self.clock = clock
        self.versions = Versions()
        self._history = history
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._collections: dict[tuple[str, str], Collection] = {}
        for kind in (NAMESPACES, EVENTS, DEFINITIONS):
            self._serve(kind)
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def kinds(self) -> Iterable[Kind]:
        return self._kinds.values()

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def collection(self, kind: Kind) -> Collection:
        return self._collections[kind.group, kind.plural]

    def _serve(self, kind: Kind) -> None:
        self._kinds[kind.group, kind.version, kind.plural] = kind
        if (kind.group, kind.plural) not in self._collections:
            self._collections[kind.group, kind.plural] = Collection(self.versions, self._history)

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Stored:
        stored = self.collection(kind).get(namespace, name)
        if stored is None:
            raise errors.not_found(kind.about(name))
        return stored

    def list(
        self,
        kind: Kind,
        namespace: str,
        matches: Matches | None = None,
        *,
        limit: int = 0,
        version: int | None = None,
        after: str = "",
    ) -> Page:
        """At most `limit` (0: all) of the objects that match, as of `version` (None: now), after the key `after`."""
        try:
            view = self.collection(kind).view(version)
        except Gone:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a "
                "new list without the continue parameter."
            ) from None
        items: list[Stored] = []
        beyond = 0
        for stored in view.after(after, namespace):
            if matches is not None and not matches(stored):
                continue
            if limit and len(items) == limit:
                beyond += 1
                if matches is not None:
                    break
            else:
                items.append(stored)
        as_of = self.versions.current if version is None else version
        if not beyond:
            return Page(items, as_of)
        return Page(items, as_of, more=items[-1].key, remaining=beyond if matches is None else None)

    # Writing

    def create(self, kind: Kind, namespace: str, given: Any, options: WriteOptions = PLAIN) -> Written:
        admitted = self._admit_new(kind, namespace, given, options)
        name = admitted.body["metadata"]["name"]
        if self.collection(kind).get(namespace, name) is not None:
            raise errors.already_exists(kind.about(name))
        if kind is DEFINITIONS:
            admitted.body["status"] = _established(admitted.body)
        return self._store(kind, admitted, options)

    def _admit_new(self, kind: Kind, namespace: str, given: Any, options: WriteOptions) -> Admitted:
        if kind.namespaced:
            self._expect_home(kind, namespace, given)
        return admission.for_create(kind, given, namespace, self.clock(), options)

    def _expect_home(self, kind: Kind, namespace: str, given: Any) -> None:
        home = self.collection(NAMESPACES).get("", namespace)
        if home is not None and not home.terminating:
            return
        meta = given.get("metadata") if isinstance(given, dict) else None
        name = str(meta.get("name") or "") if isinstance(meta, dict) else ""
        if home is None:
            raise errors.not_found(NAMESPACES.about(namespace))
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        cause = errors.Cause(
            "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
        )
        raise errors.forbidden(kind.about(name), why, [cause])

    def replace(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        given: Any,
        options: WriteOptions = PLAIN,
        *,
        status: bool = False,
    ) -> Written:
        return self._update(
            kind, self.get(kind, namespace, name), given, options, status=status, patched=False
        )

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        content_type: str,
        patch: Any,
        options: WriteOptions = PLAIN,
        *,
        status: bool = False,
    ) -> Written:
        """Applies a decoded patch; `content_type` is one of `kind.patches` (a strategic merge merges as JSON does)."""
        old = self.get(kind, namespace, name)
        body = old.body()
        if content_type == JSON_PATCH:
            try:
                changed = json_patch(body, patch)
            except PatchError:
                raise errors.rejected_patch() from None
        else:
            changed = merge_patch(body, patch)
        return self._update(kind, old, changed, options, status=status, patched=True)

    def _update(
        self, kind: Kind, old: Stored, given: Any, options: WriteOptions, *, status: bool, patched: bool
    ) -> Written:
        before = old.body()
        admitted = admission.for_update(kind, given, before, options, status=status, patched=patched)
        body = admitted.body
        version = before["metadata"]["resourceVersion"]
        if {**body, "metadata": {**body["metadata"], "resourceVersion": version}} == before:
            return Written(old, admitted.warnings)
        if old.terminating and not body["metadata"].get("finalizers") and kind is not NAMESPACES:
            if options.dry_run:
                return Written(Stored(body), admitted.warnings)
            return Written(self.collection(kind).remove(old, body), admitted.warnings)
        return self._store(kind, admitted, options, version)

    def _store(self, kind: Kind, admitted: Admitted, options: WriteOptions, version: str = "") -> Written:
        if options.dry_run:
            if version:
                admitted.body["metadata"]["resourceVersion"] = version
            return Written(Stored(admitted.body), admitted.warnings)
        try:
            stored = self.collection(kind).put(admitted.body)
        except Oversized:
            raise errors.internal("etcdserver: request is too large") from None
        if kind is DEFINITIONS:
            for defined in defined_by(admitted.body):
                self._serve(defined)
        return Written(stored, admitted.warnings)

    # Deleting

    def delete(
        self, kind: Kind, namespace: str, name: str, options: DeleteOptions = ANYWAY
    ) -> tuple[Stored, bool]:
        """The object's last state, and whether it is gone: finalizers (and a namespace's content) keep it a while."""
        stored = self.get(kind, namespace, name)
        self._expect(kind, stored, options)
        if kind is NAMESPACES:
            return self._terminate(stored, options), False
        body = stored.body()
        if body["metadata"].get("finalizers"):
            if options.dry_run or stored.terminating:
                return stored, False
            self._mark(body)
            return self.collection(kind).put(body), False
        if not options.dry_run:
            self.collection(kind).remove(stored)
        return stored, True

    def delete_all(
        self, kind: Kind, namespace: str, matches: Matches | None = None, options: DeleteOptions = ANYWAY
    ) -> Page:
        """Deletes what matches; returns it as it was."""
        page = self.list(kind, namespace, matches)
        for stored in page.items:
            self.delete(kind, stored.namespace, stored.name, DeleteOptions(dry_run=options.dry_run))
        return Page(page.items, self.versions.current)

    def finish_namespace(self, name: str) -> None:
        """What a cluster's namespace controller does: deletes a terminating namespace's content, then itself."""
        namespaces = self.collection(NAMESPACES)
        home = namespaces.get("", name)
        if home is None or not home.terminating:
            return
        for kind in list(self._kinds.values()):
            if kind.namespaced:
                for stored in self.list(kind, name).items:
                    self.collection(kind).remove(stored)
        namespaces.remove(home)

    def _expect(self, kind: Kind, stored: Stored, options: DeleteOptions) -> None:
        about = kind.about_kind(stored.name)
        if options.uid is not None and options.uid != stored.uid:
            raise errors.conflict(
                about,
                f"the UID in the precondition ({options.uid}) does not match the UID in record ({stored.uid}). "
                "The object might have been deleted and then recreated",
            )
        if options.version is not None and options.version != str(stored.version):
            raise errors.conflict(
                about,
                f"the ResourceVersion in the precondition ({options.version}) does not match the ResourceVersion in "
                f"record ({stored.version}). The object might have been modified",
            )

    def _terminate(self, stored: Stored, options: DeleteOptions) -> Stored:
        if stored.name in _PROTECTED:
            raise errors.forbidden(NAMESPACES.about(stored.name), "this namespace may not be deleted")
        if stored.terminating or options.dry_run:
            return stored
        body = stored.body()
        body["metadata"]["deletionTimestamp"] = timestamp(self.clock())
        body["status"] = {"phase": "Terminating"}
        return self.collection(NAMESPACES).put(body)

    def _mark(self, body: dict[str, Any]) -> None:
        meta = body["metadata"]
        meta["deletionTimestamp"] = timestamp(self.clock())
        meta["deletionGracePeriodSeconds"] = 0
        if "generation" in meta:
            meta["generation"] += 1


def _established(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The status that a server gives a CRD once it serves it; `kubectl wait --for=condition=established` reads it."""
    spec, since = definition["spec"], definition["metadata"]["creationTimestamp"]
    conditions = [
        {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"},
        {
            "type": "Established",
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
        },
    ]
    return {
        "acceptedNames": spec["names"],
        "conditions": [
            {**condition, "status": "True", "lastTransitionTime": since} for condition in conditions
        ],
        "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
    }
