"""Rehearsals pass on a gateway that keeps its promises, and fail on one that does not. `FULL=1` for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.rig.cluster import Cluster
from chaos.scenarios import BY_NAME
from tests.chaos.rehearsing import mutated, rehearse

StartCluster = Callable[[], Cluster]

QUICK = ("gateway-pod-restart",)
CAUGHT = {
    "aggregated-request-named-anyhow": (
        "gateway-pod-restart",
        ("its name is the window's",),
    ),
    "no-breaker": ("redis-master-failure", ("every breaker is open within",)),
    "counts-twice-on-retry": (
        "redis-network-partition",
        ("counted too often", "`gateway audit` finds nothing"),
    ),
    "local-clock": ("buffer-expiry-and-clock-skew", ("requests after 5 s of 8 s",)),
    "unconfirmed-dropped": ("redis-memory-pressure", ("accepted and lost",)),
}
"""Promise that is broken → the scenario that notices, and which of its criteria fail at least."""


FILES = {"baseline.json", "load.jsonl", "gateway.log", "post.json", "validation.json"}


def _written(folder: Path, name: str) -> set[str]:
    """The files of a scenario, without its name before them, that are not empty."""
    return {
        path.name.removeprefix(f"{name}-") for path in folder.glob(f"{name}-*.*") if path.stat().st_size > 0
    }


def _chosen(names: tuple[str, ...], quick: tuple[str, ...]) -> tuple[str, ...]:
    return names if os.environ.get("FULL") else quick


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", _chosen(tuple(BY_NAME), QUICK))
async def test_a_gateway_that_keeps_its_promises_passes(
    name: str, start_cluster: StartCluster, tmp_path: Path
) -> None:
    verdict = await rehearse(name, start_cluster(), tmp_path)

    assert (verdict.outcome, [one.what for one in verdict.failures], verdict.error) == ("passed", [], "")
    assert _written(tmp_path, name) == FILES


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", _chosen(tuple(CAUGHT), ("aggregated-request-named-anyhow",)))
async def test_a_broken_promise_is_noticed_by_the_scenario_for_it(
    mutant: str, start_cluster: StartCluster, tmp_path: Path
) -> None:
    name, criteria = CAUGHT[mutant]
    verdict = await rehearse(name, start_cluster(), tmp_path, program=mutated(mutant))

    failed = [one.what for one in verdict.failures]
    assert verdict.outcome == "failed"
    assert [one for one in criteria if any(what.startswith(one) for what in failed)] == list(criteria), failed
