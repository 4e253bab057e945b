"""What is applied to a cluster is valid there: on the real API server, with Chaos Mesh's own definitions, strictly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.faults.rules import rules_from_json
from chaos.injections import Injection
from chaos.local.acts import ACTS
from chaos.rig.api import Api
from chaos.rules import MANIFESTS, fault_rules, manifest, toxics
from chaos.scenario import Scenario
from chaos.scenarios import ALL

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared" / "fixtures" / "crds"
FILES = sorted(path for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")
KINDS = {"httpchaos", "networkchaos", "podchaos", "schedules", "stresschaos", "timechaos"}
SETTINGS_OF_REDIS = {Injection.REDIS_EVICTION, Injection.REDIS_REFUSES_WRITES, Injection.REDIS_GARBAGE}
"""What commands of Redis do, without a manifest."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@pytest.fixture(scope="module")
def mesh(control_plane: Api) -> Api:
    """The shared control plane with Chaos Mesh's definitions, which are not the project's.

    They stay: another worker may be in the middle of its own test with them.
    """
    if not CRDS.exists():
        pytest.skip(f"NO DEFINITIONS OF CHAOS MESH: {CRDS} is not there")
    for kind in KINDS:
        control_plane.install_crd(CRDS / f"chaos-mesh.org_{kind}.yaml", seconds=60)
    for namespace in ("alert-gateway", "prod-api"):
        control_plane.create_namespace(namespace)
    return control_plane


def dry(api: Api, text: str) -> str:
    arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    return api.kubectl(*arguments, stdin=text)


def test_every_manifest_passes_a_strict_dry_run_on_the_server(mesh: Api) -> None:
    for path in FILES:
        told = dry(mesh, path.read_text())
        assert told.count("(server dry run)") == len(documents(path)), path.name


def test_what_chaos_mesh_does_not_know_would_be_noticed(mesh: Api) -> None:
    (good,) = documents(MANIFESTS / "redis-network-partition.yaml")
    good["spec"]["scheduler"] = {"cron": "@every 1m"}

    with pytest.raises(RuntimeError, match="scheduler"):
        dry(mesh, yaml.safe_dump(good))


@pytest.mark.parametrize("injection", Injection)
def test_every_injection_can_be_done_in_both_ways(injection: Injection) -> None:
    assert injection in ACTS
    ways = (manifest(injection), fault_rules(injection), toxics(injection))
    assert any(ways) != (injection in SETTINGS_OF_REDIS)


def test_rules_for_the_fault_proxy_are_rules() -> None:
    for path in (MANIFESTS / "fault-proxy").glob("*.json"):
        assert rules_from_json(json.loads(path.read_text()))


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_the_configuration_of_each_scenario_is_one_that_the_gateway_takes(
    scenario: Scenario, tmp_path: Path
) -> None:
    for full in (True, False):
        path = tmp_path / "gateway.yaml"
        path.write_text(yaml.safe_dump(scenario.settings(full=full)))
        command = [sys.executable, "-m", "gateway", "config", "check", "--config", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_scenario_is_different_between_full_and_shortened_times() -> None:
    for scenario in ALL:
        full, short = scenario.settings(full=True), scenario.settings(full=False)
        assert {key for key in full if full[key] != short[key]} == set(scenario.shortened), scenario.name
