"""Four replicas behind a plain balancer, with the records spread over a Redis Cluster: one count for each problem."""

from __future__ import annotations

from pathlib import Path

from chaos.rig.api import Api
from chaos.rig.balancer import Balancer
from tests.integration.load import flood
from tests.integration.sight import adds_up, body, fires, settled
from tests.rig.fixtures import StartGateway, StartRedisCluster

REPLICAS, SHARDS = 4, 16
PODS, WEBHOOKS = 50, 2000


async def test_four_replicas_behind_a_balancer_count_exactly(
    start_gateway: StartGateway,
    start_redis_cluster: StartRedisCluster,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    redis = start_redis_cluster(replicas_per_master=0)
    settings = {"redis": {"shards": SHARDS, "timeout": "250ms"}}
    gateways = [start_gateway(redis=redis, cluster=cluster, settings=settings) for _ in range(REPLICAS)]
    balancer = Balancer(tmp_path, [gateway.port for gateway in gateways])
    balancer.start()
    try:
        # Of as many groups, since a group is on one master, and each shard has its share of the writes.
        problems = [body(fires(namespace, f"pod-{at}", name=f"Problem{at}")) for at in range(PODS)]
        bodies = problems * (WEBHOOKS // PODS)
        books = await flood([balancer.url], bodies, at_once=64)
    finally:
        balancer.kill()
    await settled(*gateways)

    assert books.accepted == WEBHOOKS
    assert books.unanswered == 0
    shares = [gateway.metric("gateway_alerts_received_total") / WEBHOOKS for gateway in gateways]
    assert sum(shares) >= 1
    assert min(shares) > 0.1
    await adds_up(cluster, namespace, [WEBHOOKS // PODS] * PODS)
