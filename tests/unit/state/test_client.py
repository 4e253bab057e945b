"""Calls to Redis: sent to one server, in time, with what failed in our own words."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually, wait_until
from gateway.config.settings import Redis
from gateway.errors import StoreRefused, StoreUnsure
from gateway.resilience.breakers import Breaker, Outcome, Policy
from gateway.state.access import Access
from gateway.state.client import Client
from tests.rig.fixtures import StartRedis

KEYS = ("gw:{0}:queue", "gw:{0}:sentinel")
CLAIM = ("gw:{0}:", "alert:buffer:{0}:", 1, 1000, "token")


class Seen:
    """What an observer is told."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.reconnected = 0

    def redis_failed(self, kind: str) -> None:
        self.failed.append(kind)

    def redis_reconnected(self) -> None:
        self.reconnected += 1


@asynccontextmanager
async def client_of(access: Access | str, **more: object) -> AsyncIterator[Client]:
    client = Client(access, **{"timeout": 10.0, "pool_size": 2, **more})  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()


async def test_nothing_listening_is_a_refusal_of_every_call_and_soon() -> None:
    seen = Seen()
    async with client_of("redis://127.0.0.1:1/0", observer=seen) as client:
        took = []
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(StoreRefused) as caught:
                await client.command("PING")
            took.append(time.monotonic() - began)
            assert caught.value.kind == "connection"
        # The time-out is ten seconds: none of them waits for that, however busy the machine is.
        assert sorted(took)[10] < 0.05
        assert max(took) < 5
    assert seen.failed == ["connection"] * 20


async def test_a_script_that_the_server_forgot_is_sent_again_without_an_error(
    redis_server: RedisServer,
) -> None:
    seen = Seen()
    async with client_of(redis_server.url, observer=seen) as client:
        for _ in range(2):
            await client.script("claim", KEYS, *CLAIM)
            with redis_server.client() as other:
                other.script_flush()
        await client.script("claim", KEYS, *CLAIM)
    assert seen.failed == []


async def test_more_calls_than_connections_wait_for_each_other(redis_server: RedisServer) -> None:
    async with client_of(redis_server.url) as client:
        answers = await asyncio.gather(*(client.command("ECHO", str(n)) for n in range(200)))
        with redis_server.client() as other:
            ours = len(other.client_list()) - 1
        assert answers == [str(n).encode() for n in range(200)]
        assert 1 <= ours <= 2
        assert client.active_connections == 0
        assert client.most_connections == 2


async def test_a_late_answer_is_nobody_elses(start_redis: StartRedis) -> None:
    """A call that gave up leaves its answer behind: on that connection nothing is asked any more."""
    redis = start_redis()
    async with client_of(redis.url, pool_size=1) as client:
        await client.command("PING")
        redis.pause()
        with pytest.raises(StoreUnsure):
            await client.command("ECHO", "late", timeout=0.05)
        redis.resume()
        assert await client.command("ECHO", "mine") == b"mine"


async def test_a_silent_server_keeps_nobody_longer_than_the_time_out(start_redis: StartRedis) -> None:
    redis = start_redis()
    async with client_of(redis.url, timeout=0.05) as client:
        await eventually_answers(client)
        redis.pause()
        kinds, took = [], []
        for _ in range(6):
            began = time.monotonic()
            with pytest.raises((StoreRefused, StoreUnsure)) as caught:
                await client.command("PING")
            took.append(time.monotonic() - began)
            kinds.append(caught.value.kind)
        redis.resume()
        await eventually_answers(client)
    assert set(kinds) == {"timeout"}
    # One or two of them may have met a busy machine.
    assert sorted(took)[3] < 0.05 + 0.08


async def eventually_answers(client: Client) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await client.command("PING")
            return
        except (StoreRefused, StoreUnsure):
            await asyncio.sleep(0.02)
    raise TimeoutError("Redis does not answer")


def all_cut(other: redis.Redis) -> None:
    """Ends all other connections of a Redis. It ends them after its answer."""
    other.client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: len(other.client_list()) == 1, "the others to be gone")


async def test_connections_that_were_cut_while_idle_are_replaced_before_a_call_meets_them(
    redis_server: RedisServer,
) -> None:
    seen = Seen()
    async with client_of(redis_server.url, observer=seen) as client:
        for round_ in range(3):
            assert await client.command("ECHO", str(round_)) == str(round_).encode()
            with redis_server.client() as other:
                all_cut(other)
            await asyncio.sleep(0.05)
    assert seen.failed == []
    assert seen.reconnected == 2


async def test_an_open_breaker_refuses_and_hears_nothing(redis_server: RedisServer) -> None:
    breaker = Breaker(
        "redis",
        Policy(failure_rate=0.5, window=10, min_calls=3, open_for=60),
        clock=time.monotonic,
    )
    async with client_of(redis_server.url, breaker=breaker) as client:
        await client.command("PING")
        for _ in range(5):
            breaker.record(Outcome.FAILURE, "a test")
        with pytest.raises(StoreRefused) as caught:
            await client.command("PING")
        assert caught.value.kind == "breaker_open"
        assert (await client.probe()).outcome is Outcome.SUCCESS
        assert not breaker.closed


async def test_a_server_that_is_lost_opens_the_breaker_and_a_full_one_does_not(
    start_redis: StartRedis,
) -> None:
    redis = start_redis(options={"maxmemory": "100kb"})
    breaker = Breaker(
        "redis",
        Policy(failure_rate=0.05, window=10, min_calls=5, open_for=60),
        clock=time.monotonic,
    )
    async with client_of(redis.url, breaker=breaker) as client:
        for _ in range(10):
            with pytest.raises(StoreRefused) as caught:
                await client.command("SET", "x", "1")
            assert caught.value.kind == "oom"
        assert breaker.closed
        assert (await client.probe()).outcome is Outcome.SUCCESS
        redis.kill()
        for _ in range(20):
            with pytest.raises((StoreRefused, StoreUnsure)):
                await client.command("PING")
        assert not breaker.closed
        assert (await client.probe()).outcome is Outcome.FAILURE


def following(replica: redis.Redis) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(replica.info("replication")["master_link_status"] == "up")
    return False


async def test_a_replica_fails_the_probe_although_it_answers(start_redis: StartRedis) -> None:
    master = start_redis(options={"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"})
    replica = start_redis(name="replica", options={"replicaof": f"127.0.0.1 {master.port}"})
    with replica.client() as other:
        # While it reads what the master has, it refuses for another reason.
        wait_until(lambda: following(other), "the replica to follow")
    async with client_of(replica.url) as client:
        assert await client.command("PING") == b"PONG"
        found = await client.probe()
    assert found.outcome is Outcome.FAILURE
    assert "readonly" in found.reason


async def test_a_password_that_changes_is_read_again_from_its_file(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    redis = start_redis()
    name, password = tmp_path / "name", tmp_path / "password"
    name.write_text("gateway\n")
    password.write_text("first\n")
    with redis.client() as other:
        other.acl_setuser("gateway", enabled=True, passwords=["+first"], commands=["+@all"], keys=["*"])
        access = Access.of(Redis(url=redis.url, username_file=str(name), password_file=str(password)))
        async with client_of(access) as client:
            assert await client.command("ACL", "WHOAMI") == b"gateway"
            other.acl_setuser(
                "gateway", enabled=True, passwords=["+second", "-first"], commands=["+@all"], keys=["*"]
            )
            all_cut(other)
            await asyncio.sleep(0.05)
            with pytest.raises(StoreRefused) as caught:
                await client.command("PING")
            assert caught.value.kind == "auth"
            password.write_text("second")
            await asyncio.sleep(0.2)
            assert await client.command("ACL", "WHOAMI") == b"gateway"


async def test_a_password_file_that_is_missing_is_a_refusal(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    access = Access.of(Redis(url=redis_server.url, password_file=str(tmp_path / "none")))
    async with client_of(access) as client:
        with pytest.raises(StoreRefused, match="credentials") as caught:
            await client.command("PING")
        assert caught.value.kind == "auth"


async def test_a_socket_serves_as_an_address_does(start_redis: StartRedis, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    start_redis(options={"unixsocket": str(path)})
    async with client_of(f"unix://{path}?db=3") as client:
        await client.command("SET", "here", "1")
        assert await client.scan("*") == ["here"]


async def test_what_an_operator_should_know_is_found_in_the_background(start_redis: StartRedis) -> None:
    redis = start_redis(options={"maxmemory-policy": "allkeys-lru"})
    async with client_of(redis.url) as client:
        watching = asyncio.create_task(client.watch())
        await eventually(lambda: len(client.warnings) == 2, "warnings")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert "allkeys-lru" in client.warnings[0]
