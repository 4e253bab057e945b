"""A Redis Cluster: the keys are spread over its masters, one of which is lost, and slots move while alerts come."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from chaos.rig.api import Api
from chaos.rig.redis_cluster import RedisCluster
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import fires, send_one
from tests.rig.fixtures import StartGateway, StartRedisCluster

SHARDS = 8
SPREAD = {**SETTINGS, "redis": {"timeout": "50ms", "shards": SHARDS}}


def slots(cluster: RedisCluster) -> dict[int, int]:
    """Shard → slot."""
    return {shard: cluster.slot_of(f"gw:{{{shard}}}:queue") for shard in range(SHARDS)}


async def test_a_killed_master_of_a_cluster_is_passed_by_and_replaced_without_a_lost_alert(
    start_gateway: StartGateway,
    start_redis_cluster: StartRedisCluster,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    # No failover before both gateways must have met the loss, on a machine that stands still for a while, too.
    redis = start_redis_cluster(node_timeout_ms=3000)
    gateways = [start_gateway(redis=redis, cluster=cluster, settings=SPREAD) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        used = slots(redis)
        assert len({redis.master_of(slot).port for slot in used.values()}) == 3
        began = time.monotonic()
        lost = await asyncio.to_thread(redis.kill_master, used[0])
        await test.open_everywhere()
        await asyncio.to_thread(redis.wait_for_failover, lost)
        replaced = time.monotonic() - began
        await test.closed_everywhere()
        await asyncio.sleep(1)
    opened, recovered = test.sight.opened(began), test.sight.closed(began)
    test.tell("master of a cluster killed", opened=opened, replaced=replaced, recovered=recovered)

    assert opened is not None
    assert opened < 7
    assert recovered is not None
    assert recovered < 30
    assert test.load.refused < 0.05


async def test_slots_that_move_under_load_take_their_alerts_with_them(
    start_gateway: StartGateway,
    start_redis_cluster: StartRedisCluster,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    redis = start_redis_cluster(replicas_per_master=0)
    gateways = [start_gateway(redis=redis, cluster=cluster, settings=SPREAD) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        began = time.monotonic()
        for _ in range(2):
            for slot in slots(redis).values():
                source = await asyncio.to_thread(redis.master_of, slot)
                target = redis.nodes[(redis.nodes.index(source) + 1) % 3]
                # In the middle of it, so that alerts meet a slot that is in two places.
                await asyncio.to_thread(redis.begin_migration, slot, target)
                await asyncio.to_thread(redis.move_keys, slot, target, most=3)
                await asyncio.sleep(0.15)
                await asyncio.to_thread(redis.move_keys, slot, target)
                await asyncio.to_thread(_finish, redis, slot, source, target)
        await test.closed_everywhere()
        await asyncio.sleep(1)
    test.tell("slots moved", opened=test.sight.opened(began))

    assert test.load.refused < 0.05


def _finish(redis: RedisCluster, slot: int, source: object, target: object) -> None:
    """New keys may come to the source until the last moment: a slot is given away only when it is empty."""
    while redis.move_keys(slot, target):  # type: ignore[arg-type]
        pass
    redis.finish_migration(slot, source, target)  # type: ignore[arg-type]


async def test_the_alerts_of_every_shard_go_through_the_cluster(
    start_gateway: StartGateway, start_redis_cluster: StartRedisCluster, cluster: Api, namespace: str
) -> None:
    redis = start_redis_cluster(replicas_per_master=0)
    gateway = start_gateway(
        redis=redis, cluster=cluster, settings={"redis": {"timeout": "5s", "shards": SHARDS}}
    )

    for number in range(24):
        assert send_one(gateway, fires(namespace, "p", name=f"Problem{number}"))["outcome"] in (
            "created",
            "queued",
        )
    for number in range(24):
        assert send_one(gateway, fires(namespace, "p", name=f"Problem{number}"))["outcome"] in (
            "duplicate",
            "queued",
        )

    sizes = []
    for node in redis.nodes:
        with node.client() as client:
            sizes.append(client.dbsize())
    assert all(sizes), sizes
    assert gateway.metric("gateway_dedup_fallback_total") == 0
    warnings = gateway.get("/readyz")[1].decode()
    assert "redis.shards" not in warnings


async def test_a_cluster_with_one_shard_is_warned_of(
    start_gateway: StartGateway, start_redis_cluster: StartRedisCluster, cluster: Api
) -> None:
    redis = start_redis_cluster(replicas_per_master=0)
    gateway = start_gateway(redis=redis, cluster=cluster)

    assert "redis.shards is 1" in gateway.get("/readyz")[1].decode()
