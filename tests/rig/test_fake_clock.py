"""The stepped clock is seen by Redis and by the gateway, at once, and only the wall clock steps."""

from __future__ import annotations

import http.client
import subprocess
import sys
import textwrap
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from chaos.rig.api import Api
from chaos.rig.fake_clock import FakeClock, sweep
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartGateway, StartRedis

DAY = 86_400.0


def _redis_time(server: RedisServer) -> float:
    with server.client() as client:
        return float(client.time()[0])


def _gateway_time(gateway: GatewayProcess) -> float:
    """The Date of an answer, in whole seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return parsedate_to_datetime(answer.headers["Date"]).timestamp()


def test_redis_and_the_gateway_see_a_step(
    fake_clock: FakeClock, start_redis: StartRedis, start_gateway: StartGateway, cluster: Api
) -> None:
    server = start_redis(source="wheel", env=fake_clock.env)
    gateway = start_gateway(redis=server, cluster=cluster, env=fake_clock.env)
    for offset in (0.0, DAY, -DAY):
        fake_clock.step(offset - fake_clock.offset)
        assert _redis_time(server) == pytest.approx(time.time() + offset, abs=5)
        assert _gateway_time(gateway) == pytest.approx(time.time() + offset, abs=5)
    fake_clock.reset()
    assert _redis_time(server) == pytest.approx(time.time(), abs=5)
    wait_until(gateway.ready, "the gateway to be ready still")


def test_keys_expire_by_it(fake_clock: FakeClock, start_redis: StartRedis) -> None:
    server = start_redis(source="wheel", env=fake_clock.env)
    with server.client() as client:
        client.set("key", "value", ex=3600)
        fake_clock.step(3599 - 60)
        assert client.get("key") == "value"
        fake_clock.step(120)
        assert client.get("key") is None


def test_the_monotonic_clock_and_what_waits_by_it_do_not_step(fake_clock: FakeClock) -> None:
    script = """
        import asyncio, threading, time
        print(time.monotonic(), time.time())
        start = time.monotonic()
        threading.Event().wait(0.1)
        asyncio.run(asyncio.sleep(0.1))
        print(time.monotonic() - start)
    """
    for offset in (DAY, -DAY):
        fake_clock.step(offset - fake_clock.offset)
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(
            command, env=dict(fake_clock.env), capture_output=True, text=True, check=True, timeout=60
        )
        monotonic, wall, waited = map(float, done.stdout.split())
        assert monotonic == pytest.approx(time.monotonic(), abs=60)
        assert wall == pytest.approx(time.time() + offset, abs=60)
        assert 0.2 <= waited < 30


def test_killed_processes_leave_nothing_in_shared_memory(
    fake_clock: FakeClock, start_redis: StartRedis
) -> None:
    server = start_redis(source="wheel", env=fake_clock.env)
    pid = server.pid
    sweep()
    # One that lives keeps what it uses.
    assert server.answers()
    server.kill()
    sweep()
    assert not list(Path("/dev/shm").glob(f"*faketime_*_{pid}"))
