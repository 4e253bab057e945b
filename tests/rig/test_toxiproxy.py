"""The Toxiproxy of the rig does to connections what its toxics say, and undoes it."""

from __future__ import annotations

import socket
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chaos.rig.redis_server import RedisServer
from chaos.rig.toxiproxy import Proxy
from tests.rig.fixtures import StartToxiproxy


@pytest.fixture
def proxy(start_toxiproxy: StartToxiproxy, redis_server: RedisServer) -> Proxy:
    """One before a Redis."""
    return start_toxiproxy().proxy(redis_server.port)


def _client(proxy: Proxy) -> redis.Redis:
    return redis.Redis(
        port=proxy.port, protocol=2, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
    )


def test_it_passes_everything_until_told_otherwise(proxy: Proxy) -> None:
    with _client(proxy) as client:
        assert client.ping()
    assert proxy.toxics() == []


def test_latency_comes_and_goes_on_an_open_connection(proxy: Proxy) -> None:
    with _client(proxy) as client:
        client.ping()
        name = proxy.add("latency", latency=200, jitter=0)
        started = time.monotonic()
        client.ping()
        assert time.monotonic() - started >= 0.2
        proxy.remove(name)
        proxy.add("latency", stream="upstream", latency=1)
        proxy.clear()
        assert proxy.toxics() == []
        assert client.ping()


def test_a_connection_is_reset(proxy: Proxy) -> None:
    proxy.add("reset_peer", timeout=0)
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(5)
        connection.sendall(b"PING\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_an_answer_is_cut_off(proxy: Proxy, redis_server: RedisServer) -> None:
    with redis_server.client() as direct:
        direct.set("long", "x" * 1000)
    proxy.add("limit_data", bytes=100)
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(5)
        connection.sendall(b"GET long\r\n")
        received = b""
        while part := connection.recv(4096):
            received += part
    assert len(received) == 100


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("timeout", {"timeout": 0}),
        ("bandwidth", {"rate": 1}),
        ("slow_close", {"delay": 10}),
        ("slicer", {"average_size": 2, "size_variation": 1, "delay": 10}),
    ],
)
def test_it_takes_every_other_toxic(proxy: Proxy, kind: str, attributes: dict[str, int]) -> None:
    proxy.add(kind, **attributes)  # type: ignore[arg-type]
    (toxic,) = proxy.toxics()
    assert (toxic["type"], toxic["attributes"]) == (kind, attributes)


def test_a_disabled_one_refuses_and_an_enabled_one_is_back(proxy: Proxy) -> None:
    with _client(proxy) as client:
        client.ping()
        proxy.disable()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.enable()
        assert client.ping()
