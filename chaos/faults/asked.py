"""What a request asks of a Kubernetes API, in the API's own words: rules choose requests by it.

The verbs are those of RBAC and audit logs, so a rule reads like one of those:
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

VERBS = frozenset({"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"})
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_OF_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_FALSE = {"0", "false"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `path` and `query` are as sent, quoted; other fields are empty where the path names no object."""

    method: str
    path: str
    query: str = ""
    verb: str = "get"
    """One of `VERBS`. A GET of something that is no object (`/version`, discovery) is a get."""
    group: str = ""
    """API group; empty for the core group, too."""
    namespace: str = ""
    resource: str = ""
    """Plural, for example `remediationrequests`."""
    name: str = ""
    subresource: str = ""

    @property
    def write(self) -> bool:
        """Whether it is meant to change something."""
        return self.verb in WRITES

    @property
    def watch(self) -> bool:
        """Whether its answer goes on as long as both sides like."""
        return self.verb == "watch"

    @classmethod
    def of(cls, method: str, target: str) -> Asked:
        """Reads a method and a request target (path and query as they stand in the request line)."""
        path, _, query = target.partition("?")
        parts = [unquote(part) for part in path.split("/") if part]
        group = ""
        if parts[:1] == ["api"]:
            parts = parts[2:]
        elif parts[:1] == ["apis"]:
            group = parts[1] if len(parts) > 1 else ""
            parts = parts[3:]
        else:
            parts = []
        namespace = ""
        # Namespaces are objects themselves: their own subresources are the exception.
        if len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in {"status", "finalize"}:
            namespace, parts = parts[1], parts[2:]
        resource, name, subresource = (*parts[:3], "", "", "")[:3]
        return cls(
            method=method,
            path=path,
            query=query,
            verb=_verb(method, query, resource=resource, name=name),
            group=group,
            namespace=namespace,
            resource=resource,
            name=name,
            subresource=subresource,
        )


def _verb(method: str, query: str, *, resource: str, name: str) -> str:
    if method in _OF_METHOD:
        return _OF_METHOD[method]
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if not resource:
        return "get"
    watch = parse_qs(query, keep_blank_values=True).get("watch")
    if watch is not None and watch[0].lower() not in _FALSE:
        return "watch"
    return "get" if name else "list"
