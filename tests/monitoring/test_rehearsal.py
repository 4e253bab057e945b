"""Failures in earnest, as operators see them: the alerts, every panel of the dashboards, every log query."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.prometheus import Prometheus, scrape_config
from chaos.rig.waiting import eventually
from tests.integration.commands import gateway as command
from tests.integration.test_dead_letters import Verdict
from tests.monitoring import logql
from tests.monitoring.files import RULES, Asked, alerts, dashboard_queries, log_queries
from tests.monitoring.rehearsal import LIMIT, STORMS, TOKEN, Alarms, Sender, end, hold, inject, refuse
from tests.monitoring.shortened import shortened
from tests.rig.fixtures import StartGateway, StartPrometheus, StartRedis, StartRedisExporter

GREPPED = [
    ("redis timeout",),
    ("redis oom",),
    ("retry", "backoff"),
    ("conflict", "resourceVersion"),
    ("Storm window ID",),
]
"""What people look for in a rehearsal, on one line each."""
TOLD = {"error": "redis connection", "oom": "redis oom", "timeout": "redis timeout"}
"""What the log says of an injected fault of Redis."""
WITHOUT_EXPORTER = "kube_pod_container_status_restarts_total"
"""Of kube-state-metrics, which is not to be had here: only its queries may be empty."""


def settings(tokens: Path, **more: Any) -> dict[str, Any]:
    deny = {"matchers": ['namespace="kube-system"'], "action": "deny", "reason": "system_namespace"}
    return {
        "auth": {"mode": "bearer", "tokens_file": str(tokens)},
        "chaos": {"enabled": True, "admins": ["rehearsal"]},
        "policy": {"rules": [deny]},
        "redis": {"timeout": "50ms"},
        "storm": STORMS,
        "queue": {"lease": "3s"},
        **more,
    }


def watching(gateways: Sequence[GatewayProcess], exporter: str, rules: Sequence[Path]) -> dict[str, Any]:
    """A configuration like that of the stack, quicker."""
    config = scrape_config(*(one.metrics_url for one in gateways), interval="500ms", rule_files=rules)
    (gateway,) = config["scrape_configs"]
    gateway["job_name"] = "gateway"
    redis = {"job_name": "redis", "static_configs": [{"targets": [exporter.partition("://")[2]]}]}
    config["scrape_configs"].append(redis)
    return config


async def told(gateway: GatewayProcess, words: str, *, times: int = 1) -> None:
    """Wait until the log has the words so often."""
    await eventually(lambda: gateway.log().count(words) >= times, f"the line {words}", seconds=30)


async def without_redis(gateway: GatewayProcess, alarms: Alarms) -> None:
    """Errors, no memory, then time-outs for a while, in which Kubernetes is slow; then conflicts."""
    for mode in ("error", "oom", "timeout"):
        await inject(gateway, "redis", mode)
        await told(gateway, TOLD[mode])
    await inject(gateway, "kubernetes", "latency", delay="150ms")
    await alarms.fire(
        "GatewayBreakerOpen redis",
        "GatewayFallbackLong",
        "GatewayLatencyBudgetBurn p95",
        "GatewayLatencyBudgetBurn p99",
    )
    # Those that follow within ten seconds are counted, and told then.
    await told(gateway, TOLD["timeout"], times=2)
    await end(gateway, "redis")
    await inject(gateway, "kubernetes", "conflict")
    await alarms.fire("GatewayConflictsNotResolving")
    await end(gateway, "kubernetes")


async def without_kubernetes(gateway: GatewayProcess, alarms: Alarms) -> None:
    """Errors until the queue is full and webhooks are refused."""
    await inject(gateway, "kubernetes", "error")
    await alarms.fire(
        "GatewayBreakerOpen k8s_api",
        "GatewayQueueNearLimit",
        "GatewayWebhookErrors",
        "GatewayAvailabilityBudgetBurn availability",
        "GatewayUnconfirmedNotFalling",
    )
    await end(gateway, "kubernetes")


async def dies(gateway: GatewayProcess, namespace: str, alarms: Alarms) -> None:
    """With a window open, which the next process finds."""
    await asyncio.to_thread(hold, gateway, namespace)
    await asyncio.to_thread(gateway.kill)
    await alarms.fire("GatewayDown")
    await gateway.start_async()


def without_data(prometheus: Prometheus, began: float) -> list[Asked]:
    """Queries of the dashboards that gave no number at any time."""
    empty = []
    for asked in dashboard_queries():
        expr = asked.expr.replace("$__rate_interval", "4s").replace("$instance", ".*")
        found = prometheus.query_range(expr, start=began, end=time.time(), step=1)
        numbers = [float(value) for series in found for _, value in series["values"]]
        if not any(math.isfinite(number) for number in numbers):
            empty.append(asked)
    return empty


@pytest.mark.timeout(240)
async def test_a_rehearsal_shows_in_every_alert_panel_and_log_query_and_is_over_afterwards(
    start_gateway: StartGateway,
    start_prometheus: StartPrometheus,
    start_redis: StartRedis,
    start_redis_exporter: StartRedisExporter,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"rehearsal:{TOKEN}\n")
    redis = start_redis()
    queue = {"max_depth": LIMIT, "lease": "3s"}
    one = start_gateway(redis=redis, cluster=cluster, settings=settings(tokens))
    two = start_gateway(redis=start_redis(), cluster=cluster, settings=settings(tokens, queue=queue))
    prometheus = start_prometheus(
        watching([one, two], start_redis_exporter(redis.url).url, shortened(RULES, tmp_path))
    )
    alarms, began = Alarms(prometheus), time.time()
    verdict = Verdict(cluster, namespace)

    senders = [Sender(one, namespace), Sender(two, namespace)]
    sending = [asyncio.create_task(sender.run()) for sender in senders]
    try:
        await eventually(lambda: prometheus.value("sum(up)") == 3, "the first scrapes", seconds=30)
        await asyncio.sleep(1)
        await asyncio.to_thread(refuse, one, namespace)
        await asyncio.gather(without_redis(one, alarms), without_kubernetes(two, alarms))
        # The API server takes no request of the namespace for a while.
        await asyncio.to_thread(verdict.install)
        await alarms.fire("GatewayDeadLetters", "GatewayWebhooksTruncated")
        await asyncio.to_thread(verdict.remove)
        for gateway in (one, two):
            await asyncio.to_thread(command, "dead-letters", "retry", "--config", str(gateway.config_path))
        await dies(one, namespace, alarms)
    finally:
        for sender in senders:
            sender.stop()
        await asyncio.gather(*sending)
        await asyncio.to_thread(verdict.remove)
    await alarms.resolve()

    assert {name.partition(" ")[0] for name in alarms.fired()} == {rule["alert"] for rule in alerts()}
    assert [asked for asked in without_data(prometheus, began) if WITHOUT_EXPORTER not in asked.expr] == []
    lines = [*one.log().splitlines(), *two.log().splitlines()]
    assert [query for query in log_queries() if not logql.parse(query).select(lines)] == []
    for words in GREPPED:
        assert any(all(word in line for word in words) for line in lines), words
