"""A storm as people and scripts see it: the answer, the windows, the fate of an alert, the request, the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.ports import free_port
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.integration.commands import FINDING, UNREACHABLE, gateway, printed
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway, StartRedis

STORM = {"threshold": 3, "hold": "4s", "inactivity": "4s", "max_window": "30s"}
LONGER = {**STORM, "hold": "15s", "inactivity": "15s", "max_window": "1m"}
"""For who calls commands while a window is open: each may take seconds on a busy machine."""


@pytest.fixture
def replica(start_gateway: StartGateway, redis_server: RedisServer, cluster: Api) -> GatewayProcess:
    return start_gateway(redis=redis_server, cluster=cluster, settings={**STEADY, "storm": STORM})


def send(replica: GatewayProcess, namespace: str, log: Path, *words: str) -> dict[str, Any]:
    sent: dict[str, Any] = printed(
        gateway(
            "send",
            "--url",
            replica.url,
            "--namespace",
            namespace,
            "--output",
            str(log),
            "--summary",
            "json",
            *words,
        )
    )
    return sent


def told(replica: GatewayProcess, path: str) -> Any:
    status, body = replica.get(path)
    assert status == 200, body
    return json.loads(body)


def audit(cluster: Api, log: Path, *words: str, expected: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = printed(
        gateway("audit", "--sent", str(log), "--kubeconfig", str(cluster.kubeconfig), "-o", "json", *words),
        expected,
    )
    return found


def test_a_storm_is_shown_while_it_is_held_and_proven_once_it_is_one_request(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    replica = start_gateway(redis=redis_server, cluster=cluster, settings={**STEADY, "storm": LONGER})
    log = tmp_path / "sent.jsonl"
    sent = send(
        replica, namespace, log, "--storm", "--count", "60", "--distinct", "30", "--alert-name", "Bad"
    )
    assert sent["outcomes"] == {"buffered": 60}
    first = json.loads(log.read_text().splitlines()[0])["fingerprint"]

    (window,) = printed(gateway("storms", "--url", replica.url, "--output", "json"))["windows"]
    assert (window["group"], window["state"]) == (f"{namespace}/Bad", "storming")
    assert (window["members"], window["threshold"]) == (30, 3)
    assert 0 < window["dueIn"] <= 15
    assert told(replica, "/v1/storms")["windows"][0]["id"] == window["id"]
    assert f"{namespace}/Bad" in gateway("storms", "--url", replica.url).stdout
    fate = told(replica, f"/v1/alerts/{first}")
    assert (fate["window"], fate["storms"]) == (window["id"], [])
    early = audit(cluster, log, expected=FINDING)
    assert (early["lost"], early["inWindows"]) == (60, 60)

    clean = audit(cluster, log, "--wait", "30s", "--url", replica.url)
    assert (clean["clean"], clean["counted"], clean["fingerprints"]) == (True, 60, 30)
    (request,) = cluster.requests(namespace)
    assert (request["spec"]["isStorm"], request["spec"]["stormAlertCount"]) == (True, 30)
    (storm,) = told(replica, f"/v1/alerts/{first}")["storms"]
    assert storm == {
        "namespace": namespace,
        "name": request["metadata"]["name"],
        "window": window["id"],
        "phase": "",
        "open": True,
        "occurrenceCount": 60,
    }
    assert told(replica, "/v1/storms") == {"windows": []}

    # What fires again is counted on the request that holds it.
    again = send(
        replica, namespace, log, "--storm", "--count", "60", "--distinct", "30", "--alert-name", "Bad"
    )
    assert set(again["outcomes"]) == {"duplicate"}
    alone = ("--exclusive", "--set", f"kubernetes.namespaces=[{namespace}]")
    clean = audit(cluster, log, "--wait", "30s", "--url", replica.url, *alone)
    assert (clean["clean"], clean["counted"]) == (True, 120)


def test_the_audit_finds_what_a_member_of_a_storm_lost(
    replica: GatewayProcess, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "sent.jsonl"
    send(replica, namespace, log, "--storm", "--count", "8", "--alert-name", "Bad")
    assert audit(cluster, log, "--wait", "30s")["clean"]
    (request,) = cluster.requests(namespace)
    name = request["metadata"]["name"]
    path = f"/apis/remediation.kubernaut.io/v1alpha1/namespaces/{namespace}/remediationrequests/{name}"
    patch = {"spec": {"deduplication": {"occurrenceCount": 7}}}
    cluster.call("PATCH", path, patch, content_type="application/merge-patch+json")
    found = audit(cluster, log, expected=FINDING)
    assert [name in fault["request"] for fault in found["faults"]] == [True]
    cluster.call("DELETE", path)
    assert audit(cluster, log, expected=FINDING)["lost"] == 8


def test_a_lone_problem_has_its_own_request_when_its_window_ends(
    replica: GatewayProcess, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "sent.jsonl"
    sent = send(replica, namespace, log, "--count", "5", "--alert-name", "Alone")
    assert sent["outcomes"] == {"buffered": 5}
    assert audit(cluster, log, "--wait", "30s", "--url", replica.url)["counted"] == 5
    (request,) = cluster.requests(namespace)
    assert request["spec"]["isStorm"] is False


@pytest.mark.parametrize("emit", ["on_close", "on_threshold"])
def test_what_resolves_before_its_window_ends_is_no_finding(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
    emit: str,
) -> None:
    settings = {**STEADY, "storm": {**STORM, "emit": emit}}
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    log, name = tmp_path / "sent.jsonl", ("--alert-name", "Brief")
    sent = send(replica, namespace, log, "--storm", "--count", "24", "--distinct", "12", "--resolve", *name)
    assert sent["outcomes"]["resolved"] == 12
    assert audit(cluster, log, "--wait", "30s", "--url", replica.url)["clean"]
    wait_until(lambda: told(replica, "/v1/storms") == {"windows": []}, "the window to end", seconds=20)
    assert audit(cluster, log, "--wait", "10s", "--url", replica.url)["clean"]


def test_without_redis_the_windows_are_503_and_the_command_says_so(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api
) -> None:
    redis = start_redis()
    replica = start_gateway(redis=redis, cluster=cluster)
    redis.kill()
    wait_until(lambda: replica.get("/v1/storms")[0] == 503, "the windows to be unknown", seconds=10)
    done = gateway("storms", "--url", replica.url)
    assert done.returncode == UNREACHABLE
    assert "503" in done.stderr
    nobody = gateway("storms", "--url", f"http://127.0.0.1:{free_port()}")
    assert nobody.returncode == UNREACHABLE
