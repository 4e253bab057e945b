"""A dependency that fails is left alone: answers come at once, and what waited is done as soon as it is back."""

from __future__ import annotations

import json
import statistics
import time

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.sight import (
    PATIENT,
    adds_up,
    ask,
    body,
    fires,
    send,
    send_one,
    settled,
    status_of,
    words,
)
from tests.integration.test_counting import check_marks
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

OURS = "remediationrequests"
STATE = "gateway_circuit_breaker_state"


def tripped(gateway: GatewayProcess, component: str) -> bool:
    return gateway.metric(STATE, component=component) != 0


def seconds_to_answer(gateway: GatewayProcess, content: bytes, status: int) -> float:
    began = time.monotonic()
    assert ask(gateway, content).status == status
    return time.monotonic() - began


async def test_ten_throttled_writes_open_the_breaker_and_all_is_written_soon_after_the_end(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    # What was throttled would wait for two minutes, if the end of the throttling were not noticed.
    throttled = Rule(Fault.THROTTLED, write=True, resource=OURS, retry_after=120)
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=STEADY)
    proxy.set_rules([throttled])

    for number in range(9):
        assert send_one(gateway, fires(namespace, f"pod-{number}"))["outcome"] == "queued"
    await eventually(lambda: proxy.count("throttled") == 9, "nine writes to be throttled")
    assert not tripped(gateway, "k8s_api")
    send_one(gateway, fires(namespace, "pod-9"))
    await eventually(lambda: tripped(gateway, "k8s_api"), "the breaker to open")
    asked = proxy.count("throttled")
    for number in range(10, 30):
        assert send_one(gateway, fires(namespace, f"pod-{number}"))["outcome"] == "queued"
    shown = status_of(gateway)
    assert shown["breakers"]["k8s_api"]["state"] in {"open", "half-open"}
    assert "429" in shown["breakers"]["k8s_api"]["reason"]
    ready, text = gateway.get("/readyz")
    assert ready == 200
    assert not json.loads(text)["components"]["kubernetes"]["ok"]
    await eventually(
        lambda: proxy.count("throttled") >= asked + 2, "two probes that are throttled, too", seconds=40
    )
    assert proxy.count("throttled") <= asked + 3  # none of the twenty was tried
    assert gateway.metric("gateway_k8s_api_request_queue_depth") == 30

    proxy.clear()
    ended = time.monotonic()
    await adds_up(cluster, namespace, [1] * 30)
    took = time.monotonic() - ended
    await settled(gateway)
    print(f"all written {took:.1f} s after the end")
    assert took < 15
    assert gateway.metric(STATE, component="k8s_api") == 0
    assert gateway.metric("gateway_recovery_duration_seconds_count", component="k8s_api") == 1
    assert gateway.metric("gateway_circuit_breaker_state_changes_total", component="k8s_api") >= 3
    assert gateway.metric("gateway_k8s_api_retry_backoff_seconds_count") >= 10
    log = gateway.log()
    assert "circuit breaker opened" in log
    assert "circuit breaker closed" in log
    assert cluster.requests("kubernaut-system", selector="alert-name=gateway-probe") == []
    assert all(item["metadata"]["name"] != "gateway-probe" for item in cluster.requests())


async def test_five_failures_open_the_breaker_and_a_window_ends_in_its_time_all_the_same(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    proxy = start_fault_proxy(cluster)
    storm = {"storm": {"hold": "3s", "inactivity": "3s", "max_window": "6s"}}
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings={**STEADY, **storm})
    proxy.set_rules([Rule(Fault.RESET)])
    proxy.cut_watches()
    await eventually(lambda: tripped(gateway, "k8s_api"), "the breaker to open", seconds=20)

    # In one webhook: between two the window could end.
    _, first = send(gateway, *(fires(namespace, f"pod-{number}") for number in range(4)))
    assert words(first) == {"buffered": 4}
    await eventually(
        lambda: not json.loads(gateway.get("/v1/storms")[1])["windows"], "the window to end", seconds=15
    )
    later = send_one(gateway, fires(namespace, "pod-4"))
    assert later["outcome"] == "buffered"
    assert later["window"]["id"] != first[0]["window"]["id"]

    proxy.clear()
    await adds_up(cluster, namespace, [1, 4])
    await settled(gateway)


async def test_with_both_breakers_open_a_503_comes_at_once_and_says_when_to_come_back(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis()
    proxy = start_fault_proxy(cluster)
    gateway = start_gateway(redis=redis, cluster=proxy, settings=PATIENT)
    assert send_one(gateway, fires(namespace))["outcome"] == "created"

    redis.pause()
    proxy.set_rules([Rule(Fault.RESET)])
    proxy.cut_watches()
    for component in ("redis", "k8s_api"):
        await eventually(lambda: tripped(gateway, component), f"{component} to be left alone", seconds=20)  # noqa: B023
    contents = [body(fires(namespace, f"pod-{number}")) for number in range(15)]
    times = [seconds_to_answer(gateway, content, 503) for content in contents]
    print(f"503 after {statistics.median(times) * 1000:.0f} ms, at most {max(times) * 1000:.0f} ms")
    assert statistics.median(times) < 0.2
    assert int(ask(gateway, contents[0]).headers["Retry-After"]) >= 1
    assert gateway.get("/healthz")[0] == 200
    assert gateway.get("/readyz")[0] == 503
    assert gateway.metric("gateway_breaker_fastfail_total", component="redis") > 0
    assert gateway.metric("gateway_breaker_fastfail_total", component="k8s_api") > 0
    assert gateway.metric("gateway_dedup_fallback_total", reason="breaker_open") > 0

    proxy.clear()
    redis.resume()
    returned = time.monotonic()
    await eventually(
        lambda: not tripped(gateway, "redis") and not tripped(gateway, "k8s_api"),
        "both to be well",
        seconds=20,
    )
    print(f"both closed after {time.monotonic() - returned:.1f} s")
    assert time.monotonic() - returned < 15
    await eventually(gateway.ready, "it to be ready", seconds=10)
    assert {gateway.post("/v1/webhooks/prometheus", content)[0] for content in contents} <= {201, 202}
    await adds_up(cluster, namespace, [1] * 16)
    await settled(gateway)
    check_marks(cluster.requests(namespace))


async def test_a_quiet_gateway_notices_a_dead_redis_within_three_seconds_and_stays_ready(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**PATIENT, **STEADY})

    redis.kill()
    died = time.monotonic()
    await eventually(lambda: tripped(gateway, "redis"), "the breaker to open", seconds=10)
    noticed = time.monotonic() - died
    assert gateway.metric("gateway_fallback_active") == 1
    answered = [seconds_to_answer(gateway, body(fires(namespace)), 201)]
    answered += [seconds_to_answer(gateway, body(fires(namespace)), 202) for _ in range(5)]
    ready = [gateway.get("/readyz")[0] for _ in range(20)]
    redis.restart()
    returned = time.monotonic()
    await eventually(lambda: not tripped(gateway, "redis"), "the breaker to close", seconds=15)
    recovered = time.monotonic() - returned
    print(f"noticed after {noticed:.1f} s, closed {recovered:.1f} s after the return, answers {answered}")
    assert noticed < 3.5  # three, and a little for looking
    assert recovered < 15
    assert set(ready) == {200}
    assert send(gateway, fires(namespace))[0] == 202
    await adds_up(cluster, namespace, [7])
    await settled(gateway)

    assert gateway.metric("gateway_dedup_fallback_total", reason="breaker_open") == 6
    assert gateway.metric("gateway_fallback_active") == 0
    assert gateway.metric("gateway_fallback_duration_seconds_count") == 1
    assert gateway.metric("gateway_recovery_duration_seconds_count", component="redis") == 1
    check_marks(cluster.requests(namespace))
