"""The network between the gateways and Redis: gone, slow, reset, closing late, cut."""

from __future__ import annotations

from chaos.injections import Injection
from chaos.oracle import Room
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario
from chaos.sight import closed, opened

OPENING = (Injection.REDIS_NETWORK_PARTITION, Injection.REDIS_LATENCY)
"""Through these no call gets: the breakers open. Through the others some do."""
OTHERS = (Injection.REDIS_RESETS, Injection.REDIS_SLOW_CLOSE, Injection.REDIS_DATA_LIMIT)
ACTIVE, MOST = "gateway_redis_pool_active_connections", "gateway_redis_pool_max_size"


async def _play(r: Rehearsal) -> None:
    async with r.load(r.time(1, 4)):
        with r.phase("baseline"):
            await r.wait(30, 4)
        began = r.now()
        for injection in OPENING + OTHERS:
            whole = injection is Injection.REDIS_NETWORK_PARTITION
            async with r.injecting(injection) as cut:
                # Before any breaker has opened: whether Redis performs these, nobody hears in time.
                await r.everywhere(r.problem("InBetween", injection))
                await r.wait(90 if whole else 20, 9 if whole else 5)
            healed = r.now()
            well = await r.together(closed("redis"), since=healed, seconds=20)
            if injection in OPENING:
                r.must(
                    f"{injection}: every breaker is open within",
                    r.sight.first(opened("redis"), since=cut),
                    at_most=5,
                    unit="s",
                )
            r.must(f"{injection}: all breakers are closed again within", well, at_most=15, unit="s")
        with r.phase("recovery"):
            await r.wait(15, 3)
    r.must(
        'gateway_redis_operation_errors_total{error="timeout"} rises by',
        r.sight.increase("gateway_redis_operation_errors_total", since=began, error="timeout"),
        at_least=1,
    )
    r.must(
        'gateway_k8s_api_queries_total{reason="redis_timeout"} rises by',
        r.sight.increase("gateway_k8s_api_queries_total", since=began, reason="redis_timeout"),
        at_least=1,
    )
    most = r.sight.highest(MOST) or 0
    r.must("connections in use, at most", r.sight.highest(ACTIVE, since=began), at_most=most - 1)


SCENARIO = Scenario(
    number=2,
    name="redis-network-partition",
    title="The network between the gateways and Redis fails in five manners",
    proves="Neither silence nor slowness of Redis holds up an alert, uses up connections, or loses anything.",
    play=_play,
    injections=OPENING + OTHERS,
    needs=Needs(redis_proxy=True),
    room=Room(notes_lost=True),
)
