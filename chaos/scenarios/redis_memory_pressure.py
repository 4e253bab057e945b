"""Redis runs out of memory in a storm: it is filled, then evicts, then refuses."""

from __future__ import annotations

import asyncio

from chaos.injections import Injection
from chaos.oracle import Room
from chaos.rehearsal import Rehearsal
from chaos.scenario import Scenario
from chaos.sight import closed

STORM = 200
BUFFER = 100
LIMIT = 512
MEGABYTE = 1024 * 1024


async def _play(r: Rehearsal) -> None:
    with r.phase("baseline"):
        await r.send(*r.problems("Calm", range(2)))
        await r.wait(20, 2)
    async with r.injecting(Injection.REDIS_MEMORY_PRESSURE) as filled:
        looking = asyncio.create_task(_look(r))
        try:
            with r.phase("a storm"):
                storm = r.problems("NodeNotReady", range(STORM))
                async with r.load(STORM / r.time(60, 10), lambda n: storm[n % STORM : n % STORM + 1]) as load:
                    await r.until(lambda: load.sent >= STORM, "the whole storm", seconds=90)
            fullest, most = await _seen(looking)
            # A storm that no full buffer has written yet: all that is known of it may be evicted.
            await r.send(*r.problems("StillHeld", range(20)))
            async with r.injecting(Injection.REDIS_EVICTION):
                await r.wait(10, 2)
            evicted = await _figure(r, "stats", "evicted_keys")
            await r.together(closed("redis"), since=r.now(), seconds=20)
        finally:
            looking.cancel()
        async with r.injecting(Injection.REDIS_REFUSES_WRITES) as refused:
            for number in range(2):
                await r.send(*r.problems(f"Bypass{number}", range(5)), to=number)
            async with r.load(r.time(2, 4)):
                await r.wait(30, 6)
        healed = r.now()
        with r.phase("recovery"):
            took = await r.together(closed("redis"), since=healed, seconds=30)
    r.must("members in one buffer, at most", fullest, at_least=1, at_most=BUFFER)
    r.must(
        "gateway_storm_buffer_overflow_total rises by",
        r.sight.increase("gateway_storm_buffer_overflow_total", since=filled),
        at_least=1,
    )
    r.must("memory of Redis, at most", most, at_least=400, at_most=LIMIT, unit="MB")
    r.must("keys evicted", evicted, at_least=1)
    # No breaker opens for that: claims and confirmations must go on, or Redis stays full (decision 030).
    r.must(
        "where writes are refused, every gateway goes the direct way within",
        r.sight.rise("gateway_dedup_fallback_total", since=refused, reason="redis_oom"),
        at_most=5,
        unit="s",
    )
    r.must(
        'gateway_storm_buffer_bypass_total{reason="redis_oom"} rises by',
        r.sight.increase("gateway_storm_buffer_bypass_total", since=refused, reason="redis_oom"),
        at_least=1,
    )
    r.must("all breakers are closed again within", took, at_most=20, unit="s")


async def _look(r: Rehearsal) -> tuple[float, float]:
    """Looks into Redis until it is cancelled: members of the fullest buffer, and megabytes, each at most."""
    fullest = most = 0.0
    try:
        while True:
            for key in (await r.way.redis("KEYS", "*alert:buffer:*")).split():
                fullest = max(fullest, float(await r.way.redis("HLEN", key) or 0))
            most = max(most, await _figure(r, "memory", "used_memory") / MEGABYTE)
            await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        return fullest, most


async def _seen(looking: asyncio.Task[tuple[float, float]]) -> tuple[float, float]:
    looking.cancel()
    return await looking


async def _figure(r: Rehearsal, section: str, name: str) -> float:
    """A figure of Redis's own."""
    for line in (await r.way.redis("INFO", section)).splitlines():
        key, _, told = line.partition(":")
        if key == name:
            return float(told)
    return 0.0


SCENARIO = Scenario(
    number=4,
    name="redis-memory-pressure",
    title="Redis runs out of memory in a storm",
    proves="Buffers stay small, what is evicted is known elsewhere, and what Redis refuses goes the direct way.",
    play=_play,
    injections=(Injection.REDIS_MEMORY_PRESSURE, Injection.REDIS_EVICTION, Injection.REDIS_REFUSES_WRITES),
    shortened={"storm": {"hold": "6s", "inactivity": "5s"}},
    room=Room(notes_lost=True),
)
