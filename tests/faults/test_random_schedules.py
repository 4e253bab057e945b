"""Some random schedules for every change, always the same ones; `python -m tests.faults` tries others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.running import play
from tests.faults.schedules import Kind, draw
from tests.rig.api import Api
from tests.rig.fixtures import require

AT_ONCE = 3
"""They mostly wait, so that some fit beside each other."""
SEEDS = range(186, 198)
"""The first twelve in a row that have every fault."""
BATCHES = [SEEDS[start : start + AT_ONCE] for start in range(0, len(SEEDS), AT_ONCE)]


@pytest.mark.parametrize("seeds", BATCHES, ids=lambda seeds: f"{seeds[0]} to {seeds[-1]}")
async def test_no_combination_of_faults_loses_an_alert_or_counts_one_twice(
    seeds: range, cluster: Api, tmp_path: Path
) -> None:
    for program in ("redis-server", "toxiproxy"):
        require(program)
    async with asyncio.TaskGroup() as playing:
        tasks = [playing.create_task(play(draw(seed), cluster, tmp_path / str(seed))) for seed in seeds]
    results = [task.result() for task in tasks]

    for result in results:
        print(result)
    assert not [result for result in results if result.problems]


def test_those_that_are_always_tried_have_every_fault() -> None:
    tried = {step.kind for seed in SEEDS for step in draw(seed).steps}
    assert tried == set(Kind), set(Kind) - tried
