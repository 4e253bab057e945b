"""The rate limit over real parts: Redis goes in the middle of a window, replicas share one, Alertmanager meets one."""

from __future__ import annotations

import time

import pytest

from chaos.rig.alertmanager import webhook_config
from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import PATIENT, UNHURRIED, Exchange, adds_up, ask, body, counts, fires
from tests.rig.fixtures import StartAlertmanager, StartGateway, StartRedis, StartRedisCluster

THREE = {**PATIENT, "rate_limit": {"requests": 3, "window": "60s", "by": "source"}}
"""A minute is longer than a test, so nothing ever leaves the window."""


def post(gateway: GatewayProcess, namespace: str, *others: str) -> int:
    """The status of a webhook about one problem in each of the namespaces."""
    return gateway.post(PATH, body(*(fires(name) for name in (namespace, *others))))[0]


def go(redis: RedisServer, trouble: str) -> None:
    """What becomes of Redis."""
    match trouble:
        case "killed":
            redis.kill()
        case "paused":
            redis.pause()
        case "emptied":
            redis.restart()
        case "spoilt":
            with redis.client() as client:
                keys = list(client.scan_iter("gw:{0}:rate:*"))
                assert keys, "the window is in Redis"
                for key in keys:
                    client.delete(key)
                    client.set(key, "garbage")


@pytest.mark.parametrize("trouble", ["none", "killed", "paused", "emptied", "spoilt"])
async def test_of_three_in_a_minute_the_fourth_is_refused_whatever_becomes_of_redis_in_between(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    cluster: Api,
    namespace: str,
    trouble: str,
) -> None:
    redis = start_redis()
    patience = {} if trouble == "paused" else UNHURRIED
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**THREE, **patience})
    statuses = [post(gateway, namespace) for _ in range(2)]
    go(redis, trouble)
    statuses += [post(gateway, namespace) for _ in range(3)]
    if trouble == "killed":
        redis.start()
        await eventually(lambda: ready(gateway), "Redis to be found again", seconds=15)
    if trouble == "paused":
        redis.resume()
    statuses.append(post(gateway, namespace))

    assert statuses[0] == 201
    assert [status // 100 for status in statuses] == [2, 2, 2, 4, 4, 4]
    assert gateway.metric("gateway_rate_limited_total", scope="source") == 3
    await adds_up(cluster, namespace, [3])


def ready(gateway: GatewayProcess) -> bool:
    return gateway.metric("gateway_circuit_breaker_state", component="redis") == 0


async def test_replicas_share_a_window_and_what_one_has_heard_holds_when_redis_goes(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    settings = {**THREE, **UNHURRIED}
    one, two = (start_gateway(redis=redis, cluster=cluster, settings=settings) for _ in range(2))
    assert [post(gateway, namespace) // 100 for gateway in (one, two, one, two, one)] == [2, 2, 2, 4, 4]
    redis.kill()
    assert [post(gateway, namespace) for gateway in (one, two, one, two)] == [429] * 4
    await adds_up(cluster, namespace, [3])


async def test_a_new_process_keeps_to_the_window_of_the_one_before(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=start_redis(), cluster=cluster, settings={**THREE, **UNHURRIED})
    assert [post(gateway, namespace) // 100 for _ in range(3)] == [2, 2, 2]
    gateway.restart()
    assert post(gateway, namespace) == 429


async def test_whole_webhooks_are_refused_by_namespace_and_over_the_servers_of_a_cluster(
    start_gateway: StartGateway,
    start_redis_cluster: StartRedisCluster,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis_cluster(replicas_per_master=0)
    settings = {
        "redis": {"shards": 16, "timeout": "5s"},
        "rate_limit": {"requests": 2, "window": "60s", "by": "namespace"},
    }
    one, two = (start_gateway(redis=redis, cluster=cluster, settings=settings) for _ in range(2))
    assert [post(gateway, namespace) // 100 for gateway in (one, two)] == [2, 2]
    assert post(two, "elsewhere", namespace) == 429
    assert [post(gateway, "elsewhere", "nowhere") // 100 for gateway in (one, two, one)] == [2, 2, 4]
    await adds_up(cluster, namespace, [2])
    for gateway in (one, two):
        assert gateway.metric("gateway_redis_operation_errors_total") == 0


async def test_what_alertmanager_is_refused_it_sends_again_and_nothing_is_lost(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_alertmanager: StartAlertmanager,
    cluster: Api,
    namespace: str,
) -> None:
    settings = {**PATIENT, "rate_limit": {"requests": 1, "window": "3s", "by": "source"}}
    gateway = start_gateway(redis=start_redis(), cluster=cluster, settings=settings)
    config = webhook_config(gateway.url + PATH, repeat_interval="1h", group_interval="1m")
    sender = start_alertmanager(config=config)
    names = ["DiskFull", "MemoryFull", "NodeDown"]
    began = time.monotonic()
    sender.post_alerts(
        [{"labels": {"alertname": name, "namespace": namespace, "node": "n1"}} for name in names]
    )
    await eventually(
        lambda: counts(cluster, namespace) == [1, 1, 1], "every alert to be told", seconds=40, every=0.2
    )
    assert time.monotonic() - began >= 6
    assert gateway.metric("gateway_rate_limited_total", scope="source") > 0
    assert gateway.metric("gateway_requests_total", code="429") == 0
    assert gateway.metric("gateway_requests_total", code="503") > 0

    def refusal() -> Exchange | None:
        """Whoever comes when the last one has left the window is let in; the next one is not."""
        answer = ask(gateway, body(fires(namespace)), headers={"User-Agent": "Alertmanager/0.31.1"})
        return answer if answer.status == 503 else None

    refused = await eventually(refusal, "a refusal")
    assert refused is not None
    assert 1 <= int(refused.headers["Retry-After"]) <= 3
