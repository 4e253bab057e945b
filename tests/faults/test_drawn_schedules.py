"""What is drawn: always the same for a seed, every fault at some time, and never what nobody promises to survive."""

from __future__ import annotations

import itertools
from collections import Counter

from tests.faults.schedules import LONGEST, MOST_LASTING, TRAITS, Effect, Kind, Schedule, Target, draw

SEEDS = range(500)


def test_a_seed_always_draws_the_same() -> None:
    assert [draw(seed) for seed in SEEDS] == [draw(seed) for seed in SEEDS]
    assert len({draw(seed).steps for seed in SEEDS}) == len(SEEDS)


def test_without_journals_no_process_dies_where_redis_loses_data() -> None:
    drawn = [draw(seed) for seed in SEEDS]

    assert not any(one.has(Effect.DATA) and one.has(Effect.PROCESS) for one in drawn if not one.journal)
    # Each alone, and with journals both, is common.
    assert sum(one.has(Effect.DATA) for one in drawn if not one.journal) > 30
    assert sum(one.has(Effect.PROCESS) for one in drawn if not one.journal) > 30
    assert sum(one.has(Effect.DATA) and one.has(Effect.PROCESS) for one in drawn if one.journal) > 30


def test_every_fault_is_drawn_and_most_schedules_combine_several_targets() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    kinds = Counter(step.kind for one in drawn for step in one.steps)

    assert all(kinds[kind] > 20 for kind in Kind), kinds
    assert sum(len(targets(one)) > 1 for one in drawn) > len(SEEDS) * 0.8


def targets(schedule: Schedule) -> set[Target]:
    return {step.target[0] for step in schedule.steps}


def test_schedules_are_short_and_no_target_has_two_faults_at_once() -> None:
    for schedule in map(draw, SEEDS):
        assert schedule.steps
        assert schedule.seconds <= LONGEST + MOST_LASTING
        for one, other in itertools.combinations(schedule.steps, 2):
            apart = one.at + one.lasts < other.at or other.at + other.lasts < one.at
            assert one.target != other.target or apart, schedule


def test_faults_of_redis_are_nobodys_and_all_others_are_of_one_replica() -> None:
    steps = [step for seed in SEEDS for step in draw(seed).steps]

    assert all((step.replica is None) == (TRAITS[step.kind].target is Target.REDIS) for step in steps)
    assert all(TRAITS[step.kind].shortest <= step.lasts <= TRAITS[step.kind].longest for step in steps)
