"""The Helm chart: every set of values gives sound objects and a configuration that the gateway takes."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import __version__
from gateway.config.loading import load
from gateway.config.settings import AuthMode, Settings
from scripts.chart_schema import FILE, composed
from tests.deploy.charts import (
    CHART,
    ROOT,
    VALUES,
    Chart,
    Json,
    Refused,
    config_text,
    of_kind,
    one_of,
    pod,
    values,
    workload,
)

LEAST = {"redis.url": "redis://r", "auth.tokens.existingSecret": "t"}


@pytest.fixture(scope="module")
def chart(helm: Path) -> Chart:
    return Chart(helm)


@pytest.fixture(scope="module")
def rendered(chart: Chart) -> dict[str, list[Json]]:
    return {one.stem: chart.objects(one) for one in VALUES}


def settings_of(objects: list[Json], folder: Path) -> Settings:
    """The configuration of the pods, as a gateway reads it."""
    file = folder / "gateway.yaml"
    file.write_text(config_text(objects))
    return load(file, {})


@pytest.mark.parametrize("given", [None, *VALUES], ids=lambda one: one.stem if one else "defaults")
def test_helm_finds_nothing_wrong(chart: Chart, given: Path | None) -> None:
    assert "0 chart(s) failed" in chart.lint(given)


@pytest.mark.parametrize("name", [one.stem for one in VALUES])
def test_the_gateway_takes_the_configuration_that_it_is_given(
    rendered: dict[str, list[Json]], name: str, tmp_path: Path
) -> None:
    objects = rendered[name]
    settings = settings_of(objects, tmp_path)
    container = one_named(pod(objects)["containers"], "gateway")
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": settings.server.port, "metrics": settings.server.metrics_port}
    scheme = "HTTPS" if settings.server.tls.cert_file else "HTTP"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == scheme
    every = [settings.auth.tokens_file, settings.auth.users_file, settings.auth.jwt.key_file]
    every += [settings.auth.jwt.revocations_file, settings.journal.path]
    every += [settings.server.tls.cert_file, settings.server.tls.key_file, settings.server.tls.client_ca_file]
    every += [settings.redis.username_file, settings.redis.password_file, settings.redis.tls.ca_file]
    missing = [file for file in every if file and not mounted(pod(objects), container, file)]
    assert missing == []


def mounted(spec: Json, container: Json, file: str) -> bool:
    """Whether a volume brings the file, or the folder to write it into."""
    path = Path(file)
    for mount in container["volumeMounts"]:
        if Path(mount["mountPath"]) != path.parent:
            continue
        volume = next((one for one in spec["volumes"] if one["name"] == mount["name"]), {})
        if "secret" in volume:
            return any(item["path"] == path.name for item in volume["secret"]["items"])
        return not mount.get("readOnly", False)
    return False


def one_named(many: list[Json], name: str) -> Json:
    (found,) = (one for one in many if one["name"] == name)
    return found


def test_the_version_is_the_gateways() -> None:
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert described["appVersion"] == __version__


def test_the_schema_of_the_values_holds_that_of_the_configuration() -> None:
    text = FILE.read_text()
    assert text == composed(json.loads(text)), "run: make chart"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"config.server": {"hots": "::"}}, "hots"),
        ({"config.redis.timeout": "soon"}, "timeout"),
        ({"replicas": 3}, "replicas"),
        ({"image.digest": "latest"}, "digest"),
        ({"autoscaling": {"enabled": True, "targetCPU": 0}}, "autoscaling"),
        ({"redis.url": ""}, "redis.bundled.mode"),
        ({"redis.bundled.mode": "single"}, "one Redis or the other"),
        ({"auth.tokens.existingSecret": ""}, "nobody could post"),
        ({"config.auth.mode": "none"}, "nobody could post"),
        ({"config.auth.mode": "mtls"}, "tls.clientCA.existingSecret"),
        ({"tls.clientCA.existingSecret": "ca"}, "tls.existingSecret"),
        ({"journal.enabled": True, "autoscaling.enabled": True}, "journal.enabled and autoscaling.enabled"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_installed(
    chart: Chart, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        chart.text(sets={**LEAST, **wrong})


def test_the_modes_are_those_whose_files_are_given_unless_the_configuration_says_it(
    chart: Chart, rendered: dict[str, list[Json]], tmp_path: Path
) -> None:
    assert settings_of(rendered["trial"], tmp_path).auth.mode == (AuthMode.BEARER, AuthMode.BASIC)
    assert settings_of(rendered["reviews"], tmp_path).auth.mode == (AuthMode.TOKENREVIEW,)
    only = chart.objects(values("trial"), {"config.auth.mode": "basic"})
    assert settings_of(only, tmp_path).auth.mode == (AuthMode.BASIC,)


def test_a_new_policy_replaces_no_pods_and_anything_else_does(chart: Chart) -> None:
    def template(**config: Any) -> Json:
        found: Json = workload(chart.objects(sets={**LEAST, "config": config}))["spec"]["template"]
        return found

    before = template()
    rule = {"matchers": ['severity="info"'], "action": "deny"}
    assert template(policy={"rules": [rule]}) == before
    priority = {"matchers": ['team="a"'], "priority": "P0"}
    assert template(classify={"priority": [priority]}) == before
    assert template(classify={"environment_label": "env"}) != before
    assert template(storm={"hold": "30s"}) != before


@pytest.mark.parametrize(
    ("timeout", "pause", "expected"), [(None, 5, 35), ("1m30s", 0, 95), ("500ms", 3, 9), ("0.5m", 10, 45)]
)
def test_a_pod_has_the_pause_and_the_time_to_stop_that_it_was_given(
    chart: Chart, timeout: str | None, pause: int, expected: int
) -> None:
    config = {"server": {"shutdown_timeout": timeout}} if timeout else {}
    spec = pod(chart.objects(sets={**LEAST, "preStopSeconds": pause, "config": config}))
    assert spec["terminationGracePeriodSeconds"] == expected
    lifecycle = spec["containers"][0].get("lifecycle")
    assert lifecycle == ({"preStop": {"sleep": {"seconds": pause}}} if pause else None)


def test_a_journal_makes_replicas_with_names_and_volumes_of_their_own(
    rendered: dict[str, list[Json]],
) -> None:
    assert workload(rendered["least"])["kind"] == "Deployment"
    found = workload(rendered["journal"])
    assert found["kind"] == "StatefulSet"
    (claim,) = found["spec"]["volumeClaimTemplates"]
    mounts = {
        one["name"]: one["mountPath"] for one in pod(rendered["journal"])["containers"][0]["volumeMounts"]
    }
    assert mounts[claim["metadata"]["name"]] == "/var/lib/gateway"
    assert found["spec"]["serviceName"] in {
        one["metadata"]["name"] for one in of_kind(rendered["journal"], "Service")
    }


def test_every_selector_finds_the_pods_that_it_means_and_no_others(rendered: dict[str, list[Json]]) -> None:
    component = "app.kubernetes.io/component"
    for objects in rendered.values():
        pods = [labels(one) for one in objects if "template" in one.get("spec", {})]
        for one in objects:
            for selector in selectors(one):
                (met,) = (found for found in pods if selector.items() <= found.items())
                meant = one["metadata"]["labels"][component]
                assert met[component] == {"replicas": "gateway"}.get(meant, meant)
        for monitor in of_kind(objects, "ServiceMonitor"):
            wanted = monitor["spec"]["selector"]["matchLabels"]
            services = [
                one
                for one in of_kind(objects, "Service")
                if wanted.items() <= one["metadata"]["labels"].items()
            ]
            (service,) = services
            # The rules ask for this name of the job.
            assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "gateway"
            ports = {port["name"] for port in service["spec"]["ports"]}
            assert {end["port"] for end in monitor["spec"]["endpoints"]} <= ports


def labels(one: Json) -> Json:
    found: Json = one["spec"]["template"]["metadata"]["labels"]
    return found


def selectors(one: Json) -> list[Json]:
    """The labels by which an object looks for pods of the release."""
    spec = one.get("spec", {})
    match one["kind"]:
        case "Service":
            return [spec["selector"]]
        case "Deployment" | "StatefulSet":
            constraints = spec["template"]["spec"].get("topologySpreadConstraints", ())
            found = [spec["selector"], *(constraint["labelSelector"] for constraint in constraints)]
            return [selector["matchLabels"] for selector in found]
        case "PodDisruptionBudget":
            return [spec["selector"]["matchLabels"]]
        case "NetworkPolicy":
            return [spec["podSelector"]["matchLabels"]]
        case _:
            return []


def test_the_roles_are_those_of_the_files_beside_the_chart(rendered: dict[str, list[Json]]) -> None:
    assert granted(rendered["least"]) == granted(shipped("rbac.yaml"))
    assert granted(rendered["journal"]) == granted(shipped("rbac-namespaces.yaml"))
    reviews = [*shipped("rbac.yaml"), *shipped("rbac-tokenreview.yaml")]
    assert granted(rendered["reviews"]) == granted(reviews)
    bound = {one["metadata"]["namespace"] for one in of_kind(rendered["journal"], "RoleBinding")}
    assert bound == {"prod-api", "prod-data", "monitoring"}
    for objects in rendered.values():
        roles = {one["metadata"]["name"] for one in of_kind(objects, "ClusterRole")}
        account = pod(objects)["serviceAccountName"]
        bindings = of_kind(objects, "ClusterRoleBinding") + of_kind(objects, "RoleBinding")
        assert {one["roleRef"]["name"] for one in bindings} == roles
        subject = {"kind": "ServiceAccount", "name": account, "namespace": "monitoring"}
        assert all(one["subjects"] == [subject] for one in bindings)


def test_reviews_of_access_are_permitted_only_where_they_are_asked_for(chart: Chart) -> None:
    without = granted(chart.objects(values("reviews"), {"config.auth.tokenreview.access": None}))
    rules = {rule for _, role in without for rule in role}
    assert "subjectaccessreviews" not in str(rules)
    assert "tokenreviews" in str(rules)


def shipped(file: str) -> list[Json]:
    return [one for one in yaml.safe_load_all((ROOT / "deploy" / file).read_text()) if one]


def granted(objects: list[Json]) -> set[tuple[str, frozenset[tuple[Any, ...]]]]:
    """What is bound, and whether in the whole cluster or in namespaces: the rules of each role, in any order."""
    roles = {one["metadata"]["name"]: one["rules"] for one in of_kind(objects, "ClusterRole")}
    found = set()
    for one in of_kind(objects, "ClusterRoleBinding") + of_kind(objects, "RoleBinding"):
        rules = roles[one["roleRef"]["name"]]
        parts = ("apiGroups", "resources", "verbs")
        role = frozenset(tuple(tuple(sorted(rule[part])) for part in parts) for rule in rules)
        found.add((one["kind"], role))
    return found


def test_pods_are_as_restricted_as_a_namespace_can_ask_and_write_to_volumes_only(
    rendered: dict[str, list[Json]],
) -> None:
    for objects in rendered.values():
        for one in of_kind(objects, "Deployment") + of_kind(objects, "StatefulSet"):
            spec = one["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"]
            assert all(
                container["securityContext"]["readOnlyRootFilesystem"] for container in spec["containers"]
            )
            assert all("memory" in container["resources"]["limits"] for container in spec["containers"])


def test_autoscaling_decides_the_number_of_replicas(rendered: dict[str, list[Json]]) -> None:
    objects = rendered["everything"]
    scaler = one_of(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == workload(objects)["metadata"]["name"]
    assert "replicas" not in workload(objects)["spec"]
    assert [one["type"] for one in scaler["spec"]["metrics"]] == ["Resource", "Pods"]
    assert workload(rendered["least"])["spec"]["replicas"] == 2


def test_the_network_is_open_to_redis_wherever_its_url_leads(rendered: dict[str, list[Json]]) -> None:
    def redis_ports(name: str) -> set[int]:
        policies = of_kind(rendered[name], "NetworkPolicy", workload(rendered[name])["metadata"]["name"])
        (policy,) = policies
        return {one["port"] for one in policy["spec"]["egress"][2]["ports"]}

    assert redis_ports("least") == {6379}
    assert redis_ports("reviews") == {6379, 6380}
    assert redis_ports("journal") == {6379, 7000, 7001}
    assert redis_ports("everything") == {6379, 26379}


def test_dashboards_and_rules_are_those_of_the_monitoring_folder(helm: Path, tmp_path: Path) -> None:
    """On a copy of `deploy/` with files of its own, and packaged: what is handed on has them, too."""
    deploy = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", deploy, symlinks=True)
    shutil.rmtree(deploy / "monitoring")
    for folder in ("dashboards", "rules", "stack"):
        (deploy / "monitoring" / folder).mkdir(parents=True)
    dashboard = {"title": "Gateway", "panels": [{"expr": 'x{a="{{ b }}"}'}]}
    (deploy / "monitoring" / "dashboards" / "traffic_now.json").write_text(json.dumps(dashboard))
    annotations = {"runbook_url": "docs/operations/alerts/Down.md", "summary": "{{ $value }}"}
    alert = {"alert": "Down", "expr": "up == 0", "annotations": annotations}
    group = {"name": "gateway", "rules": [alert, {"record": "a", "expr": "b"}]}
    (deploy / "monitoring" / "rules" / "alerts.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    (deploy / "monitoring" / "rules" / "alerts_test.yaml").write_text(yaml.safe_dump({"tests": []}))
    (deploy / "monitoring" / "stack" / "compose.yaml").write_text("services: {}\n")
    tree = deploy / "helm" / "gateway"
    package = Chart(helm, tree).package(tmp_path)
    with tarfile.open(package) as opened:
        names = opened.getnames()
    assert "gateway/crds/remediationrequests.yaml" in names
    assert not [name for name in names if "stack" in name]
    for form in (tree, package):
        objects = Chart(helm, form).objects(values("everything"))
        (board,) = (
            one for one in of_kind(objects, "ConfigMap") if "grafana_dashboard" in one["metadata"]["labels"]
        )
        assert board["metadata"]["name"] == "alerts-dashboard-traffic-now"
        assert json.loads(board["data"]["traffic_now.json"]) == dashboard
        rule = one_of(objects, "PrometheusRule")
        assert rule["metadata"]["name"] == "alerts-alerts"
        found = rule["spec"]["groups"][0]["rules"][0]["annotations"]
        assert (
            found.pop("runbook_url") == f"https://git.example/gateway/blob/main/{annotations['runbook_url']}"
        )
        found["runbook_url"] = annotations["runbook_url"]
        assert rule["spec"] == {"groups": [group]}


def test_the_chart_of_the_tree_takes_every_dashboard_and_rule_there_is(
    rendered: dict[str, list[Json]],
) -> None:
    monitoring = ROOT / "deploy" / "monitoring"
    boards = {file.name for file in monitoring.glob("dashboards/*.json")}
    found = [one["data"] for one in of_kind(rendered["everything"], "ConfigMap")]
    assert {name for data in found for name in data} - {"gateway.yaml"} == boards
    files = [yaml.safe_load(file.read_text()) for file in monitoring.glob("rules/*.y*ml")]
    groups = [group["name"] for file in files for group in file.get("groups", ())]
    rules = of_kind(rendered["everything"], "PrometheusRule")
    assert sorted(group["name"] for rule in rules for group in rule["spec"]["groups"]) == sorted(groups)
