"""Storms in any order of what can happen: the real engines and the real scripts on a real Redis, in virtual time.

A failure prints the steps that lead to it, as few as there are; written down, they are a test of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from chaos.rig.fake_clock import FakeClock
from tests.rig.fixtures.stores import StartRedis
from tests.stateful.frozen import FrozenRedis
from tests.stateful.machine import Loss, Peace, StormMachine, Trouble

EXAMPLES = 120
STEPS = 30


@pytest.fixture
def frozen_redis(fake_clock: FakeClock, start_redis: StartRedis) -> Iterator[FrozenRedis]:
    redis = FrozenRedis(fake_clock, start_redis)
    yield redis
    redis.close()


@pytest.mark.parametrize("machine", [Peace, Trouble, Loss], ids=["peace", "trouble", "loss"])
def test_storms_keep_their_promises_whatever_happens_in_whichever_order(
    frozen_redis: FrozenRedis, machine: type[StormMachine]
) -> None:
    run_state_machine_as_test(
        lambda: machine(frozen_redis),
        settings=settings(
            settings.get_profile("default"),
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            print_blob=True,
        ),
    )


BROKEN = {
    "what is confirmed is not what was covered": (
        "local reached = math.min(value, settled)",
        "local reached = value",
    ),
    "a resolved member is not settled": (
        "for _, field in ipairs({'b:', 'z:'}) do",
        "for _, field in ipairs({'z:'}) do",
    ),
    "a full buffer is not sealed": (
        "seal(win)\n      win.event = 'spilled'",
        "win.event = 'spilled'",
    ),
    "a window has no most": ("if win.members >= win.most_in_all then", "if false then"),
    "a window is in no queue": (
        "if at then redis.call('ZADD', KEYS[1], at, 'w:' .. win.id) else",
        "if at and win.members < 3 then redis.call('ZADD', KEYS[1], at, 'w:' .. win.id) else",
    ),
}
"""What a script says, and what it says without one of its rules."""


@pytest.mark.parametrize("broken", BROKEN)
def test_a_script_without_one_of_its_rules_is_noticed(frozen_redis: FrozenRedis, broken: str) -> None:
    frozen_redis.alter(*BROKEN[broken])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            lambda: Peace(frozen_redis),
            settings=settings(
                settings.get_profile("default"),
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
            ),
        )
