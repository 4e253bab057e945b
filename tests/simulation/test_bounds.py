"""Bounds of the engine: past them it says so, and what it has stays."""

from __future__ import annotations

import asyncio

import pytest

from gateway import errors
from gateway.engine.engine import Limits
from gateway.model import Outcome
from tests.simulation.profiles import Profile
from tests.simulation.virtual import run
from tests.simulation.world import SimReading, World, moment


def test_too_many_unconfirmed_problems_are_refused_until_kubernetes_has_them() -> None:
    async def play() -> Outcome:
        world = World(Profile("quiet", replicas=1), 1)
        replica = world.start_replica()
        replica.engine._limits = Limits(max_unconfirmed=2)
        await asyncio.sleep(0.1)
        world.down["kube"] = True
        for digit in "ab":
            await replica.accept([SimReading(digit * 64, moment(1000.0))], digit.encode())
        with pytest.raises(errors.Overloaded):
            await replica.accept([SimReading("c" * 64, moment(1000.0))], b"c")
        world.down["kube"] = False
        await asyncio.sleep(30.0)
        (verdict,) = await replica.accept([SimReading("c" * 64, moment(1000.0))], b"c")
        replica.kill()
        return Outcome(verdict.outcome)

    assert run(play()) is Outcome.CREATED
