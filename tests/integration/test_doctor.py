"""`gateway doctor` against real components in good and bad states: what it says, where, and its exit code."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.rig.api import CRD_FILE, Api
from chaos.rig.cluster import FALLBACK_NAMESPACE, USER, Cluster
from chaos.rig.fake_clock import FakeClock
from chaos.rig.ports import free_port
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from gateway.cli import main
from gateway.cli.output import Exit
from gateway.dev.cluster import EmbeddedCluster
from gateway.kube.client import PROBE_NAME
from tests.integration.commands import gateway
from tests.rig.fixtures import StartGateway, StartRedis, StartRedisCluster, StartSentinel

ALERTMANAGER_FILE = Path(__file__).parents[2] / "deploy" / "examples" / "alertmanager.yaml"
PATIENT = "redis.timeout=1s"
"""So that a busy machine is no slow Redis."""
REQUEST_VERBS = ["get", "list", "watch", "create", "patch", "delete"]


class Doctor:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(
        self, redis: str = "redis://127.0.0.1:1/0", kubernetes: Api | None = None, *sets: str
    ) -> tuple[Exit, dict[str, dict[str, Any]]]:
        """The exit code, and the checks by `part/check`; the last one of a name counts."""
        kubeconfig = str(kubernetes.kubeconfig) if kubernetes else "nowhere"
        words = ["doctor", "--kubeconfig", kubeconfig, "-o", "json"]
        for one in (f"redis.url={redis}", PATIENT, *sets):
            words += ["--set", one]
        code = Exit(main(words))
        report = json.loads(self._capsys.readouterr().out)
        checks = report["checks"]
        for check in checks:
            assert check["found"]
            assert check["where"]
            assert bool(check["remedy"]) is (check["result"] != "ok")
        assert report["wrong"] == sum(check["result"] == "wrong" for check in checks)
        assert report["warnings"] == sum(check["result"] == "warning" for check in checks)
        assert report["ok"] is (report["wrong"] == 0)
        assert code == (Exit.FINDING if report["wrong"] else Exit.OK)
        return code, {f"{check['part']}/{check['check']}": check for check in checks}

    def redis(self, url: str, *sets: str) -> dict[str, str]:
        """What it says of Redis: check → result."""
        return results(self(url, None, *sets)[1], "redis")

    def kubernetes(self, api: Api, *sets: str) -> dict[str, str]:
        """What it says of Kubernetes: check → result."""
        return results(self("redis://127.0.0.1:1/0", api, *sets)[1], "kubernetes")


def published(api: Api) -> Api:
    """The same, once it publishes the schema of requests, a moment after it serves them."""
    path = "/openapi/v3/apis/remediation.kubernaut.io/v1alpha1"
    wait_until(lambda: api.send("GET", path)[0] == 200, "the schema to be published")
    return api


@pytest.fixture
def cluster(cluster: Api) -> Api:
    return published(cluster)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(capsys)


def results(checks: dict[str, dict[str, Any]], part: str) -> dict[str, str]:
    return {
        name.partition("/")[2]: check["result"] for name, check in checks.items() if check["part"] == part
    }


def bad(said: dict[str, str]) -> dict[str, str]:
    return {check: result for check, result in said.items() if result != "ok"}


# --- All of it


def test_where_all_is_well_it_says_so(
    doctor: Doctor, start_redis: StartRedis, cluster: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    redis = start_redis(keep=True, options={"maxmemory": "64mb"})
    code, checks = doctor(redis.url, cluster)
    assert code == Exit.OK
    assert bad({name: check["result"] for name, check in checks.items()}) == {}
    wanted = (
        "configuration/settings",
        *(f"redis/{check}" for check in ("connection", "version", "role", "eviction", "persistence")),
        *(f"redis/{check}" for check in ("memory", "scripts", "clock", "latency")),
        *(f"kubernetes/{check}" for check in ("connection", "clock", "crd", "crd-fields", "permissions")),
        "kubernetes/namespaces",
        *(f"kubernetes/{check}" for check in ("events", "fallback-namespace", "writes", "latency")),
    )
    assert tuple(checks) == wanted

    words = ["--kubeconfig", str(cluster.kubeconfig), "--set", f"redis.url={redis.url}", "--set", PATIENT]
    assert main(["doctor", *words]) == Exit.OK
    assert "All is well: 20 checks." in capsys.readouterr().out
    with redis.client() as client:
        assert client.dbsize() == 0
    names = [one["metadata"]["name"] for one in cluster.requests(FALLBACK_NAMESPACE)]
    assert PROBE_NAME not in names


def test_it_finds_nothing_wrong_with_the_embedded_components(doctor: Doctor) -> None:
    async def embedded() -> tuple[int, dict[str, Any]]:
        async with EmbeddedCluster() as own:
            words = ("doctor", "--kubeconfig", str(own.kubeconfig), "-o", "json", "--set", PATIENT)
            done = await asyncio.to_thread(gateway, *words, "--set", f"redis.url={own.redis_url}")
            return done.returncode, json.loads(done.stdout)

    code, report = asyncio.run(embedded())
    assert (code, report["ok"]) == (Exit.OK, True)
    assert [check["check"] for check in report["checks"] if check["result"] != "ok"] == ["persistence"]


def test_with_nobody_there_it_says_so_and_what_to_do(
    cluster: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    assert main(["doctor", "--kubeconfig", "nowhere", "--set", f"redis.url={nobody}"]) == Exit.FINDING
    shown = capsys.readouterr().out
    assert "2 wrong, 0 warnings: 3 checks." in shown
    assert "Wrong; what to do:\n  redis connection (127.0.0.1:" in shown
    assert "secret" not in shown


def test_the_webhooks_of_an_alertmanager_are_judged_by_the_configuration_of_the_gateway(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("alertmanager:" + 40 * "a")
    theirs = tmp_path / "alertmanager.yml"
    theirs.write_text(ALERTMANAGER_FILE.read_text().replace("max_alerts: 0", "max_alerts: 10"))
    words = ["doctor", "--kubeconfig", "nowhere", "--alertmanager-config", str(theirs)]
    words += ["--set", "auth.mode=bearer", "--set", f"auth.tokens_file={tmp_path}/tokens"]
    assert main(words) == Exit.FINDING
    shown = capsys.readouterr().out
    assert "alertmanager max-alerts (receiver gateway): set max_alerts to 0" in shown
    assert "fits auth.mode bearer" in shown


def test_a_configuration_that_cannot_be_used_ends_it_with_every_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["doctor", "--set", "server.hots=1", "--set", "redis.timeout=soon"]
    assert main(words) == Exit.USAGE
    assert "server.hots" in capsys.readouterr().err
    assert main([*words, "-o", "json"]) == Exit.USAGE
    report = json.loads(capsys.readouterr().out)
    assert [check["result"] for check in report["checks"]] == ["wrong", "wrong"]
    assert not report["ok"]


def test_an_open_door_is_a_warning(doctor: Doctor) -> None:
    _, checks = doctor("redis://127.0.0.1:1/0", None, "server.host=0.0.0.0", "auth.allow_anonymous=true")
    assert checks["configuration/authentication"]["result"] == "warning"


def test_that_faults_can_be_injected_is_a_warning(doctor: Doctor) -> None:
    _, checks = doctor("redis://127.0.0.1:1/0", None, "chaos.enabled=true")
    assert checks["configuration/chaos"]["result"] == "warning"


def test_a_file_that_the_configuration_names_and_nobody_can_read_is_wrong(
    doctor: Doctor, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("word")
    files = (f"redis.password_file={tmp_path}/password", f"redis.username_file={tmp_path}/missing")
    _, checks = doctor("redis://127.0.0.1:1/0", None, *files)
    assert checks["configuration/files"]["where"] == "redis.username_file"
    assert checks["configuration/files"]["result"] == "wrong"


# --- Redis


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"save": "3600 1", "maxmemory": "64mb"}, {}),
        ({}, {"persistence": "warning"}),
        (
            {"save": "3600 1", "maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"},
            {"eviction": "wrong"},
        ),
        (
            {"save": "3600 1", "maxmemory": "64mb", "maxmemory-policy": "volatile-ttl"},
            {"eviction": "wrong"},
        ),
        ({"save": "3600 1", "maxmemory-policy": "allkeys-lru"}, {"eviction": "warning"}),
        ({"save": "3600 1", "maxmemory": "1"}, {"memory": "wrong"}),
    ],
)
def test_a_redis_that_is_configured_badly_is_told_from_one_that_is_not(
    doctor: Doctor, start_redis: StartRedis, options: dict[str, str], expected: dict[str, str]
) -> None:
    assert bad(doctor.redis(start_redis(options=options).url)) == expected


def test_a_replica_is_wrong_as_nothing_can_be_written_there(doctor: Doctor, start_redis: StartRedis) -> None:
    master = start_redis(keep=True)
    replica = start_redis(name="replica", keep=True, options={"replicaof": f"127.0.0.1 {master.port}"})

    def in_step() -> bool:
        with replica.client() as client:
            return bool(client.info("replication")["master_link_status"] == "up")

    wait_until(in_step, "the replica to follow")
    assert bad(doctor.redis(replica.url)) == {"role": "wrong", "scripts": "wrong"}


def test_what_a_user_of_redis_may_not_see_is_a_warning_and_what_it_may_not_do_is_wrong(
    doctor: Doctor, start_redis: StartRedis
) -> None:
    redis = start_redis(keep=True)
    with redis.client() as client:
        rules = ["on", ">word", "~gw:*", "~alert:buffer:*", "+@all", "-@admin", "-@dangerous"]
        client.execute_command("ACL", "SETUSER", "blind", *rules)
        client.execute_command("ACL", "SETUSER", "narrow", "on", ">word", "~gw:*", "+@all")
        client.execute_command("ACL", "SETUSER", "mute", "on", ">word", "~*", "+@all", "-@scripting")
    blind = doctor.redis(f"redis://blind:word@127.0.0.1:{redis.port}/0")
    unseen = ("version", "role", "eviction", "persistence", "memory")
    assert bad(blind) == dict.fromkeys(unseen, "warning")
    assert bad(doctor.redis(f"redis://narrow:word@127.0.0.1:{redis.port}/0")) == {"scripts": "wrong"}
    assert bad(doctor.redis(f"redis://mute:word@127.0.0.1:{redis.port}/0")) == {"scripts": "wrong"}
    assert doctor.redis(f"redis://blind:guess@127.0.0.1:{redis.port}/0") == {"connection": "wrong"}


def test_a_redis_that_hangs_is_wrong_and_is_not_waited_for(doctor: Doctor, start_redis: StartRedis) -> None:
    redis = start_redis()
    redis.pause()
    try:
        began = time.monotonic()
        assert doctor.redis(redis.url) == {"connection": "wrong"}
        assert time.monotonic() - began < 10
    finally:
        redis.resume()


def test_a_redis_slower_than_its_time_out_is_wrong(doctor: Doctor, start_redis: StartRedis) -> None:
    assert bad(doctor.redis(start_redis(keep=True).url, "redis.timeout=1us")) == {"latency": "wrong"}


def test_something_else_in_the_place_of_redis_is_wrong(doctor: Doctor, cluster: Api) -> None:
    port = cluster.url.rpartition(":")[2]
    assert doctor.redis(f"redis://127.0.0.1:{port}/0") == {"connection": "wrong"}


def test_a_clock_that_is_wrong_is_a_warning(
    doctor: Doctor, start_redis: StartRedis, fake_clock: FakeClock
) -> None:
    fake_clock.step(-90)
    redis = start_redis(keep=True, source="wheel", env=fake_clock.env)
    _, checks = doctor(redis.url)
    assert bad(results(checks, "redis")) == {"clock": "warning"}
    assert "s behind this machine's" in checks["redis/clock"]["found"]


def test_the_master_of_sentinels_is_examined_and_one_without_replicas_is_a_warning(
    doctor: Doctor, start_sentinel: StartSentinel
) -> None:
    group = start_sentinel(replicas=1, options={"appendonly": "yes"})
    _, checks = doctor(group.url)
    assert bad(results(checks, "redis")) == {}
    assert checks["redis/role"]["where"].startswith("mymaster by 127.0.0.1:")
    replica = next(server for server in group.servers if server is not group.master())
    replica.kill()

    def alone() -> bool:
        with group.master().client() as client:
            return bool(client.info("replication")["connected_slaves"] == 0)

    wait_until(alone, "the master to notice")
    assert bad(doctor.redis(group.url)) == {"role": "warning"}


def test_every_master_of_a_cluster_that_has_shards_is_examined(
    doctor: Doctor, start_redis_cluster: StartRedisCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    group = start_redis_cluster(replicas_per_master=1, options={"appendonly": "yes"})
    masters = group.nodes[:3]
    with masters[2].client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "64mb")
    assert main(["doctor", "--set", f"redis.url={group.url}", "--set", "redis.shards=16", "-o", "json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    policies = {check["where"]: check["result"] for check in checks if check["check"] == "eviction"}
    assert policies == {f"127.0.0.1:{node.port}": "wrong" if node is masters[2] else "ok" for node in masters}
    assert bad(doctor.redis(group.url)).get("shards") == "warning"
    assert doctor.redis(masters[0].url)["connection"] == "wrong"


# --- Kubernetes


def grant(api: Api, rules: list[dict[str, Any]], namespace: str = "") -> None:
    """Grant the rig's user something, in one namespace or in all."""
    kind = "Role" if namespace else "ClusterRole"
    name = f"granted-{abs(hash(json.dumps(rules))) % 10**8}"
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}
    api.apply(
        [
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": meta, "rules": rules},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": f"{kind}Binding",
                "metadata": meta,
                "roleRef": role,
                "subjects": [subject],
            },
        ]
    )


def requests_rule(*verbs: str) -> dict[str, Any]:
    return {
        "apiGroups": ["remediation.kubernaut.io"],
        "resources": ["remediationrequests"],
        "verbs": list(verbs),
    }


def test_a_missing_permission_is_named_with_its_namespace(
    doctor: Doctor, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    published(plane.api)
    user = plane.user_api()
    _, checks = doctor("redis://127.0.0.1:1/0", user)
    assert bad(results(checks, "kubernetes")) == {
        "permissions": "wrong",
        "namespaces": "warning",
        "events": "warning",
        "fallback-namespace": "warning",
        "writes": "warning",
        "latency": "warning",
    }
    assert "get, list, watch, create, patch, delete" in checks["kubernetes/permissions"]["found"]
    assert checks["kubernetes/permissions"]["where"] == "all namespaces"

    plane.api.create_namespace("prod")
    grant(plane.api, [requests_rule(*REQUEST_VERBS)], FALLBACK_NAMESPACE)
    grant(plane.api, [requests_rule("get", "list", "watch", "create")], "prod")
    grant(plane.api, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}])
    grant(plane.api, [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}], FALLBACK_NAMESPACE)
    grant(plane.api, [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}], "prod")

    def named() -> bool:
        _, checks = doctor("redis://127.0.0.1:1/0", user, "kubernetes.namespaces=[prod]")
        permissions = checks["kubernetes/permissions"]
        return bad(results(checks, "kubernetes")) == {"permissions": "wrong"} and (
            "patch, delete" in permissions["found"] and permissions["where"] == "namespace prod"
        )

    wait_until(named, "the roles to be in force, but for what one lacks", every=0.2)

    grant(plane.api, [requests_rule(*REQUEST_VERBS)])
    assert doctor.kubernetes(user)["events"] == "warning"
    grant(plane.api, [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}])
    wait_until(lambda: bad(doctor.kubernetes(user)) == {}, "the role to be in force", every=0.2)


def test_a_clock_that_differs_from_that_of_the_cluster_is_a_warning(
    cluster: Api, fake_clock: FakeClock
) -> None:
    fake_clock.step(90)
    words = ("doctor", "--kubeconfig", str(cluster.kubeconfig), "-o", "json")
    done = gateway(*words, "--set", "redis.url=redis://127.0.0.1:1/0", env=fake_clock.env)
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["clock"]["result"] == "warning"
    assert "s behind this machine's" in checks["clock"]["found"]


def test_permission_for_reviews_is_asked_for_where_they_are_needed(
    doctor: Doctor, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    user = plane.user_api()
    assert "reviews" not in doctor.kubernetes(user)
    review = "auth.mode=tokenreview"
    assert doctor.kubernetes(plane.api, review)["reviews"] == "ok"
    assert doctor.kubernetes(user, review)["reviews"] == "wrong"


def test_an_account_that_is_not_known_is_wrong(doctor: Doctor, cluster: Api, tmp_path: Path) -> None:
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["users"][0]["user"]["token"] = "guess"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(content))
    stranger = Api(cluster.url, token="guess", ca=cluster.ca, kubeconfig=kubeconfig)
    _, checks = doctor("redis://127.0.0.1:1/0", stranger)
    assert results(checks, "kubernetes") == {"connection": "wrong"}
    assert "401" in checks["kubernetes/connection"]["found"]


def test_a_namespace_that_is_missing_is_wrong_where_it_is_the_fallback(doctor: Doctor, cluster: Api) -> None:
    fallback = doctor.kubernetes(cluster, "kubernetes.fallback_namespace=nowhere")
    assert fallback["fallback-namespace"] == "wrong"
    named = doctor.kubernetes(cluster, "kubernetes.namespaces=[nowhere]")
    assert bad(named) == {"namespace": "warning"}


def test_an_api_server_that_hangs_or_is_gone_is_wrong(
    doctor: Doctor, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    plane.server.pause()
    began = time.monotonic()
    assert doctor.kubernetes(plane.api) == {"connection": "wrong"}
    assert time.monotonic() - began < 15
    plane.server.resume()
    plane.server.kill()
    assert doctor.kubernetes(plane.api) == {"connection": "wrong"}


def test_something_else_in_the_place_of_kubernetes_is_wrong(
    doctor: Doctor, cluster: Api, redis_server: RedisServer, start_gateway: StartGateway, tmp_path: Path
) -> None:
    other = start_gateway(redis=redis_server, cluster=cluster)
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["clusters"][0]["cluster"] = {"server": other.url}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(content))
    stranger = Api(other.url, token="", ca=None, kubeconfig=kubeconfig)
    assert doctor.kubernetes(stranger) == {"connection": "wrong"}


def test_a_definition_that_is_old_or_missing_is_wrong(
    doctor: Doctor, start_cluster: Callable[[], Cluster]
) -> None:
    plane = start_cluster()
    path = (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/remediationrequests.remediation.kubernaut.io"
    )

    def replace(change: Callable[[dict[str, Any]], None]) -> None:
        current = plane.api.call("GET", path)
        definition = yaml.safe_load(CRD_FILE.read_text())
        definition["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
        change(definition["spec"]["versions"][0])
        plane.api.call("PUT", path, definition)

    def fields(version: dict[str, Any]) -> dict[str, Any]:
        spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        return spec

    def older(version: dict[str, Any]) -> None:
        del fields(version)["properties"]["stormAlertCount"]
        version["additionalPrinterColumns"] = []

    def stricter(version: dict[str, Any]) -> None:
        fields(version)["properties"]["approver"] = {"type": "string"}
        fields(version)["required"].append("approver")

    def without_status(version: dict[str, Any]) -> None:
        del version["subresources"]

    replace(older)
    wait_until(
        lambda: bad(doctor.kubernetes(plane.api)) == {"crd-fields": "wrong"}, "the older one", every=0.2
    )
    _, checks = doctor("redis://127.0.0.1:1/0", plane.api)
    assert "stormAlertCount" in checks["kubernetes/crd-fields"]["found"]

    replace(stricter)
    expected = {"crd-fields": "wrong", "writes": "wrong"}
    wait_until(lambda: bad(doctor.kubernetes(plane.api)) == expected, "the stricter one", every=0.2)

    replace(without_status)
    wait_until(lambda: bad(doctor.kubernetes(plane.api)) == {"crd": "wrong"}, "no status", every=0.2)

    plane.api.call("DELETE", path)
    wait_until(lambda: bad(doctor.kubernetes(plane.api)) == {"crd": "wrong"}, "its end", every=0.2)
    wait_until(
        lambda: "not installed" in doctor("redis://127.0.0.1:1/0", plane.api)[1]["kubernetes/crd"]["found"],
        "its end",
        every=0.2,
    )

    other = yaml.safe_load(CRD_FILE.read_text())
    other["spec"]["versions"][0]["name"] = "v1beta1"
    plane.api.apply([other])
    wait_until(
        lambda: "only v1beta1" in doctor("redis://127.0.0.1:1/0", plane.api)[1]["kubernetes/crd"]["found"],
        "the other version",
        every=0.2,
    )
