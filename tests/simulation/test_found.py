"""What the simulation found, as scripts: each is the shortest way into a defect that was there once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway import errors
from gateway.model import Outcome
from tests.simulation.profiles import Profile
from tests.simulation.virtual import run
from tests.simulation.world import Replica, SimReading, Wire, World, moment

QUIET = Profile("quiet", replicas=1)
FINGERPRINT = "a" * 64


class SlowOnce(Wire):
    """The next admission times out, and is performed half a second later."""

    armed = False

    async def call(self, name: str, perform: Callable[[], Any]) -> Any:
        if name == "admit" and self.armed:
            self.armed = False
            asyncio.get_running_loop().call_later(0.5, perform)
            await asyncio.sleep(0.01)
            raise errors.StoreUnsure("timeout", kind="timeout")
        return await super().call(name, perform)


def test_a_late_admission_that_looked_stale_meanwhile_is_not_counted_behind_the_answer() -> None:
    """Profile delete, seed 309: asked again after a time-out, it was refused as stale; its first copy came late."""

    async def play() -> tuple[int, int]:
        world = World(QUIET, 1)
        first, second = world.start_replica(), world.start_replica()
        wire = first.redis_wire = first.store._wire = SlowOnce(world, "redis")
        await asyncio.sleep(0.1)
        early, late = moment(1000.0), moment(1002.0)
        outcomes = await post(first, SimReading(FINGERPRINT, early), b"fires")
        await post(first, SimReading(FINGERPRINT, early, resolved=True, ends_at=moment(1001.0)), b"ends")
        await asyncio.sleep(3.0)
        world.api.close(world.api.listed()[0].ref)
        await asyncio.sleep(1.0)
        wire.armed = True
        outcomes += await post(first, SimReading(FINGERPRINT, early), b"stale")
        outcomes += await post(second, SimReading(FINGERPRINT, late), b"fires again")
        await asyncio.sleep(60.0)
        held = sum(stored.count for stored in world.api.listed())
        for replica in (first, second):
            replica.kill()
        return held, sum(outcome is not Outcome.RESOLVED for outcome in outcomes)

    held, counted = run(play())

    assert held == counted


async def post(replica: Replica, reading: SimReading, body: bytes) -> list[Outcome]:
    """One webhook with one alert."""
    return [verdict.outcome for verdict in await replica.accept([reading], body)]
