"""Redis's master is killed under a trickle of alerts; the Sentinels promote another one."""

from __future__ import annotations

from chaos.injections import Injection
from chaos.oracle import Room
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario
from chaos.sight import closed, opened

A_MINUTE = 15


async def _play(r: Rehearsal) -> None:
    async with r.load(r.time(A_MINUTE / 60, 4)):
        with r.phase("baseline"):
            await r.wait(60, 5)
        async with r.injecting(Injection.REDIS_MASTER_FAILURE) as lost:
            await r.everywhere(r.problem("AtTheLoss", "pod"))
            # The lost master stays dead until the end: whoever is well again by then found another one.
            recovered = await r.together(opened("redis"), since=lost, seconds=10)
            if recovered is not None:
                recovered = await r.together(closed("redis"), since=lost + recovered, seconds=40)
            back = None if recovered is None else r.now() - lost
            await r.wait(60 - (back or 0), 2)
        with r.phase("recovery"):
            await r.wait(30, 4)
    r.must(
        "the loss is detected within",
        r.sight.rise("gateway_redis_operation_errors_total", since=lost),
        at_most=3,
        unit="s",
    )
    r.must("every breaker is open within", r.sight.first(opened("redis"), since=lost), at_most=5, unit="s")
    r.must(
        'gateway_dedup_fallback_total{reason="redis_unavailable"} rises by',
        r.sight.increase("gateway_dedup_fallback_total", since=lost, reason="redis_unavailable"),
        at_least=1,
    )
    r.must("with the old master still dead all breakers are closed within", back, at_most=30, unit="s")
    r.must(
        "gateway_redis_reconnect_success_total rises by",
        r.sight.increase("gateway_redis_reconnect_success_total", since=lost),
        at_least=1,
    )


SCENARIO = Scenario(
    number=1,
    name="redis-master-failure",
    title="Redis's master fails, and a replica takes over",
    proves="A lost master is noticed, passed by and replaced, and no accepted alert goes with it.",
    play=_play,
    injections=(Injection.REDIS_MASTER_FAILURE,),
    needs=Needs(redis="sentinel"),
    room=Room(notes_lost=True),
)
