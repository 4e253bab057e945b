"""Redis dies, stops, forgets and fills up under load: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer, Source
from tests.integration.filling import Filler
from tests.integration.lengths import seconds
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.rivals import repeatedly
from tests.integration.sight import PATIENT, UNHURRIED, send, settled
from tests.integration.windows import once, pods, quick, stands, windows_in
from tests.rig.fixtures import StartGateway, StartRedis

PAUSE = seconds(8, 30)


@pytest.mark.parametrize("keep", [False, True], ids=["empty", "with its data"])
async def test_a_redis_that_is_killed_comes_back(
    keep: bool,
    start_gateway: StartGateway,
    start_redis: StartRedis,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    server = start_redis(keep=keep)
    gateways = [start_gateway(redis=server, cluster=cluster, settings=SETTINGS) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        server.kill()
        await asyncio.sleep(4)
        await test.open_everywhere()  # it still is, where the machine did not stand still
        await asyncio.to_thread(server.start)
        back = time.monotonic()
        await test.closed_everywhere()
        await asyncio.sleep(2)
    detected, opened, recovered = (
        test.sight.detected(began),
        test.sight.opened(began),
        test.sight.closed(back),
    )
    test.tell("killed", detected=detected, opened=opened, recovered=recovered)

    assert opened is not None
    assert opened < 5
    assert recovered is not None
    assert recovered < 15
    assert test.load.refused < 0.05


async def test_a_redis_that_stops_answering_goes_on_where_it_was(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    server = start_redis()
    gateways = [start_gateway(redis=server, cluster=cluster, settings=SETTINGS) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path, rate=25) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        server.pause()
        await asyncio.sleep(PAUSE)
        server.resume()
        back = time.monotonic()
        await test.closed_everywhere()
        await asyncio.sleep(2)
    detected, opened, recovered = (
        test.sight.detected(began),
        test.sight.opened(began),
        test.sight.closed(back),
    )
    test.tell(f"silent for {PAUSE:g} s", detected=detected, opened=opened, recovered=recovered)

    assert opened is not None
    assert opened < 5
    assert recovered is not None
    assert recovered < 15
    assert test.load.refused < 0.05


def flush(client: redis.Redis) -> None:
    client.flushall()


def forget_scripts(client: redis.Redis) -> None:
    client.script_flush()


def cut_connections(client: redis.Redis) -> None:
    client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize(
    ("act", "every"),
    [(flush, 1.3), (forget_scripts, 0.2), (cut_connections, 1.0)],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_what_is_done_to_redis_again_and_again_under_load_costs_no_alert(
    act: Callable[[redis.Redis], None],
    every: float,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    gateways = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        with redis_server.client() as client, repeatedly(lambda: act(client), every):
            await asyncio.sleep(8)
        await test.closed_everywhere()
    test.tell(act.__name__, opened=test.sight.opened(began), recovered=test.sight.closed(began))

    assert test.load.refused < 0.05
    if act is cut_connections:
        assert all(one.metric("gateway_redis_reconnect_success_total") >= 4 for one in gateways)
    if act is forget_scripts:
        assert (
            sum(one.metric("gateway_redis_operation_errors_total", error="noscript") for one in gateways) == 0
        )


@pytest.mark.parametrize("source", ["wheel", "seven"])
@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_a_redis_that_others_fill_costs_no_alert(
    source: Source,
    policy: str,
    start_gateway: StartGateway,
    start_redis: StartRedis,
    cluster: Api,
    namespace: str,
    tmp_path: Path,
) -> None:
    server = start_redis(source=source)
    # Patient, so that nothing but its being full can be held against Redis.
    settings = {**SETTINGS, **UNHURRIED}
    gateways = [start_gateway(redis=server, cluster=cluster, settings=settings) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        await test.closed_everywhere()
        began = time.monotonic()
        with server.client() as client:
            filler = Filler(client, policy)
            with repeatedly(filler.fill, 0.3):
                await asyncio.sleep(8)
            filler.stop()
            evicted = client.info("stats")["evicted_keys"]
        await test.closed_everywhere()
        await asyncio.sleep(1)
    test.tell(f"full, {policy}", opened=test.sight.opened(began), recovered=test.sight.closed(began))

    fallbacks = sum(one.metric("gateway_dedup_fallback_total", reason="redis_oom") for one in gateways)
    assert fallbacks > 0 if policy == "noeviction" else evicted > 0
    if policy == "noeviction":
        assert test.sight.opened(began) is None, "a full Redis still answers"
    assert test.load.refused < 0.05


async def test_redis_7_gives_out_what_it_holds_while_it_is_full(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    """Another replica than the one that took them writes the alerts: nobody knows of them but Redis."""
    server = start_redis(source="seven")
    settings = {**quick(), "dedup": {"write_interval": "500ms"}}
    gateway = start_gateway(redis=server, cluster=cluster, settings={**settings, **PATIENT})
    _, verdicts = send(gateway, *pods(namespace, 0, 1, 2))
    windows_in(verdicts)
    with server.client() as client:
        filler = Filler(client, "noeviction")
        filler.fill()
        gateway.kill()
        second = start_gateway(redis=server, cluster=cluster, settings=settings)
        with repeatedly(filler.fill, 0.2):
            await stands(cluster, namespace, storms=[once(0, 1, 2)])
            await settled(second)
        assert filler.full()
        filler.stop()
    assert second.metric("gateway_redis_operation_errors_total", error="oom") == 0


@pytest.mark.parametrize("together", [False, True], ids=["alone", "with new alerts"])
async def test_alerts_that_end_leave_their_window_although_redis_7_is_full(
    together: bool, start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    server = start_redis(source="seven")
    gateway = start_gateway(redis=server, cluster=cluster, settings=quick(hold="8s"))
    first, second = pods(namespace, 0, 1)
    _, verdicts = send(gateway, first, second)
    windows_in(verdicts)
    with server.client() as client:
        filler = Filler(client, "noeviction")
        filler.fill()
        over = [{**one, "status": "resolved", "endsAt": "2026-01-31T09:30:00Z"} for one in (first, second)]
        status, verdicts = send(gateway, *over, *(pods(namespace, 7) if together else ()))
        assert status in (201, 202)
        with repeatedly(filler.fill, 0.2):
            await stands(cluster, namespace, own=[("p7", 1)] if together else [])
            await asyncio.sleep(9)  # past the end of the window, and past the grace of the repair
            await stands(cluster, namespace, own=[("p7", 1)] if together else [])
            await settled(gateway)
        filler.stop()
