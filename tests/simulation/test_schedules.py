"""Thousands of seeded schedules of the real engine, each with its own faults: counts stay exact, nothing is stuck."""

from __future__ import annotations

import os

import pytest

from tests.simulation.nemesis import schedule
from tests.simulation.profiles import ALL, BY_NAME

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "500"))
"""Seeds for each profile: ten profiles of 500 are 5,000 schedules."""

PARTS = 5


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", [profile.name for profile in ALL])
def test_every_schedule_ends_with_exact_counts(name: str, part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        world, found = schedule(BY_NAME[name], seed)
        assert not found, "\n".join([f"profile {name}, seed {seed}", *found, "", *world.log])


def test_the_same_seed_gives_the_same_schedule() -> None:
    one, _ = schedule(BY_NAME["crowd"], 7)
    other, _ = schedule(BY_NAME["crowd"], 7)

    assert one.log == other.log
    assert one.log


def test_duplicates_in_a_burst_are_few_writes() -> None:
    world, found = schedule(BY_NAME["burst"], 1)

    accepted = sum(tally.accepted for tally in world.tallies.values())
    assert not found
    assert accepted > 500
    assert world.api.writes <= 30
