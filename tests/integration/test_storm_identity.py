"""The books of the metrics with windows: a storm of N is one that was created and N - 1 that were deduplicated."""

from __future__ import annotations

import json
import random

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import flood, webhook
from tests.integration.sight import fires, idle
from tests.integration.test_identity import POLICY, TERMS, mixed
from tests.integration.windows import holdings, is_storm, open_windows, quick, total
from tests.rig.fixtures import StartGateway


async def test_once_all_windows_are_closed_received_is_the_sum_of_what_became_of_it(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    rules = [{"matchers": ['pod="always"'], "mode": "immediate"}]
    settings = {**quick(hold="1s", inactivity="1s", rules=rules), "policy": POLICY}
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(2)]
    urls = [replica.url for replica in replicas]
    traffic = random.Random(11)
    sent = 0

    def everything_closed() -> bool:
        return open_windows(redis_server) == 0 and idle(*replicas)

    for turn in range(4):
        bodies = []
        for _ in range(60):
            alerts = [stormy(traffic, namespace) for _ in range(traffic.randint(1, 8))]
            alerts.append(fires(namespace, "always"))  # none is refused as a whole
            bodies.append(json.dumps(webhook(*alerts)).encode())
            sent += len(alerts)
        books = await flood(urls, bodies, at_once=12)
        assert books.accepted == books.attempts == 60
        if turn != 1:  # once, the next turn begins before the windows of the last one are over
            await eventually(everything_closed, "all windows to be closed", seconds=40, every=0.1)
        for request in cluster.requests(namespace)[::3]:
            cluster.set_phase(namespace, request["metadata"]["name"], "Completed")
    await eventually(everything_closed, "all windows to be closed", seconds=40, every=0.1)

    received = total(replicas, "gateway_alerts_received_total")
    terms = {name: total(replicas, metric) for name, metric in TERMS.items()}
    requests = cluster.requests(namespace)
    aggregated, own = holdings(cluster, namespace)
    assert len(aggregated) > 1
    assert received == sent
    assert received == sum(terms.values()), terms
    assert terms["created"] == len(requests)
    assert terms["created"] + terms["deduplicated"] == sum(
        sum(members.values()) for members in aggregated
    ) + sum(count for _, count in own)
    assert total(replicas, "gateway_crds_created_total", source="storm") == sum(map(is_storm, requests))
    processed = total(replicas, "gateway_alerts_processed_total")
    assert processed == received - terms["denied"] - terms["invalid"]


def stormy(traffic: random.Random, namespace: str) -> dict[str, object]:
    """An alert of any kind, of one of three groups."""
    one = mixed(traffic, namespace)
    labels = one["labels"]
    assert isinstance(labels, dict)
    if "alertname" in labels:
        labels["alertname"] = traffic.choice(["PodOOMKilled", "NodeDown", "DiskFull"])
    return one
