"""What there is: API groups, their resources, and the schemas of these, as kubectl and client libraries ask for them.

`kubectl` finds short names, columns' owners and the REST path of a kind here; `kubectl explain` and the client-side
checks of `kubectl apply` read the OpenAPI v3 documents. Both are small enough to be made anew for each request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.dev.kubernetes.kinds import Kind

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.4+embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
REVIEWS: Mapping[str, Mapping[str, str]] = {
    "authorization.k8s.io": {
        "selfsubjectaccessreviews": "SelfSubjectAccessReview",
        "subjectaccessreviews": "SubjectAccessReview",
    },
    "authentication.k8s.io": {"selfsubjectreviews": "SelfSubjectReview"},
}
"""Resources that answer a question and store nothing: group → plural → kind."""

_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def core_versions(address: str) -> dict[str, Any]:
    """`GET /api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def groups(kinds: Iterable[Kind]) -> dict[str, Any]:
    """`GET /apis`."""
    names = dict.fromkeys([*(kind.group for kind in kinds if kind.group), *REVIEWS])
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, kinds) for name in names]}


def group(name: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """`GET /apis/<group>`, None where there is no such group."""
    if name not in REVIEWS and all(kind.group != name for kind in kinds):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, kinds)}


def _group(name: str, kinds: Iterable[Kind]) -> dict[str, Any]:
    versions = dict.fromkeys(kind.version for kind in kinds if kind.group == name) or {"v1": None}
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resources(group_name: str, version: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """`GET /api/v1` and `GET /apis/<group>/<version>`, None where there is no such version."""
    listed: list[dict[str, Any]] = []
    for kind in kinds:
        if (kind.group, kind.version) == (group_name, version):
            listed.extend(_resource(kind))
    if version == "v1":
        for plural, name in REVIEWS.get(group_name, {}).items():
            listed.append(
                {
                    "name": plural,
                    "singularName": name.lower(),
                    "namespaced": False,
                    "kind": name,
                    "verbs": ["create"],
                }
            )
    if not listed:
        return None
    api_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}


def _resource(kind: Kind) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    yield entry
    if kind.has_status:
        yield {
            "name": f"{kind.plural}/status",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": ["get", "patch", "update"],
        }


def openapi_index(kinds: Iterable[Kind]) -> dict[str, Any]:
    """`GET /openapi/v3`: one document a group version, its address holding the hash of its content."""
    paths = {}
    for root in dict.fromkeys(_root(kind) for kind in kinds):
        document = openapi_document(root, kinds)
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest().upper()
        paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}?hash={digest}"}
    return {"paths": paths}


def openapi_document(root: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """`GET /openapi/v3/<root>`, say `apis/example.com/v1`; None where there is no such group version."""
    served = [kind for kind in kinds if _root(kind) == root]
    if not served:
        return None
    schemas: dict[str, Any] = {_METADATA: _metadata_schema()}
    paths: dict[str, Any] = {}
    for kind in served:
        name = _schema_name(kind)
        schemas[name] = _schema(kind)
        base = f"/{root}/namespaces/{{namespace}}" if kind.namespaced else f"/{root}"
        paths[f"{base}/{kind.plural}"] = _operations(kind, name, {"get": "list", "post": "post"})
        paths[f"{base}/{kind.plural}/{{name}}"] = _operations(
            kind, name, {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}
        )
    return {
        "openapi": "3.0.0",
        "info": {"title": "Embedded Kubernetes API", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _root(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _schema_name(kind: Kind) -> str:
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind]).strip(".")


def _identity(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _schema(kind: Kind) -> dict[str, Any]:
    published = dict(kind.published or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    properties = dict(published.get("properties", {}))
    properties.setdefault("apiVersion", {"type": "string"})
    properties.setdefault("kind", {"type": "string"})
    properties["metadata"] = {
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": f"#/components/schemas/{_METADATA}"}],
        "default": {},
    }
    return {**published, "properties": properties, "x-kubernetes-group-version-kind": [_identity(kind)]}


def _operations(kind: Kind, schema: str, actions: Mapping[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    operations: dict[str, Any] = {}
    for method, action in actions.items():
        operation: dict[str, Any] = {
            "operationId": f"{action}{kind.kind}",
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _identity(kind),
        }
        if action in ("post", "put", "patch"):
            operation["parameters"] = [
                {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                for name in ("dryRun", "fieldManager", "fieldValidation")
            ]
            operation["requestBody"] = {"content": content}
        operations[method] = operation
    return operations


def _metadata_schema() -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    texts: dict[str, Any] = {"type": "object", "additionalProperties": text}
    described: dict[str, tuple[str, dict[str, Any]]] = {
        "annotations": ("Free-form values that tools keep with the object.", texts),
        "creationTimestamp": (
            "When the object was created. Set by the server.",
            {**text, "format": "date-time"},
        ),
        "deletionTimestamp": (
            "When deletion was asked for. Set by the server.",
            {**text, "format": "date-time"},
        ),
        "finalizers": ("Who must agree before the object goes.", {"type": "array", "items": text}),
        "generateName": ("A prefix from which the server makes a name.", text),
        "generation": ("Counts changes of the desired state.", {"type": "integer", "format": "int64"}),
        "labels": ("Values by which objects are selected.", texts),
        "name": ("The object's name, unique for its kind in its namespace.", text),
        "namespace": ("The namespace that the object lives in.", text),
        "ownerReferences": (
            "The objects that this one belongs to.",
            {"type": "array", "items": {"type": "object"}},
        ),
        "resourceVersion": ("The version of the object, for comparison and optimistic locking.", text),
        "uid": ("Tells apart objects of the same name at different times.", text),
    }
    properties = {name: {**schema, "description": says} for name, (says, schema) in described.items()}
    return {"type": "object", "description": "What every object has.", "properties": properties}
