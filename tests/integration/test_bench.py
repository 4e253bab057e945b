"""The bench runs, yields every figure, and what it counts keeps its limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.fixtures.requiring import require

ROOT = Path(__file__).parents[2]
SIZES = (1, 10, 50, 500)
FIGURES = {
    *(f"intake, {size} a webhook, {kind}" for size in SIZES for kind in ("as before", "changed")),
    *(f"until durable at half load, {quantile}" for quantile in ("p50", "p99")),
    *(f"auth.mode {mode}" for mode in ("bearer", "jwt")),
    "creation",
    "Kubernetes writes, a new alert",
    "Kubernetes writes, a duplicate",
    "Kubernetes calls, a quiet minute",
    "Kubernetes writes without Redis, a new alert",
    "Kubernetes writes without Redis, a duplicate",
    "Kubernetes writes, a storm of 30",
    "Kubernetes writes, a storm of 100",
    "Kubernetes writes saved by a storm of 100",
    "storm of 10,000, to the last confirmed",
    "without Redis, new alerts",
    "without Redis, duplicates",
    *(
        f"memory of {holder}, {what}"
        for holder in ("Redis", "the gateway")
        for what in (
            "an open request",
            "an unconfirmed alert",
            "a window with its first member",
            "a further member of a window",
        )
    ),
    *(f"start with {number} open requests" for number in ("0", "1,000", "50,000")),
    "seconds to ready with 50,000 open requests",
    "index of 50,000 open requests",
    "intake with 50,000 open requests",
}


@pytest.mark.timeout(280)
def test_a_short_run_yields_every_figure_and_what_it_counts_keeps_its_limits(tmp_path: Path) -> None:
    for tool in ("redis-server", "kube-apiserver"):
        require(tool)
    require("etcd", "recent")
    results = tmp_path / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--short", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=260, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    found = json.loads(results.read_text())
    assert set(found) == FIGURES
    assert all(figure["how"] for figure in found.values())
    assert found["Kubernetes writes, a duplicate"]["value"] <= 0.03
    assert found["Kubernetes writes, a storm of 100"]["value"] <= 3
