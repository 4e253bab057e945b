"""Random faults for five minutes: first schedules that have every fault, the same for every change, then new ones.

A failure names its seeds; `make explore FAULTS=1 ARGS="--seed 17"` plays one again, and many more on request.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.rig.api import Api
from tests.faults.running import Result, play
from tests.faults.schedules import Kind, draw
from tests.rig.fixtures import require

BUDGET = float(os.environ.get("FAULT_SECONDS", "300"))
"""Seconds after which no schedule begins; but those that are always tried all begin, if there are 300 or more."""
AT_ONCE = 3
"""They mostly wait, so that some fit beside each other."""
ALWAYS = range(249, 261)
"""The first twelve in a row that have every fault."""


@pytest.mark.timeout(BUDGET + 300)
async def test_no_combination_of_faults_loses_an_alert_or_counts_one_twice(
    cluster: Api, tmp_path: Path
) -> None:
    for program in ("redis-server", "toxiproxy"):
        require(program)
    new = random.SystemRandom().randrange(1000, 10**6)
    seeds = itertools.chain(ALWAYS, itertools.count(new))
    until = time.monotonic() + BUDGET
    results: list[Result] = []
    async with asyncio.TaskGroup() as playing:
        for _ in range(AT_ONCE):
            playing.create_task(_play(seeds, until, cluster, tmp_path, results))

    print(f"{len(results)} schedules, the new ones from seed {new} on")
    failed = [result for result in results if result.problems]
    assert not failed, "\n\n".join(str(result) for result in failed)
    assert len(results) >= len(ALWAYS) or BUDGET < 300


async def _play(
    seeds: Iterator[int], until: float, cluster: Api, folder: Path, results: list[Result]
) -> None:
    for seed in seeds:
        if time.monotonic() > until and (BUDGET < 300 or seed not in ALWAYS):
            return
        result = await play(draw(seed), cluster, folder / str(seed))
        print(result, flush=True)
        results.append(result)


def test_those_that_are_always_tried_have_every_fault() -> None:
    tried = {step.kind for seed in ALWAYS for step in draw(seed).steps}
    assert tried == set(Kind), set(Kind) - tried
