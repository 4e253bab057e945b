"""Requests that others made live beside the gateway's: they are not its to count on, to heal or to delete."""

from __future__ import annotations

from typing import Any

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH, alert, webhook
from tests.integration.rivals import RESOURCES
from tests.rig.fixtures import StartGateway


def foreign(name: str, fingerprint: str) -> dict[str, Any]:
    """What another component may store: valid, and without anything of ours."""
    seen = "2026-01-31T09:00:00Z"
    return {
        "apiVersion": "remediation.kubernaut.io/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {"name": name},
        "spec": {
            "signalFingerprint": fingerprint,
            "signalName": "PodOOMKilled",
            "severity": "critical",
            "environment": "production",
            "priority": "P0",
            "signalType": "kubernetes-event",
            "targetType": "kubernetes",
            "firingTime": seen,
            "receivedTime": seen,
            "deduplication": {
                "isDuplicate": False,
                "firstSeen": seen,
                "lastSeen": seen,
                "occurrenceCount": 7,
            },
        },
    }


async def test_requests_of_others_with_the_same_fingerprint_are_left_alone(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster)
    body = webhook(alert(namespace=namespace, pod="payment-7d4b"))
    gateway.post(PATH, body)
    await eventually(lambda: len(cluster.requests(namespace)) == 1, "the gateway's own request")
    own = cluster.requests(namespace)[0]
    names = ("one", "two")
    for name in names:
        cluster.call("POST", RESOURCES.format(namespace), foreign(name, own["spec"]["signalFingerprint"]))

    for _ in range(4):
        gateway.post(PATH, body)
    counts = {own["metadata"]["name"]: 5, "one": 7, "two": 7}

    def held() -> dict[str, int]:
        return {
            request["metadata"]["name"]: request["spec"]["deduplication"]["occurrenceCount"]
            for request in cluster.requests(namespace)
        }

    await eventually(lambda: held() == counts, f"{counts}", seconds=20, every=0.2)
    cluster.set_phase(namespace, own["metadata"]["name"], "Completed")
    await eventually(
        lambda: gateway.post(PATH, body)[0] in (201, 202) and len(held()) == 4,
        "the next generation",
        seconds=20,
        every=0.5,
    )
    assert {name: held()[name] for name in names} == {"one": 7, "two": 7}
