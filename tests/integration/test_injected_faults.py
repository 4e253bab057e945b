"""Faults that a gateway injects into itself, every mode of every target, under a load whose count stays exact."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.ports import free_port
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from gateway.resilience.faults import MODES, FaultMode, FaultTarget
from tests.integration.commands import FINDING, OK, UNREACHABLE, USAGE, printed
from tests.integration.commands import gateway as command
from tests.integration.kubernetes_sight import watching
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.sight import ask, body, fires, status_of
from tests.rig.fixtures import StartGateway

CHAOS = "/v1/admin/chaos"
INJECTED = "gateway_faults_injected_total"
STATE = "gateway_circuit_breaker_state"
FALLBACK = "gateway_dedup_fallback_total"
TTL = 1.2
LONGER = {("kubernetes", "conflict"): 4.0}
"""Seconds; updates of what was throttled before come after a while."""
UNTIL_SEEN = 120.0
"""Seconds, of which a fault needs as many as it takes to be seen to act: on a busy machine that may be more than `TTL`.
Then it is injected again, in its own place, to end by itself."""

DELAYS = {
    ("redis", "latency"): "200ms",  # past `redis.timeout`
    ("redis", "jitter"): "20ms",  # within it
    ("kubernetes", "latency"): "300ms",
    ("kubernetes", "jitter"): "300ms",
    ("webhook", "latency"): "300ms",
    ("webhook", "jitter"): "300ms",
}
OPENS = {("redis", "timeout"), ("redis", "error"), ("redis", "latency")} | {
    ("kubernetes", "error"),
    ("kubernetes", "429"),
}
"""Faults that open the target's breaker; time-outs of the API server take longer."""
SHARES = {
    ("redis", "jitter"): 100,
    ("kubernetes", "timeout"): 30,
    ("kubernetes", "error"): 100,
    ("kubernetes", "429"): 100,
    ("kubernetes", "conflict"): 100,
}
"""Per cent of the calls; half of them by default, so that calls that pass stand beside those that do not."""


def lasts(target: str, mode: str) -> float:
    return LONGER.get((target, mode), TTL)


async def inject(gateway: GatewayProcess, target: str, mode: str, ttl: float) -> None:
    wish = {
        "target": target,
        "mode": mode,
        "pct": SHARES.get((target, mode), 50),
        "ttl": f"{ttl:g}s",
        **({"delay": DELAYS[target, mode]} if (target, mode) in DELAYS else {}),
    }
    status, text = await asyncio.to_thread(gateway.post, CHAOS, wish)
    assert status == 201, text


def active(gateway: GatewayProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gateway.get(CHAOS)[1])["faults"]
    return found


async def endure(
    gateway: GatewayProcess,
    target: str,
    mode: str,
    component: str | None,
    felt: Callable[[], object] = lambda: True,
) -> None:
    """One fault from its injection until it has acted and is `felt`, has ended by itself, and the breaker is closed."""
    await inject(gateway, target, mode, UNTIL_SEEN)
    (fault,) = await asyncio.to_thread(active, gateway)
    assert (fault["target"], fault["mode"]) == (target, mode)
    assert 0 < fault["remainingSeconds"] <= UNTIL_SEEN
    assert f"{target} {mode}" in gateway.get("/readyz")[1].decode()
    await eventually(
        lambda: gateway.metric(INJECTED, target=target, mode=mode) > 0 and felt(),
        f"{mode} to be felt",
        seconds=30,
        every=0.05,
    )
    if (target, mode) in OPENS:
        assert component is not None
        await eventually(
            lambda: gateway.metric(STATE, component=component) != 0,
            f"the breaker to open for {mode}",
            seconds=30,
            every=0.05,
        )
    ttl, began = lasts(target, mode), time.monotonic()
    await inject(gateway, target, mode, ttl)
    await eventually(lambda: not active(gateway), "the fault to end by itself", seconds=ttl + 10)
    assert time.monotonic() - began >= ttl
    assert "a fault is injected" not in gateway.get("/readyz")[1].decode()
    if component is not None:
        await eventually(
            lambda: gateway.metric(STATE, component=component) == 0, "the breaker to close", seconds=30
        )


def start(start_gateway: StartGateway, redis: RedisServer, cluster: Api, /, **more: Any) -> GatewayProcess:
    return start_gateway(
        redis=redis, cluster=cluster, settings={**SETTINGS, "chaos": {"enabled": True}, **more}
    )


async def test_redis_fails_in_every_mode_and_the_count_stays_exact(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    breakers = {"redis": {"open_for": "500ms"}}
    gateway = start(start_gateway, redis_server, cluster, breakers=breakers)
    async with ordeal([gateway], cluster, namespace, tmp_path) as under:
        for mode in MODES[FaultTarget.REDIS]:
            before = gateway.metric(FALLBACK)

            def fell_back(mode: FaultMode = mode, before: float = before) -> bool:
                return gateway.metric(FALLBACK) > before or mode is FaultMode.JITTER

            await endure(gateway, "redis", mode.value, "redis", fell_back)
        assert gateway.metric(FALLBACK, reason="redis_oom") > 0
        assert gateway.metric(FALLBACK, reason="breaker_open") > 0
        assert under.load.refused == 0  # Kubernetes was there
    assert gateway.metric("gateway_redis_operation_errors_total", error="oom") > 0
    assert gateway.metric("gateway_redis_operation_errors_total", error="timeout") > 0
    assert gateway.metric("gateway_fallback_duration_seconds_count") >= 3


async def test_kubernetes_fails_in_every_mode_and_the_count_stays_exact(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    breakers = {"kubernetes": {"failure_rate": 0.2, "open_for": "1s"}}  # within so short a time
    # Redis is well here: with less time, two pauses of a busy machine in a row would be a 503.
    gateway = start(start_gateway, redis_server, cluster, breakers=breakers, redis={"timeout": "250ms"})
    async with watching(gateway), ordeal([gateway], cluster, namespace, tmp_path) as under:
        for mode in MODES[FaultTarget.KUBERNETES]:
            await endure(gateway, "kubernetes", mode.value, "k8s_api")
        assert under.load.refused == 0  # Redis was there
    assert gateway.metric("gateway_crd_update_conflicts_total") > 0
    assert gateway.metric("gateway_k8s_api_errors_total", status="429") > 0
    assert gateway.metric("gateway_k8s_api_errors_total", status="500") > 0
    assert gateway.metric("gateway_k8s_api_errors_total", status="0") > 0
    assert gateway.metric("gateway_dead_letters_total") == 0


async def test_senders_are_answered_badly_in_every_mode_and_what_they_were_told_is_true(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    gateway = start(start_gateway, redis_server, cluster, server={"request_timeout": "1s"})
    async with ordeal([gateway], cluster, namespace, tmp_path) as under:
        for mode in MODES[FaultTarget.WEBHOOK]:
            await endure(gateway, "webhook", mode.value, None)
        assert under.load.statuses[503] > 0
        assert under.load.statuses[0] > 0
    assert status_of(gateway)["breakers"]["redis"]["state"] == "closed"


async def test_it_is_ended_at_once_and_nobody_else_may(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alertmanager:one\nadmin:two\n")
    auth = {"mode": "bearer", "tokens_file": str(tokens)}
    gateway = start(start_gateway, redis_server, cluster, auth=auth)
    sender, admin = ({"Authorization": f"Bearer {token}"} for token in ("one", "two"))
    wish = json.dumps(
        {"target": "webhook", "mode": "error", "pct": 100, "delay": "1ms", "ttl": "5m"}
    ).encode()

    assert ask(gateway, wish, path=CHAOS, headers=sender).status == 403
    assert ask(gateway, body(fires(namespace)), headers=sender).status in (201, 202)
    assert ask(gateway, wish, path=CHAOS, headers=admin).status == 201
    refused = ask(gateway, body(fires(namespace)), headers=sender)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert ask(gateway, b"", method="DELETE", path=f"{CHAOS}/webhook", headers=sender).status == 403
    ended = ask(gateway, b"", method="DELETE", path=f"{CHAOS}/webhook", headers=admin)
    assert (ended.status, json.loads(ended.content)["struck"]) == (200, 1)
    assert ask(gateway, body(fires(namespace)), headers=sender).status in (201, 202)
    assert "fault injection refused" in gateway.log()


def test_the_command_line_injects_lists_and_ends(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("alertmanager:one\nadmin:two\n")
    auth = {"mode": "bearer", "tokens_file": str(tokens)}
    gateway = start(start_gateway, redis_server, cluster, auth=auth)
    here = ("--url", gateway.url, "--token", "two")
    wish = ("inject", "kubernetes", "latency", "--pct", "12.5", "--delay", "20ms", "--ttl", "5m")

    assert command("chaos", "list", *here).stdout == "No fault is injected.\n"
    (made,) = printed(command("chaos", *wish, *here, "-o", "json"))["faults"]
    assert (made["by"], made["pct"], made["delay"], made["ttl"]) == ("admin", 12.5, "20ms", "5m")
    shown = command("chaos", "list", *here).stdout.splitlines()
    assert shown[1].split()[:4] == ["kubernetes", "latency", "12.5", "20ms"]
    assert command("chaos", "end", "kubernetes", *here).returncode == OK
    assert command("chaos", "end", "kubernetes", *here).returncode == FINDING
    senseless = command("chaos", "inject", "redis", "429", *here)
    assert (senseless.returncode, "expected one of" in senseless.stderr) == (USAGE, True)
    forbidden = command("chaos", "list", "--url", gateway.url, "--token", "one")
    assert (forbidden.returncode, "chaos.admins" in forbidden.stderr) == (UNREACHABLE, True)
    nobody = command("chaos", "list", "--url", f"http://127.0.0.1:{free_port()}")
    assert nobody.returncode == UNREACHABLE
