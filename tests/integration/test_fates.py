"""`/v1/alerts/{fingerprint}` and `/v1/status`: where an alert stands, at whichever replica, whatever is away."""

from __future__ import annotations

import json

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api, Json
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.sight import PATIENT, fires, send_one, settled, status_of
from tests.integration.test_dead_letters import Verdict
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

OURS = "remediationrequests"
NOBODYS = "f" * 64


def fate(gateway: GatewayProcess, fingerprint: str) -> Json:
    status, answer = gateway.get(f"/v1/alerts/{fingerprint}")
    assert status == 200, answer
    found: Json = json.loads(answer)
    return found


async def test_every_replica_tells_of_the_request_and_of_the_record_that_all_share(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = {**PATIENT, "redis": {"shards": 3, "timeout": "250ms"}}
    one, other = (start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(2))
    for _ in range(2):
        verdict = send_one(one, fires(namespace))
    await settled(one)
    fingerprint = verdict["fingerprint"]

    def seen(gateway: GatewayProcess) -> bool:
        told = fate(gateway, fingerprint)
        counted = [request["occurrenceCount"] for request in told["requests"]]
        return counted == [2] and told["redis"]["state"] == "settled"

    # Either may have written it, and confirms that a moment later.
    await eventually(lambda: seen(one) and seen(other), "the count")
    for gateway in (one, other):
        told = fate(gateway, fingerprint.upper())
        assert (told["fingerprint"], told["unconfirmed"], told["window"]) == (fingerprint, 0, None)
        assert told["requests"] == [
            {
                **verdict["request"],
                "generation": 1,
                "phase": "",
                "open": True,
                "occurrenceCount": 2,
            }
        ]
        assert (told["redis"]["state"], told["redis"]["unwritten"]) == ("settled", 0)
        assert gateway.get(f"/v1/alerts/{NOBODYS}")[0] == 404


async def test_what_waits_for_kubernetes_is_told_by_replicas_that_never_saw_it(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster)
    one = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)
    proxy.set_rules([Rule(Fault.UNAVAILABLE, write=True, resource=OURS)])
    fingerprint = send_one(one, fires(namespace))["fingerprint"]
    await eventually(lambda: fate(one, fingerprint)["redis"]["attempts"], "a failed write")
    # Not before: it might have tried that write in the place of the one that is asked below.
    other = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)
    told = fate(other, fingerprint)
    assert (told["requests"], told["unconfirmed"], fate(one, fingerprint)["unconfirmed"]) == ([], 0, 1)
    assert told["redis"]["state"] in ("queued", "due")
    assert (told["redis"]["unwritten"], told["redis"]["generation"]) == (1, 1)
    assert told["redis"]["dueAt"] is not None
    assert status_of(one)["queue"] == {"depth": 1, "failing": True}


async def test_a_dead_letter_says_why(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=STEADY)
    refusing = Verdict(cluster, namespace)
    refusing.install()
    try:
        fingerprint = send_one(gateway, fires(namespace))["fingerprint"]
        await eventually(lambda: fate(gateway, fingerprint)["redis"]["state"] == "dead", "a dead letter")
        told = fate(gateway, fingerprint)["redis"]
        assert "no requests here" in told["deadLetter"]["reason"]
        assert (told["unwritten"], told["dueAt"]) == (1, None)
    finally:
        refusing.remove()


async def test_an_alert_that_is_held_names_its_window(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    storm = {"threshold": 2, "hold": "60s", "rules": []}
    one, other = (
        start_gateway(redis=redis_server, cluster=cluster, settings={**STEADY, "storm": storm})
        for _ in range(2)
    )
    verdict = send_one(one, fires(namespace))
    for gateway in (one, other):
        told = fate(gateway, verdict["fingerprint"])
        assert told["redis"]["state"] == "held"
        assert told["window"] == told["redis"]["window"]["id"] == verdict["window"]["id"]
        assert (told["redis"]["window"]["state"], told["redis"]["window"]["members"]) == ("holding", 1)
    await eventually(lambda: status_of(other)["windows"] == 1, "the window to be counted")


async def test_with_redis_away_what_kubernetes_shows_is_told_and_that_the_rest_is_unknown(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**PATIENT, **STEADY})
    verdict = send_one(gateway, fires(namespace))
    await settled(gateway)
    assert status_of(gateway)["mode"] == "normal"
    redis.kill()
    told = fate(gateway, verdict["fingerprint"])
    assert told["requests"][0]["name"] == verdict["request"]["name"]
    assert told["redis"]["state"] == "unknown"
    assert told["redis"]["detail"].startswith("Redis does not answer")
    status, answer = gateway.get(f"/v1/alerts/{NOBODYS}")
    assert (status, json.loads(answer)["reason"]) == (503, "dependency"), "Redis may know it"
    await eventually(lambda: status_of(gateway)["mode"] == "direct", "the breaker to open", seconds=15)
    assert status_of(gateway)["breakers"]["redis"]["state"] in ("open", "half-open")
    assert status_of(gateway)["ready"] is True
