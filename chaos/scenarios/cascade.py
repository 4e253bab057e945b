"""One trouble on top of the other: no Redis at the start, none at run time, garbage in it, no time, and a crowd."""

from __future__ import annotations

import asyncio

from chaos.injections import Injection
from chaos.oracle import Room
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario
from chaos.sight import closed

CROWD = 100


async def _play(r: Rehearsal) -> None:
    async with r.injecting(Injection.REDIS_GONE):
        with r.phase("no Redis since the start"):
            await r.wait(10, 2)
            early = [await r.send(r.problem("Early", f"pod-{number}")) for number in range(6)]
    with r.phase("Redis comes"):
        arrived = r.now()
        came = await r.together(closed("redis"), since=arrived, seconds=30)
    async with r.load(r.time(5, 10)):
        async with r.injecting(Injection.REDIS_GONE):
            await r.wait(30, 3)
            alone = r.now()
            without = await _crowd(r, "without")
            counted = r.now()
        async with r.injecting(Injection.REDIS_GARBAGE):
            await r.wait(30, 3)
            spoilt = await _crowd(r, "spoilt")
            await r.wait(10, 2)
            async with r.injecting(Injection.REDIS_GONE):
                both = await _crowd(r, "both")
                await r.wait(20, 2)
        healed = r.now()
        recovered = await r.together(closed("redis"), since=healed, seconds=30)
        with r.phase("recovery"):
            await r.wait(15, 3)
    r.must("answers 2xx without a Redis since the start", sum(one.status < 300 for one in early), exactly=6)
    r.must("when it comes, all breakers are closed within", came, at_most=15, unit="s")
    for name, taken in (("without Redis", without), ("on garbage", spoilt), ("with both", both)):
        r.must(f"{CROWD} at once, {name}: taken", taken, exactly=CROWD)
    r.must(
        "without Redis, gateway_rate_limited_total rises by",
        r.sight.increase("gateway_rate_limited_total", since=alone, until=counted, scope="source"),
        at_least=1,
    )
    r.must(
        "gateway_redis_corrupt_entries_total rises by",
        r.sight.increase("gateway_redis_corrupt_entries_total"),
        at_least=1,
    )
    r.must("after the last trouble all breakers are closed within", recovered, at_most=15, unit="s")


async def _crowd(r: Rehearsal, name: str) -> int:
    """So many at once; how many of them were taken in the end."""
    answers = await asyncio.gather(*(r.send(r.problem("Crowd", f"{name}-{n}")) for n in range(CROWD)))
    return sum(one.status < 300 for one in answers)


SCENARIO = Scenario(
    number=9,
    name="cascade",
    title="One trouble on top of the other",
    proves="Troubles together cost no more than each alone: the process lives, takes what it can, and recovers.",
    play=_play,
    injections=(Injection.REDIS_GONE, Injection.REDIS_GARBAGE),
    needs=Needs(redis_at_start=False),
    room=Room(notes_lost=True),
    ambiguous=True,
)
