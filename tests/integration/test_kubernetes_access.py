"""What somebody has to mend at the Kubernetes API is said, alerts are kept meanwhile, and no restart is needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.rig.api import Api, Json
from chaos.rig.cluster import ADMIN_TOKEN, Cluster, write_kubeconfig
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.accounts import account_access
from tests.integration.sight import adds_up, fires, send_one, settled
from tests.integration.test_counting import check_marks
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway

RBAC = "/apis/rbac.authorization.k8s.io/v1"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remediationrequests.remediation.kubernaut.io"


def component(gateway: GatewayProcess, name: str) -> Json:
    status, text = gateway.get("/readyz")
    assert status == 200, text
    found: Json = json.loads(text)["components"][name]
    return found


class Grants:
    """A service account of a test's own, and what it may do; what others are granted meanwhile is not its."""

    def __init__(self, admin: Api, namespace: str, folder: Path) -> None:
        self._admin = admin
        self._name = namespace
        self._account: Json = {"kind": "ServiceAccount", "namespace": namespace, "name": "narrow"}
        self._granted: list[str] = []
        admin.call(
            "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "narrow"}}
        )
        self.access = account_access(admin, namespace, "narrow", folder / "kubeconfig-narrow")
        """With which the account speaks to the API server."""

    def everywhere(self, *verbs: str) -> None:
        self._grant("Cluster", "", verbs)

    def within(self, namespace: str, *verbs: str) -> None:
        self._grant("", f"/namespaces/{namespace}", verbs)

    def _grant(self, kind: str, where: str, verbs: tuple[str, ...]) -> None:
        name = f"{self._name}-{len(self._granted)}"
        groups = ["remediation.kubernaut.io", ""]
        rule = {"apiGroups": groups, "resources": ["remediationrequests", "namespaces"], "verbs": list(verbs)}
        version = "rbac.authorization.k8s.io/v1"
        paths = [f"{RBAC}{where}/{kind.lower()}roles", f"{RBAC}{where}/{kind.lower()}rolebindings"]
        self._admin.call(
            "POST",
            paths[0],
            {"apiVersion": version, "kind": f"{kind}Role", "metadata": {"name": name}, "rules": [rule]},
        )
        self._admin.call(
            "POST",
            paths[1],
            {
                "apiVersion": version,
                "kind": f"{kind}RoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{kind}Role", "name": name},
                "subjects": [self._account],
            },
        )
        self._granted += [f"{path}/{name}" for path in paths]

    def revoke_all(self) -> None:
        for path in self._granted:
            self._admin.send("DELETE", path)


@pytest.fixture
def grants(cluster: Api, namespace: str, tmp_path: Path) -> Iterator[Grants]:
    found = Grants(cluster, namespace, tmp_path)
    yield found
    found.revoke_all()


async def test_a_missing_permission_is_named_and_what_waits_is_written_once_it_is_granted(
    grants: Grants, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    grants.everywhere("get", "list", "watch")
    gateway = start_gateway(redis=redis_server, cluster=grants.access, settings=STEADY)

    for _ in range(3):
        assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    missing = f"missing: create remediationrequests in namespace {namespace}"
    await eventually(lambda: component(gateway, "permissions")["detail"] == missing, "the permission's name")
    assert not component(gateway, "permissions")["ok"]
    assert gateway.metric("gateway_dead_letters_total") == 0
    assert gateway.metric("gateway_circuit_breaker_state", component="k8s_api") == 0

    grants.within(namespace, "create", "patch")
    await adds_up(cluster, namespace, [3])
    await settled(gateway)
    assert component(gateway, "permissions") == {"ok": True, "detail": ""}
    check_marks(cluster.requests(namespace))


async def test_a_watch_that_is_forbidden_is_named_and_followed_once_it_is_granted(
    grants: Grants, start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    grants.within(namespace, "create", "patch", "get")
    gateway = start_gateway(redis=redis_server, cluster=grants.access, settings=STEADY, wait="ready")

    await eventually(
        lambda: "list remediationrequests in all namespaces" in component(gateway, "permissions")["detail"],
        "the permission's name",
    )
    assert "cannot list" in component(gateway, "kubernetes")["detail"]
    send_one(gateway, fires(namespace))

    grants.everywhere("list", "watch")
    await eventually(lambda: component(gateway, "kubernetes")["ok"], "requests to be watched", seconds=20)
    await adds_up(cluster, namespace, [1])
    await settled(gateway)


async def test_credentials_that_are_refused_are_loaded_again_until_they_are_right(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, cluster.url, "expired", cluster.ca)
    gateway = start_gateway(redis=redis_server, cluster=kubeconfig, settings=STEADY, wait="ready")

    assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    await eventually(lambda: "401" in component(gateway, "kubernetes")["detail"], "the refusal to be told")
    assert gateway.metric("gateway_circuit_breaker_state", component="k8s_api") == 0

    write_kubeconfig(kubeconfig, cluster.url, ADMIN_TOKEN, cluster.ca)
    renewed = time.monotonic()
    await adds_up(cluster, namespace, [1])
    await settled(gateway)
    assert time.monotonic() - renewed < 30
    await eventually(
        lambda: component(gateway, "kubernetes") == {"ok": True, "detail": ""},
        "the watches to go on",
        seconds=30,
    )


async def test_a_missing_crd_is_told_and_alerts_are_written_when_it_is_installed(
    start_gateway: StartGateway, redis_server: RedisServer, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    plane.api.create_namespace("prod-api")
    plane.api.call("DELETE", CRD)
    await eventually(lambda: plane.api.send("GET", CRD)[0] == 404, "the CRD to be gone", seconds=30)
    gateway = start_gateway(redis=redis_server, cluster=plane, settings=STEADY, wait="ready")

    for _ in range(2):
        assert send_one(gateway, fires("prod-api"))["outcome"] == "queued"
    await eventually(
        lambda: "is the CRD installed?" in component(gateway, "kubernetes")["detail"],
        "it to say so",
        seconds=15,
    )

    plane.api.install_crd()
    installed = time.monotonic()
    await adds_up(plane.api, "prod-api", [2])
    took = time.monotonic() - installed
    await settled(gateway)
    print(f"written {took:.1f} s after the CRD was there")
    assert took < 17  # within 15 s, and a little for looking
    assert component(gateway, "kubernetes")["ok"]
    check_marks(plane.api.requests("prod-api"))
