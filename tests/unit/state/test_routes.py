"""The way to the right server: over TLS, through Sentinels, in a cluster."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from chaos.faults.certificates import issue
from chaos.rig.ports import free_port
from chaos.rig.redis_server import RedisServer
from gateway.config.settings import Redis, RedisSentinel, RedisTLS
from gateway.errors import StoreError, StoreRefused
from gateway.state.access import Access
from gateway.state.client import Client
from tests.rig.fixtures import StartRedis, StartRedisCluster, StartSentinel


class Reconnected:
    """Counts connections that came again, and failures."""

    def __init__(self) -> None:
        self.times = 0
        self.failed: list[str] = []

    def redis_failed(self, kind: str) -> None:
        self.failed.append(kind)

    def redis_reconnected(self) -> None:
        self.times += 1


async def until_answered(client: Client, *command: str, key: str | None = None, seconds: float = 15) -> Any:
    """The first answer that is none of a failure."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await client.command(*command, key=key)
        except StoreError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


# --- TLS


@pytest.fixture
def tls_port(start_redis: StartRedis, tmp_path: Path) -> int:
    issued = issue(["127.0.0.1"])
    (tmp_path / "ca.pem").write_text(issued.authority)
    (tmp_path / "cert.pem").write_text(issued.certificate)
    (tmp_path / "key.pem").write_text(issued.key)
    port = free_port()
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(tmp_path / "cert.pem"),
        "tls-key-file": str(tmp_path / "key.pem"),
        "tls-ca-cert-file": str(tmp_path / "ca.pem"),
        "tls-auth-clients": "no",
    }
    start_redis(source="seven", options=options)
    return port


async def ping(settings: Redis) -> Any:
    client = Client(Access.of(settings), timeout=10.0, pool_size=1)
    try:
        return await client.command("PING")
    finally:
        await client.close()


async def test_over_tls_the_authority_decides(tls_port: int, tmp_path: Path) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0"

    assert await ping(Redis(url=url, tls=RedisTLS(ca_file=str(tmp_path / "ca.pem")))) == b"PONG"
    assert await ping(Redis(url=url, tls=RedisTLS(insecure=True))) == b"PONG"
    with pytest.raises(StoreRefused, match="certificate"):
        await ping(Redis(url=url))


async def test_a_handshake_may_take_longer_than_a_call(tls_port: int, tmp_path: Path) -> None:
    settings = Redis(url=f"rediss://127.0.0.1:{tls_port}/0", tls=RedisTLS(ca_file=str(tmp_path / "ca.pem")))
    client = Client(Access.of(settings), timeout=0.001, pool_size=2)
    try:
        with pytest.raises(StoreRefused) as caught:
            await client.command("PING", timeout=0.0005)
        assert caught.value.kind == "timeout"
        assert await until_answered(client, "PING") == b"PONG"
    finally:
        await client.close()


# --- Sentinel


async def test_calls_go_to_the_master_and_to_the_next_one_when_it_is_lost(
    start_sentinel: StartSentinel,
) -> None:
    # So long that the next one is not there yet when the first call meets the loss.
    group = start_sentinel(down_after_ms=4000)
    seen = Reconnected()
    client = Client(group.url, timeout=0.25, pool_size=2, observer=seen)
    watching = asyncio.create_task(client.watch())
    try:
        first = await until_answered(client, "ROLE")
        assert first[0] == b"master"
        await asyncio.to_thread(group.kill_master)
        began = time.monotonic()
        with pytest.raises(StoreError):
            await client.command("PING")
        assert time.monotonic() - began < 3
        assert (await until_answered(client, "ROLE"))[0] == b"master"
        assert seen.times >= 1
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()


async def test_a_master_that_is_demoted_while_it_lives_is_left(start_sentinel: StartSentinel) -> None:
    """No connection breaks by itself, and it would answer for ever."""
    group = start_sentinel(down_after_ms=10_000)
    client = Client(group.url, timeout=0.25, pool_size=2, observer=Reconnected())
    watching = asyncio.create_task(client.watch())
    try:
        await until_answered(client, "SET", "key", "1")
        with group.sentinels[0].client() as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", group.master_name)
        old = group.servers[0].port
        deadline = time.monotonic() + 40
        while (await asyncio.to_thread(group.current_master))[1] == old:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        with group.master().client() as master:
            while master.get("key") != "2":
                assert time.monotonic() < deadline
                await until_answered(client, "SET", "key", "2")
                await asyncio.sleep(0.1)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()


async def test_sentinels_may_ask_for_a_password_of_their_own(
    start_sentinel: StartSentinel, tmp_path: Path
) -> None:
    group = start_sentinel(replicas=0, sentinels=1)
    with group.sentinels[0].client() as sentinel:
        sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", ">secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    with pytest.raises(StoreRefused):
        await ping(Redis(url=group.url))
    with_password = Redis(url=group.url, sentinel=RedisSentinel(password_file=str(password)))
    assert await ping(with_password) == b"PONG"


async def test_without_sentinels_calls_are_refused_at_once_after_the_first() -> None:
    client = Client("redis+sentinel://127.0.0.1:1/mymaster", timeout=10.0, pool_size=1)
    try:
        took = []
        for _ in range(10):
            began = time.monotonic()
            with pytest.raises(StoreRefused):
                await client.command("PING")
            took.append(time.monotonic() - began)
        # None of them waits for the time-out, however busy the machine is.
        assert sorted(took)[5] < 0.1
        assert max(took) < 5
    finally:
        await client.close()


# --- cluster


async def test_a_key_is_asked_of_its_node_wherever_it_moves(start_redis_cluster: StartRedisCluster) -> None:
    redis = start_redis_cluster(replicas_per_master=0, node_timeout_ms=15_000)
    client = Client(redis.url, timeout=5.0, pool_size=2, observer=Reconnected())
    try:
        for number in range(12):
            key = f"gw:{{{number}}}:queue"
            assert await until_answered(client, "SET", key, str(number), key=key) == b"OK"
            assert await client.scan(f"gw:{{{number}}}:*", key=key) == [key]

        key = "gw:{0}:queue"
        slot = redis.slot_of(key)
        source = redis.master_of(slot)
        target = next(node for node in redis.nodes if node is not source)
        redis.begin_migration(slot, target)
        redis.move_keys(slot, target)
        assert await client.command("GET", key, key=key) == b"0", "the old owner says ASK"
        redis.finish_migration(slot, source, target)
        assert await client.command("GET", key, key=key) == b"0", "and then MOVED"
        with target.client() as there:
            assert there.get(key) == "0"
        assert client.most_connections == 6
    finally:
        await client.close()


async def test_a_script_is_sent_to_every_node_that_does_not_know_it(
    start_redis_cluster: StartRedisCluster,
) -> None:
    redis = start_redis_cluster(replicas_per_master=0, node_timeout_ms=15_000)
    seen = Reconnected()
    client = Client(redis.url, timeout=10.0, pool_size=2, observer=seen)
    try:
        for number in range(12):
            root = f"gw:{{{number}}}:"
            keys = (f"{root}queue", f"{root}sentinel")
            await client.script("claim", keys, root, f"alert:buffer:{{{number}}}:", 1, 1000, "token")
        assert seen.failed == []
    finally:
        await client.close()


async def test_a_node_that_does_not_know_its_own_address_is_where_it_was_asked(
    start_redis: StartRedis,
) -> None:
    """A cluster of one that met nobody tells its slots without a host."""
    node = start_redis(options={"cluster-enabled": "yes"})
    with node.client() as direct:
        direct.execute_command("CLUSTER", "ADDSLOTSRANGE" if _is_7(node) else "ADDSLOTS", *_all_slots(node))
    client = Client(f"redis+cluster://127.0.0.1:{node.port}", timeout=0.5, pool_size=1)
    try:
        assert await until_answered(client, "SET", "{1}a", "1", key="{1}a") == b"OK"
    finally:
        await client.close()


def _is_7(node: RedisServer) -> bool:
    with node.client() as client:
        return str(client.info("server")["redis_version"]).startswith("7")


def _all_slots(node: RedisServer) -> range | tuple[int, int]:
    return (0, 16383) if _is_7(node) else range(16384)
