"""The kinds that are served: namespaces, events, CRDs, and what the CRDs define.

A `Kind` says everything that differs between resources: where it lives, which verbs it takes, how it is validated,
selected and printed. Nothing else in this package knows one resource from another, except that a namespace must
exist before things are put into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.dev.kubernetes.errors import About
from gateway.dev.kubernetes.schema import Schema
from gateway.dev.kubernetes.selectors import Field, at_path

CRUD = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

_BY_NAME: Mapping[str, Field] = {"metadata.name": lambda stored: stored.name}
_BY_NAME_AND_NAMESPACE: Mapping[str, Field] = {
    **_BY_NAME,
    "metadata.namespace": lambda stored: stored.namespace,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`. `path` is a simple JSONPath; `priority` above 0 shows with `-o wide` only."""

    name: str
    type: str
    path: str
    description: str = ""
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One resource of one API version."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = CRUD
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    fields: Mapping[str, Field] = field(default_factory=lambda: _BY_NAME_AND_NAMESPACE)
    patches: tuple[str, ...] = (JSON_PATCH, MERGE)
    schema: Schema | None = None
    published: Mapping[str, Any] | None = None
    """The schema as it was written, for OpenAPI."""
    has_status: bool = False
    custom: bool = False
    """Defined by a CRD: generations are counted and an update must name the version that it replaces."""

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def about(self, name: str = "") -> About:
        """The resource as refusals name it."""
        return About(self.plural, self.group, name)

    def about_kind(self, name: str = "") -> About:
        """The kind as refusals of its content name it."""
        return About(self.kind, self.group, name)


_AGE = Column("Age", "date", ".metadata.creationTimestamp", "The time since the object was created.")

NAMESPACES = Kind(
    group="",
    version="v1",
    plural="namespaces",
    singular="namespace",
    kind="Namespace",
    namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    short_names=("ns",),
    columns=(Column("Status", "string", ".status.phase", "The status of the namespace"), _AGE),
    fields={**_BY_NAME, "status.phase": at_path("status", "phase")},
    patches=(JSON_PATCH, MERGE, STRATEGIC),
    has_status=True,
)

EVENTS = Kind(
    group="",
    version="v1",
    plural="events",
    singular="event",
    kind="Event",
    namespaced=True,
    short_names=("ev",),
    columns=(
        Column("Last Seen", "date", ".metadata.creationTimestamp", "When the event was last recorded."),
        Column("Type", "string", ".type", "Type of this event (Normal, Warning)."),
        Column("Reason", "string", ".reason", "Why the event was recorded."),
        Column("Object", "string", ".involvedObject.name", "The object that this event is about."),
        Column("Message", "string", ".message", "What happened."),
    ),
    fields={
        **_BY_NAME_AND_NAMESPACE,
        **{
            f"involvedObject.{part}": at_path("involvedObject", part)
            for part in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": at_path("reason"),
        "type": at_path("type"),
    },
    patches=(JSON_PATCH, MERGE, STRATEGIC),
)

DEFINITIONS = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    kind="CustomResourceDefinition",
    namespaced=False,
    verbs=("create", "get", "list", "patch", "update", "watch"),
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    columns=(Column("Created At", "string", ".metadata.creationTimestamp", "When the object was created."),),
    fields=_BY_NAME,
    patches=(JSON_PATCH, MERGE, STRATEGIC),
    has_status=True,
)


def defined_by(definition: Mapping[str, Any]) -> list[Kind]:
    """The kinds that a `CustomResourceDefinition` defines, one for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    kinds = []
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        published = version.get("schema", {}).get("openAPIV3Schema", {"type": "object"})
        kinds.append(
            Kind(
                group=spec["group"],
                version=version["name"],
                plural=names["plural"],
                singular=names.get("singular") or names["kind"].lower(),
                kind=names["kind"],
                namespaced=spec.get("scope", "Namespaced") == "Namespaced",
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                columns=_columns(version),
                schema=Schema(published),
                published=published,
                has_status="status" in (version.get("subresources") or {}),
                custom=True,
            )
        )
    return kinds


def _columns(version: Mapping[str, Any]) -> tuple[Column, ...]:
    given = version.get("additionalPrinterColumns")
    if not given:
        given = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    said = "Custom resource definition column (in JSONPath format): "
    return tuple(
        Column(
            column["name"],
            column["type"],
            column["jsonPath"],
            column.get("description") or said + column["jsonPath"],
            column.get("format", ""),
            column.get("priority", 0),
        )
        for column in given
    )
