"""A fuzzer that reads the description, against a gateway on real components.

It sends what the description allows and what it does not, in all encodings that it knows, and holds every answer
against it: no 5xx, no status, header, content type or body that is not described, nothing without a credential.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from tests.rig.fixtures import StartGateway

TOKEN = "s" * 32
SECONDS = 25

# A webhook is taken although an alert in it is bad, or a field is of no use: so that what is "not as described" is
# not always refused. And what is as described may be refused: 422 where no alert is valid, 404 where nobody knows it.
CONFIGURATION = """\
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 404]
unsupported_method.enabled = true

[[operations]]
include-tag = ["alerts", "aliases"]
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture
def gateway(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> GatewayProcess:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alertmanager:{TOKEN}\n")
    tokens.chmod(0o600)
    settings = {
        "auth": {"mode": "bearer", "tokens_file": str(tokens)},
        "kubernetes": {"fallback_namespace": namespace},
        "redis": {"timeout": "250ms"},
        "storm": {"hold": "5s", "inactivity": "5s"},
        "server": {"ack_wait": "20ms"},
    }
    return start_gateway(redis=redis_server, cluster=cluster, settings=settings)


def fuzz(folder: Path, location: str, *options: str) -> str:
    """Run schemathesis; what it printed. Fails where it found something."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)),
            *("run", location, "--no-color", "--seed", "1", "--max-time", str(SECONDS), *options),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SECONDS * 6,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_that_a_fuzzer_sends_is_answered_otherwise_than_described(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    location = f"{gateway.url}/openapi.json"
    out = fuzz(tmp_path, location, "-H", f"Authorization: Bearer {TOKEN}", "--exclude-path", "/metrics")
    print(out)
    assert gateway.metric("gateway_errors_total", type="internal") == 0


def test_nor_on_the_listener_for_metrics(gateway: GatewayProcess, tmp_path: Path) -> None:
    location = f"{gateway.url}/openapi.json"
    fuzz(tmp_path, location, "--url", gateway.metrics_url, "--include-path", "/metrics", "--max-time", "5")
