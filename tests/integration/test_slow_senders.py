"""Slow senders and crowds against a real gateway: everybody else is served as if they were not there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import aiohttp

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import adds_up, body, fires
from tests.rig.fixtures import StartGateway

SLOW = 500
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
LARGE = HEAD + b"Content-Length: 10000000\r\n\r\n"
"""The headers of a body that never comes: five hundred of them declare twenty times the room that there is."""


@dataclass
class Crowd:
    """Connections of which each sends one byte a second."""

    statuses: list[int] = field(default_factory=list)
    """What those were told that have been closed; 0 for nothing."""

    async def send(self, port: int, number: int) -> None:
        """One of them: every other one trickles headers, and the rest the body that follows them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        told = asyncio.ensure_future(reader.read(12))
        status = b""
        try:
            await asyncio.sleep(number / SLOW)
            if number % 2:
                writer.write(LARGE)
            for byte in LARGE:
                if told.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.wait([told], timeout=1.0)
            with contextlib.suppress(OSError):
                status = told.result()
        finally:
            told.cancel()
            writer.close()
            self.statuses.append(int(status[9:12] or 0))


async def test_five_hundred_slow_senders_keep_nobody_waiting(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(
        redis=redis_server,
        cluster=cluster,
        settings={"server": {"header_timeout": "8s", "request_timeout": "9s"}},
    )
    crowd = Crowd()
    async with asyncio.TaskGroup() as tasks:
        for number in range(SLOW):
            tasks.create_task(crowd.send(gateway.port, number))
        await asyncio.sleep(1.5)
        assert not crowd.statuses
        served, slowest = await served_meanwhile(gateway, namespace, crowd)
    assert served >= 20
    assert slowest < 4  # and not as long as the crowd stays
    assert crowd.statuses == [503] * SLOW
    await adds_up(cluster, namespace, [served])
    assert gateway.metric("gateway_errors_total", type="timeout") == SLOW


async def served_meanwhile(gateway: GatewayProcess, namespace: str, crowd: Crowd) -> tuple[int, float]:
    """Post on new connections and on kept ones until the crowd is gone; how many were taken, and the longest time."""
    served, slowest = 0, 0.0
    content = body(fires(namespace))
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as kept:
        while len(crowd.statuses) < SLOW:
            began = time.monotonic()
            async with kept.post(gateway.url + PATH, data=content, headers=headers) as answer:
                assert answer.status in (201, 202)
            assert (await asyncio.to_thread(gateway.post, PATH, content))[0] in (201, 202)
            slowest = max(slowest, time.monotonic() - began)
            served += 2
            await asyncio.sleep(0.1)
    return served, slowest


async def test_a_burst_as_alertmanager_sends_it_meets_no_limit(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster)
    content = body(fires(namespace))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=114)) as session:

        async def post() -> int:
            headers = {"Content-Type": "application/json", "User-Agent": "Alertmanager/0.31.1"}
            async with session.post(gateway.url + PATH, data=content, headers=headers) as answer:
                return answer.status

        for _ in range(2):
            statuses = await asyncio.gather(*(post() for _ in range(300)))
            assert set(statuses) <= {201, 202}
    await adds_up(cluster, namespace, [600])
    await eventually(gateway.ready, "readiness")
    for reason in ("too_many_connections", "headers_too_large", "timeout", "overloaded"):
        assert gateway.metric("gateway_errors_total", type=reason) == 0
