"""The commands as people and scripts call them: as processes, judged by what they print and exit with."""

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
from tests.integration.commands import FINDING, OK, UNREACHABLE, USAGE, gateway, printed
from tests.integration.sight import count_of, resolved_at
from tests.rig.fixtures import StartGateway

RECORDED = {
    "version": "4",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "PodOOMKilled",
                "namespace": "prod-api",
                "pod": "payment-0",
                "severity": "critical",
            },
            "startsAt": "2026-01-31T09:00:00Z",
        }
    ],
}


@pytest.fixture
def replica(start_gateway: StartGateway, redis_server: RedisServer, cluster: Api) -> GatewayProcess:
    return start_gateway(redis=redis_server, cluster=cluster)


# --- send and audit


def test_what_was_sent_is_proven_to_be_counted_and_a_tampered_count_is_found(
    replica: GatewayProcess, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    log = str(tmp_path / "sent.jsonl")
    target = ("--url", replica.url, "--namespace", namespace, "--alert-name", "Sent")
    audit = ("audit", "--sent", log, "--kubeconfig", str(cluster.kubeconfig), "--output", "json")

    sent = printed(
        gateway(
            "send",
            *target,
            "--count",
            "60",
            "--distinct",
            "6",
            "--batch",
            "5",
            "--output",
            log,
            "--summary",
            "json",
        )
    )
    assert (sent["alerts"], sent["webhooks"], sent["failure"]) == (60, 12, None)
    assert sum(sent["outcomes"].values()) == 60
    clean = printed(gateway(*audit, "--wait", "30s", "--url", replica.url))
    assert (clean["clean"], clean["counted"], clean["fingerprints"]) == (True, 60, 6)

    victim = cluster.requests(namespace)[0]["metadata"]["name"]
    path = f"/apis/remediation.kubernaut.io/v1alpha1/namespaces/{namespace}/remediationrequests/{victim}"
    patch = {"spec": {"deduplication": {"occurrenceCount": 7}}}
    cluster.call("PATCH", path, patch, content_type="application/merge-patch+json")
    tampered = printed(gateway(*audit), FINDING)
    assert not tampered["clean"]
    assert tampered["lost"] == 3
    assert [victim in fault["request"] for fault in tampered["faults"]] == [True]


def test_sending_resolved_alerts_marks_the_requests(
    replica: GatewayProcess, cluster: Api, namespace: str
) -> None:
    target = ("--url", replica.url, "--namespace", namespace)
    sent = printed(gateway("send", *target, "--count", "3", "--resolve", "--summary", "json"))
    assert sent["outcomes"]["resolved"] == 1
    assert sum(sent["outcomes"].values()) == 4
    wait_until(
        lambda: holds(cluster, namespace, 3, marked=True), "three, and the mark", seconds=20, every=0.2
    )


def holds(cluster: Api, namespace: str, count: int, *, marked: bool) -> bool:
    """Whether the only request of the namespace has this count, and whether it is marked as over."""
    return [(count_of(one), resolved_at(one) is not None) for one in cluster.requests(namespace)] == [
        (count, marked)
    ]


def test_sending_to_nobody_and_sending_what_is_refused_end_with_their_codes(
    replica: GatewayProcess, namespace: str
) -> None:
    nobody = gateway("send", "--url", f"http://127.0.0.1:{free_port()}")
    assert nobody.returncode == UNREACHABLE
    assert "refused" in nobody.stderr.lower()
    refused = gateway("send", "--url", replica.url, "--namespace", namespace, "--alert-name", "")
    assert refused.returncode == FINDING
    assert "422" in refused.stdout + refused.stderr
    assert gateway("send", "--rate", "often").returncode == USAGE


def test_an_audit_without_a_log_or_a_cluster_ends_with_its_code(tmp_path: Path) -> None:
    missing = gateway("audit", "--sent", str(tmp_path / "none.jsonl"))
    assert missing.returncode == USAGE
    assert "none.jsonl" in missing.stderr
    (tmp_path / "sent.jsonl").touch()
    (tmp_path / "kubeconfig").write_text("nonsense")
    kubeconfig = ("--kubeconfig", str(tmp_path / "kubeconfig"))
    assert gateway("audit", "--sent", str(tmp_path / "sent.jsonl"), *kubeconfig).returncode == USAGE


# --- explain


def explained(payload: Path, expected: int = OK) -> list[dict[str, Any]]:
    """What `explain` says of each alert."""
    alerts: list[dict[str, Any]] = printed(gateway("explain", str(payload), "--output", "json"), expected)[
        "alerts"
    ]
    return alerts


def test_explain_tells_what_a_payload_would_become(tmp_path: Path) -> None:
    payload = tmp_path / "webhook.json"
    payload.write_text(json.dumps(RECORDED))

    (alert,) = explained(payload)
    assert alert["fate"] == "taken"
    assert len(alert["fingerprint"]) == 64
    assert (alert["severity"], alert["mode"]) == ("critical", "hold")
    name = alert["request"]["metadata"]["name"]
    assert name == f"rr-podoomkilled-{alert['fingerprint'][:10]}-1"
    table = gateway("explain", str(payload))
    assert table.returncode == OK
    assert alert["fingerprint"][:10] in table.stdout


def test_explain_and_the_gateway_agree(
    replica: GatewayProcess, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    payload = tmp_path / "webhook.json"
    alert = {
        "labels": {"alertname": "Same", "namespace": namespace, "pod": "p"},
        "startsAt": "2026-01-31T09:00:00Z",
    }
    payload.write_text(json.dumps({"alerts": [alert]}))

    (told,) = explained(payload)
    _, answer = replica.post("/v1/webhooks/prometheus", payload.read_bytes())
    verdict = json.loads(answer)["alerts"][0]
    assert verdict["fingerprint"] == told["fingerprint"]
    assert verdict["request"]["name"] == told["request"]["metadata"]["name"]


def test_explain_finds_what_would_be_refused(tmp_path: Path) -> None:
    payload = tmp_path / "webhook.json"
    payload.write_text(json.dumps({"alerts": [{"labels": {"namespace": "n"}}]}))
    (alert,) = explained(payload, FINDING)
    assert alert["fate"] == "invalid"
    payload.write_text("no JSON")
    assert gateway("explain", str(payload)).returncode == FINDING


# --- config


def test_config_check_names_all_faults_at_once(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("server: {port: 9000}\ndedup: {write_interval: 250ms}\n")
    bad.write_text("server: {prot: 9000, port: lots}\nredis: {timeout: soon}\nnonsense: 1\n")

    assert gateway("config", "check", "--config", str(good)).returncode == OK
    done = gateway("config", "check", "--config", str(bad))
    assert done.returncode == USAGE
    for path in ("server.prot", "server.port", "redis.timeout", "nonsense"):
        assert path in done.stderr
    found = printed(gateway("config", "check", "--config", str(bad), "--output", "json"), USAGE)
    assert (found["ok"], len(found["faults"])) == (False, 4)
    assert gateway("serve", "--config", str(bad)).returncode == USAGE


def test_config_show_and_schema_print_what_other_tools_read() -> None:
    shown = printed(gateway("config", "show", "--set", "server.port=9000", "--output", "json"))
    assert shown["server"]["port"] == 9000
    schema = printed(gateway("config", "schema"))
    assert "server" in schema["properties"]


# --- dead letters


def test_dead_letters_are_none_at_first_and_an_unknown_one_cannot_be_retried(
    redis_server: RedisServer,
) -> None:
    where = ("--set", f"redis.url={redis_server.url}")
    assert printed(gateway("dead-letters", *where, "--output", "json")) == []
    assert gateway("dead-letters", *where).stdout == "No dead letters.\n"
    assert gateway("dead-letters", "retry", "abcdef", *where).returncode == FINDING
    assert gateway("dead-letters", "list", "abcdef", *where).returncode == USAGE
    nobody = gateway("dead-letters", "--set", f"redis.url=redis://127.0.0.1:{free_port()}/0")
    assert nobody.returncode == UNREACHABLE


# --- the commands as such


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "send",
        "record",
        "replay",
        "storms",
        "audit",
        "explain",
        "config",
        "dead-letters",
        "chaos",
        "dev",
        "demo",
    ],
)
def test_every_command_has_a_help_and_refuses_what_it_does_not_know(command: str) -> None:
    assert gateway(command, "--help").returncode == OK
    assert gateway(command, "--nonsense").returncode == USAGE


def test_a_second_gateway_on_the_same_port_says_so(replica: GatewayProcess) -> None:
    done = gateway("serve", "--config", str(replica.config_path))
    assert done.returncode == USAGE
    assert "cannot listen" in done.stderr
