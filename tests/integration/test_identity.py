"""The books of the metrics: every alert received is one that was created, deduplicated, resolved, denied or invalid."""

from __future__ import annotations

import json
import random

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import flood, webhook
from tests.integration.sight import count_of, fires, idle, resolved
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway

TERMS = {
    "created": "gateway_crds_created_total",
    "deduplicated": "gateway_alerts_deduplicated_total",
    "resolved": "gateway_alerts_resolved_total",
    "denied": "gateway_policy_denials_total",
    "invalid": "gateway_alerts_invalid_total",
}
POLICY = {"rules": [{"matchers": ['team="untrusted"'], "action": "deny", "reason": "untrusted_team"}]}


async def test_received_is_created_deduplicated_resolved_denied_and_invalid_over_two_replicas(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = {**STEADY, "policy": POLICY}
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(2)]
    urls = [replica.url for replica in replicas]
    traffic = random.Random(7)
    sent = 0

    for _ in range(3):
        bodies = []
        for _ in range(60):
            alerts = [mixed(traffic, namespace) for _ in range(traffic.randint(1, 8))]
            alerts.append(fires(namespace, "always"))  # none is refused as a whole
            bodies.append(json.dumps(webhook(*alerts)).encode())
            sent += len(alerts)
        books = await flood(urls, bodies, at_once=12)
        assert books.accepted == books.attempts == 60
        await eventually(lambda: idle(*replicas), "everything to be confirmed", seconds=30, every=0.1)
        for request in cluster.requests(namespace)[::3]:
            cluster.set_phase(namespace, request["metadata"]["name"], "Completed")
    # Refused whole, they count as received all the same: nobody sends them again.
    for replica in replicas:
        assert replica.post("/v1/webhooks/prometheus", webhook({"labels": {}}, {"labels": {}}))[0] == 422
        assert replica.post("/v1/webhooks/prometheus", webhook(fires(namespace, team="untrusted")))[0] == 403
        sent += 3
    await eventually(lambda: idle(*replicas), "everything to be confirmed", seconds=30, every=0.1)

    received = sum(replica.metric("gateway_alerts_received_total") for replica in replicas)
    terms = {name: sum(replica.metric(metric) for replica in replicas) for name, metric in TERMS.items()}
    requests = cluster.requests(namespace)
    assert received == sent
    assert received == sum(terms.values()), terms
    assert all(terms.values()), terms
    assert terms["created"] == len(requests)
    assert terms["created"] + terms["deduplicated"] == sum(count_of(request) for request in requests)
    processed = sum(replica.metric("gateway_alerts_processed_total") for replica in replicas)
    assert processed == received - terms["denied"] - terms["invalid"]


def mixed(traffic: random.Random, namespace: str) -> dict[str, object]:
    """An alert of any kind: firing, over, stale, of a team that is denied, or nonsense."""
    pod = f"pod-{traffic.randint(0, 11)}"
    start = f"2026-01-31T{traffic.randint(9, 12):02}:00:00Z"
    kind = traffic.random()
    if kind < 0.6:
        return fires(namespace, pod, starts_at=start)
    if kind < 0.75:
        return resolved(fires(namespace, pod, starts_at=start), ends_at="2026-01-31T12:30:00Z")
    if kind < 0.9:
        return fires(namespace, pod, team="untrusted")
    return {"labels": {"namespace": namespace, "pod": pod}}
