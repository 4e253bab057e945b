"""The chart on a real kube-apiserver: it takes every object and every field, and what is installed can be upgraded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.rig.api import Api
from chaos.rig.cluster import Cluster
from tests.deploy.charts import ROOT, VALUES, WHERE, Chart, Json, values, workload
from tests.rig.fixtures import require

CRDS = ROOT.parent / "shared" / "fixtures" / "crds"
"""Definitions of the Prometheus operator's: not part of this tree."""
OPERATOR = "monitoring.coreos.com"
RESTRICTED = "restricted"


@pytest.fixture(scope="module")
def chart(helm: Path) -> Chart:
    return Chart(helm)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A control plane of this module's own: the chart makes objects that belong to no namespace."""
    require("etcd")
    require("kube-apiserver")
    require("kubectl")
    plane = Cluster(tmp_path_factory.mktemp("cluster"), name="cluster-of-the-chart")
    try:
        plane.start()
        for name in (WHERE, "prod-api", "prod-data"):
            plane.api.create_namespace(name)
        enforce = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
        plane.api.create_namespace(RESTRICTED, enforce)
        yield plane.api
    finally:
        plane.stop()


def dry_run(api: Api, objects: list[Json], namespace: str = WHERE) -> str:
    """What the API server says to objects that it is only to check; raises `RuntimeError` where it refuses one.

    Those without a namespace of their own are checked in `namespace`.
    """
    said = ""
    for place in {one["metadata"].get("namespace", namespace) for one in objects}:
        there = [one for one in objects if one["metadata"].get("namespace", namespace) == place]
        arguments = ["--dry-run=server", "--validate=strict", "--namespace", place, "--filename=-"]
        said += api.kubectl("create", *arguments, stdin=yaml.safe_dump_all(there))
    return said


@pytest.mark.parametrize("name", [one.stem for one in VALUES])
def test_every_object_and_every_field_is_known_and_valid(chart: Chart, api: Api, name: str) -> None:
    objects = [one for one in chart.objects(values(name)) if not one["apiVersion"].startswith(f"{OPERATOR}/")]
    assert dry_run(api, objects).count("(server dry run)") == len(objects)


def test_the_dry_run_refuses_a_field_that_is_not_there(chart: Chart, api: Api) -> None:
    objects = chart.objects(values("least"))
    workload(objects)["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(RuntimeError, match="terminationGracePeriod"):
        dry_run(api, objects)


@pytest.mark.skipif(
    not CRDS.exists(), reason="the Prometheus operator's definitions are not beside this tree"
)
def test_what_the_prometheus_operator_reads_is_valid(chart: Chart, api: Api) -> None:
    for name in ("servicemonitors", "prometheusrules"):
        api.install_crd(CRDS / f"{OPERATOR}_{name}.yaml")
    objects = chart.objects(values("everything"))
    said = dry_run(api, objects)
    assert "servicemonitor.monitoring.coreos.com/alerts created" in said
    assert "prometheusrule.monitoring.coreos.com/alerts-gateway-alerts created" in said


@pytest.mark.parametrize("name", [one.stem for one in VALUES])
def test_its_pods_may_run_where_only_restricted_ones_may(chart: Chart, api: Api, name: str) -> None:
    """The namespace enforces Pod Security's level `restricted`."""
    pods = [
        pod_of(one) for one in chart.objects(values(name)) if one["kind"] in ("Deployment", "StatefulSet")
    ]
    assert "Warning" not in dry_run(api, pods, RESTRICTED)
    pods[0]["spec"]["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        dry_run(api, pods[:1], RESTRICTED)


def pod_of(one: Json) -> Json:
    """The pod that a controller would make."""
    template = one["spec"]["template"]
    spec = {**template["spec"], "volumes": [*template["spec"]["volumes"]]}
    for claim in one["spec"].get("volumeClaimTemplates", ()):
        name = claim["metadata"]["name"]
        spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    meta = {**template["metadata"], "name": one["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def test_it_is_installed_upgraded_from_one_set_of_values_to_the_next_and_removed(
    chart: Chart, api: Api
) -> None:
    deployment = f"/apis/apps/v1/namespaces/{WHERE}/deployments/alert-gateway"
    definition = (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remediationrequests.remediation.kubernaut.io"
    )
    kept = {"config.policy": {"default": "deny"}}
    try:
        said = chart.install(api.kubeconfig, values("least"))
        assert "http://alert-gateway.monitoring.svc:8080/v1/webhooks/prometheus" in said
        assert "deployment/alert-gateway --namespace monitoring" in said
        assert "WITHOUT AUTHENTICATION" not in said
        assert api.call("GET", definition)["spec"]["group"] == "remediation.kubernaut.io"
        first = api.call("GET", deployment)["metadata"]["generation"]
        chart.install(api.kubeconfig, values("least"), kept)
        assert api.call("GET", deployment)["metadata"]["generation"] == first
        assert "default: deny" in config_of(api)

        said = chart.install(api.kubeconfig, values("journal"))
        assert "statefulset/alert-gateway --namespace monitoring" in said
        assert api.send("GET", deployment)[0] == 404
        anonymous: dict[str, Any] = {"auth.tokens.existingSecret": "", "config.auth.allow_anonymous": True}
        assert "WITHOUT AUTHENTICATION" in chart.install(api.kubeconfig, values("least"), anonymous)
    finally:
        chart.uninstall(api.kubeconfig)
    left = json.loads(
        api.kubectl("get", "all,cm,clusterroles", "-n", WHERE, "-l", "helm.sh/chart", "-o", "json")
    )
    assert left["items"] == []
    # What people made with it stays: Helm never removes a definition.
    assert api.call("GET", definition)["metadata"]["name"].startswith("remediationrequests.")


def config_of(api: Api) -> str:
    found = api.call("GET", f"/api/v1/namespaces/{WHERE}/configmaps/alert-gateway")
    return str(found["data"]["gateway.yaml"])
