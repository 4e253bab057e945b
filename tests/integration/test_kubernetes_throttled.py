"""The Kubernetes API answers 429 to every write, under a steady load: what waits is tried less and less, and not at all
while the breaker is open; nothing is refused, and all is written soon after the end.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.kubernetes_sight import BACKOFF, backoffs, watching
from tests.integration.lengths import FULL, seconds
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import adds_up, fires, send_one, settled
from tests.rig.fixtures import StartFaultProxy, StartGateway

OURS = "remediationrequests"
THROTTLE = seconds(30, 120)
PATIENT = {**SETTINGS, "redis": {"timeout": "250ms"}}
"""Redis is well here: with less, two pauses of a busy machine in a row would be a 503."""
AT_ONCE = 8
ALERTS_A_MINUTE = 200
DELIVERIES = ALERTS_A_MINUTE / 60 / 1.1
"""A second; of the load's deliveries one in twenty has three alerts."""


async def test_an_alert_that_is_throttled_again_and_again_waits_1_2_4_8_and_16_seconds(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    """Alone, so that the breaker, which opens after ten answers of this kind, does not end the row."""
    proxy = start_fault_proxy(cluster, [Rule(Fault.THROTTLED, write=True, resource=OURS, times=5)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings={"redis": {"timeout": "250ms"}})

    began = time.monotonic()
    assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    await eventually(lambda: proxy.count("throttled") == 5, "five attempts", seconds=30)
    seen = backoffs(gateway)
    await adds_up(cluster, namespace, [1])
    took = time.monotonic() - began
    await settled(gateway)
    print(f"\ntried five times in vain, written after {took:.1f} s; delays {seen}")

    assert backoffs(gateway) == {"1.0": 1, "2.0": 1, "4.0": 1, "8.0": 1, "16.0": 1}
    assert gateway.metric(f"{BACKOFF}_sum") == 31
    assert 31 <= took < 40
    assert gateway.metric("gateway_circuit_breaker_state_changes_total", component="k8s_api") == 0


@pytest.mark.parametrize("retry_after", [None, 10], ids=["without Retry-After", "with Retry-After"])
@pytest.mark.timeout(300 + THROTTLE)
async def test_an_api_that_throttles_every_write_costs_no_alert_and_is_left_alone(
    retry_after: int | None,
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    proxy = start_fault_proxy(cluster)
    # The fewer writes at once, the fewer are under way when the breaker opens.
    settings = {**PATIENT, "kubernetes": {"concurrency": AT_ONCE}}
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=settings)
    received = "gateway_alerts_received_total"

    async with (
        watching(gateway) as sight,
        ordeal([gateway], cluster, namespace, tmp_path, rate=DELIVERIES) as test,
    ):
        before = gateway.metric(received)
        began = time.monotonic()
        proxy.set_rules([Rule(Fault.THROTTLED, write=True, resource=OURS, retry_after=retry_after)])
        await asyncio.sleep(THROTTLE)
        alerts = gateway.metric(received) - before
        calls = proxy.count("throttled")
        probes = gateway.metric("gateway_k8s_api_requests_total", verb="probe", code="429")
        writes = calls - probes
        proxy.clear()
        ended = time.monotonic()
        await sight.all_written()
        written = time.monotonic() - ended
        await asyncio.sleep(2)
        opened, closed, deepest = sight.opened(began), sight.closed(ended), sight.deepest(began)
    test.tell(f"429 for {THROTTLE:g} s", opened=opened, closed=closed, written=written)
    count, delays = gateway.metric(f"{BACKOFF}_count"), gateway.metric(f"{BACKOFF}_sum")
    print(
        f"{alerts:g} alerts, {writes:g} writes that were throttled, {1 - writes / alerts:.1%} fewer than one for each "
        f"alert, and {probes:g} probes, with which it is {1 - calls / alerts:.1%}; "
        f"at most {deepest:g} in the queue; delays {backoffs(gateway)}"
    )

    assert opened is not None
    assert opened < 10
    assert written < 30
    assert 0 < deepest < 1000
    assert set(test.load.statuses) <= {201, 202}, "nothing is refused"
    assert count >= 10
    assert gateway.metric("gateway_k8s_api_errors_total", status="429") == proxy.count("throttled")
    if retry_after is None:
        assert backoffs(gateway).get("1.0", 0) > 0
    else:
        assert delays == retry_after * count
    # Ten before the breaker opens, and those that were under way then.
    assert writes <= 10 + AT_ONCE
    assert not FULL or 1 - writes / alerts >= 0.97
    # After 5 and 7.5 s, then every 10 s.
    assert probes <= 3 + THROTTLE / 10
    assert gateway.metric("gateway_recovery_duration_seconds_count", component="k8s_api") == 1
