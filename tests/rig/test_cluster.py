"""The control plane of the rig is a real one, shared or private, with authentication, RBAC and the project's CRD."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.rig.api import Api, ApiError
from chaos.rig.cluster import FALLBACK_NAMESPACE, Cluster, user_access
from tests.rig.fixtures import require


def test_it_answers_its_admin(control_plane: Api) -> None:
    assert control_plane.call("GET", "/version")["gitVersion"] == "v1.34.4"
    assert control_plane.call("GET", f"/api/v1/namespaces/{FALLBACK_NAMESPACE}")["kind"] == "Namespace"


def test_it_refuses_whom_it_does_not_know(control_plane: Api) -> None:
    stranger = Api(control_plane.url, token="guess", ca=control_plane.ca, kubeconfig=control_plane.kubeconfig)
    assert stranger.send("GET", "/api/v1/namespaces")[0] == 401


def test_a_user_may_do_only_what_rbac_grants(control_plane: Api) -> None:
    with pytest.raises(ApiError, match="403 Forbidden"):
        user_access(control_plane).call("GET", "/api/v1/secrets")


def test_kubectl_works_with_its_kubeconfig(control_plane: Api) -> None:
    require("kubectl")
    assert "namespace/default" in control_plane.kubectl("get", "namespaces", "-o", "name").split()


def test_a_namespace_goes_at_once(control_plane: Api) -> None:
    control_plane.create_namespace("short-lived")
    control_plane.remove_namespace("short-lived")
    assert control_plane.send("GET", "/api/v1/namespaces/short-lived")[0] == 404


def test_the_crd_is_served(cluster: Api, namespace: str) -> None:
    assert cluster.requests(namespace) == []


def test_a_private_one_survives_the_loss_of_its_api_server(start_cluster: Callable[[], Cluster]) -> None:
    plane = start_cluster()
    plane.api.create_namespace("kept")
    plane.server.kill()
    with pytest.raises(OSError, match="refused"):
        plane.api.send("GET", "/readyz")
    plane.restart_server()
    assert plane.api.call("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
    assert plane.api.requests() == []
