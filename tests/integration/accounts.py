"""The accounts and roles of `deploy/`, as they stand there, on a cluster that other tests use, too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from chaos.rig.api import MERGE_PATCH, Api, Json
from chaos.rig.cluster import FALLBACK_NAMESPACE, write_kubeconfig

DEPLOY = Path(__file__).parents[2] / "deploy"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
_COLLECTIONS = {
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "RoleBinding": "rolebindings",
}
EXAMPLE = "prod-api"
"""The namespace that the documents name beside the fallback one."""


def documents(file: str) -> list[Json]:
    """The objects of a file of `deploy/`."""
    return [one for one in yaml.safe_load_all((DEPLOY / file).read_text()) if one]


def verbs(file: str, resource: str) -> list[str]:
    """What the roles of a file permit on a resource."""
    rules = [rule for one in documents(file) for rule in one.get("rules", ())]
    return [verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]]


def account_access(admin: Api, namespace: str, name: str, kubeconfig: Path) -> Api:
    """Access with a token of a service account, which is written to `kubeconfig`."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token = admin.call("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    write_kubeconfig(kubeconfig, admin.url, token, admin.ca)
    return Api(admin.url, token=token, ca=admin.ca, kubeconfig=kubeconfig)


class Account:
    """The gateway's service account with what the files grant it, under names of its own."""

    def __init__(self, admin: Api, namespace: str, folder: Path) -> None:
        self._admin = admin
        self._namespace = namespace
        self._suffix = f"-{namespace}"
        self._kubeconfig = folder / "kubeconfig-account"
        self._made: list[Json] = []

    def grant(self, file: str) -> None:
        """Create what a file of `deploy/` has."""
        for one in documents(file):
            made = self._renamed(one)
            self._admin.apply([made])
            self._made.append(made)

    def take_away(self, resource: str, verb: str) -> None:
        """Rewrite the role that permits it; `restore` gives it back."""
        for role, rule in self._rules():
            if resource in rule["resources"]:
                fewer = [
                    {**one, "verbs": [v for v in one["verbs"] if v != verb]} if one is rule else one
                    for one in role["rules"]
                ]
                # A rule without verbs is not valid.
                self._rewrite(role, [one for one in fewer if one["verbs"]])

    def restore(self) -> None:
        """Every role as its file has it."""
        for role in self._made:
            if "rules" in role:
                self._rewrite(role, role["rules"])

    def api(self) -> Api:
        """Access with a token of the account."""
        name = f"alert-gateway{self._suffix}"
        return account_access(self._admin, FALLBACK_NAMESPACE, name, self._kubeconfig)

    def remove(self) -> None:
        for one in self._made:
            self._admin.send("DELETE", _path(one))

    def _rules(self) -> Iterator[tuple[Json, Json]]:
        for role in self._made:
            for rule in role.get("rules", ()):
                yield role, rule

    def _rewrite(self, role: Json, rules: list[Json]) -> None:
        self._admin.call("PATCH", _path(role), {"rules": rules}, content_type=MERGE_PATCH)

    def _renamed(self, document: Json) -> Json:
        made = copy.deepcopy(document)
        parts: list[dict[str, Any]] = [made["metadata"], *made.get("subjects", ())]
        if "roleRef" in made:
            parts.append(made["roleRef"])
        for part in parts:
            part["name"] += self._suffix
            if part.get("namespace") == EXAMPLE:
                part["namespace"] = self._namespace
        return made


def _path(document: Json) -> str:
    meta = document["metadata"]
    base = "/api/v1" if document["kind"] == "ServiceAccount" else RBAC
    where = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{base}{where}/{_COLLECTIONS[document['kind']]}/{meta['name']}"
