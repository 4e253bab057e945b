"""The scripts and recordings, as they are, against a gateway in embedded mode."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chaos.rig.ports import free_port
from chaos.rig.processes import Process
from tests.rig.fixtures import require

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path.name for path in (ROOT / "scripts").glob("*.sh") if path.name not in ("chaos.sh", "lock.sh")
)

RECORDINGS = sorted((ROOT / "chaos" / "recordings").glob("*.jsonl"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody who has a gateway in embedded mode, with the configuration of scenario 6."""
    require("kubectl")
    folder = tmp_path_factory.mktemp("embedded")
    port, metrics = free_port(), free_port()
    command = [sys.executable, "-m", "gateway", "dev"]
    command += ["--config", str(ROOT / "chaos" / "gateways" / "concurrent-updates.yaml")]
    command += ["--set", f"server.port={port}", "--set", f"server.metrics_port={metrics}"]
    command += ["--set", "storm.hold=1s", "--set", "storm.inactivity=1s"]
    gateway = Process("gateway-dev", command, folder=folder, cwd=ROOT)
    gateway.start()
    try:
        gateway.until(lambda: re.search(r"kubeconfig\s+\S+", gateway.log()), seconds=60)
        found = re.search(r"kubeconfig\s+(\S+)", gateway.log())
        assert found is not None
        yield {
            **os.environ,
            "GATEWAY_URL": f"http://127.0.0.1:{port}",
            "GATEWAY_METRICS_URL": f"http://127.0.0.1:{metrics}",
            "KUBECONFIG": found[1],
        }
    finally:
        gateway.terminate(seconds=30)


def run(
    script: str, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / script), *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def gateway(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_says_how_it_is_used(script: str) -> None:
    done = run(script, "--help")

    assert done.returncode == 0, done.stderr
    assert script in done.stdout or "gateway send" in done.stdout


def test_alerts_are_sent_measured_validated_and_audited(embedded: Mapping[str, str], tmp_path: Path) -> None:
    before, after, sent = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "sent.jsonl"
    metrics, page = f"{embedded['GATEWAY_METRICS_URL']}/metrics", tmp_path / "before.prom"
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        page.write_bytes(answer.read())
    assert run("collect-metrics.sh", "--baseline", "--output", before, env=embedded).returncode == 0
    alerts = (
        "--rate",
        "600/min",
        "--duration",
        "1s",
        "--alert-name",
        "PodOOMKilled",
        "--namespace",
        "prod-api",
    )
    done = run("send-test-alerts.sh", *alerts, "--output", sent, env=embedded)
    assert done.returncode == 0, done.stderr
    storm = ("--count", "20", "--alert-name", "NodeDown", "--duration", "1s", "--output", sent)
    done = run("send-storm-alerts.sh", *storm, env=embedded)
    assert done.returncode == 0, done.stderr

    done = gateway("audit", "--sent", sent, "--wait", "30s", "--kubeconfig", embedded["KUBECONFIG"])
    assert done.returncode == 0, done.stdout
    run("collect-metrics.sh", "--post-chaos", "--sent", sent, "--output", after, env=embedded)
    found = json.loads(after.read_text())
    assert (found["alerts_sent"], found["alerts_processed"]) == (30, 30)
    assert {"circuit_breaker_activations", "recovery_time_seconds"} <= found.keys()

    done = run("metrics-delta.sh", page, metrics, "--output", "json", env=embedded)
    grown = {one["name"]: one["growth"] for one in json.loads(done.stdout)["counters"]}
    assert (done.returncode, grown["gateway_alerts_received_total"]) == (0, 30)

    looks = ("--baseline", before, "--post-chaos", after)
    verdict = tmp_path / "concurrent-updates-validation.json"
    done = run("validate-results.sh", "--scenario", "concurrent-updates", *looks, "--output", verdict)
    assert done.returncode == 0, done.stdout
    assert run("validate-results.sh", "--scenario", "gateway-pod-restart", *looks).returncode == 1
    assert run("validate-results.sh", "--scenario", "nonsense", *looks).returncode == 2
    assert run("generate-report.sh", "--results-dir", tmp_path).returncode == 0
    assert "1 of 1 scenarios passed" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_storm_is_replayed_and_every_alert_of_it_is_counted(
    path: Path, embedded: Mapping[str, str], tmp_path: Path
) -> None:
    sent = tmp_path / "sent.jsonl"
    # One at a time: alerts that end and begin again have an order.
    replay = ("replay", path, "--speed", "max", "--concurrency", "1", "--shift-times", "--output", sent)
    done = gateway(*replay, env=embedded)
    assert done.returncode == 0, done.stdout + done.stderr

    assert len(sent.read_text().splitlines()) > 30
    done = gateway("audit", "--sent", sent, "--wait", "30s", "--kubeconfig", embedded["KUBECONFIG"])
    assert done.returncode == 0, done.stdout


def test_concurrent_updates_run_against_it_and_what_cannot_be_injected_is_not_run(
    embedded: Mapping[str, str], tmp_path: Path
) -> None:
    done = run("concurrent-updates.sh", "--results", tmp_path / "one", env=embedded)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "one" / "report.html").exists()

    done = run(
        "run-all-chaos-tests.sh",
        "--short",
        "redis-master-failure",
        "--results",
        tmp_path / "all",
        env=embedded,
    )
    assert done.returncode == 1
    assert "NOT RUN: redis-master-failure cannot be done here" in done.stdout
