"""The script of the rate limit, on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec
import pytest
import redis

from chaos.rig.redis_server import RedisServer
from gateway.errors import StoreError
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.rates import RateWindows
from gateway.state.scripting import FLAGS_SINCE
from tests.rig.fixtures import StartRedis

pack = msgspec.msgpack.encode
KEY = "gw:{0}:rate:me"


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Client]:
    client = Client(redis_server.url, timeout=10.0, pool_size=4)
    yield client
    await client.close()


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port) as raw:
        yield raw


def windows(client: Client, *, most: int = 3, span: float = 60.0) -> RateWindows:
    return RateWindows(client, Keys("gw:", 1), most=most, span=span)


async def take(rates: RateWindows, log: Sequence[int] = (), *, times: int = 1) -> list[bool]:
    taken, _ = await rates.take(["me"], [log], [[0]] * times)
    return list(taken)


async def test_replicas_share_a_window_and_hear_of_each_other(client: Client) -> None:
    one, two = windows(client), windows(client)
    assert await take(one, times=2) == [True, True]
    await asyncio.sleep(0.02)
    taken, others = await two.take(["me"], [[]], [[0], [0]])
    assert list(taken) == [True, False]
    ((age, count),) = others
    assert count == 2
    assert 20 <= age < 5000
    _, others = await one.take(["me"], [[20, 2]], [[0]])
    assert others[0][1] == 1


async def test_what_a_replica_says_of_itself_replaces_what_was_known_of_it(client: Client) -> None:
    one, two = windows(client), windows(client)
    assert await take(one, times=2) == [True, True]
    assert await take(one, [100, 1], times=3) == [True, True, False]
    assert await take(two) == [False]
    assert await take(one, []) == [True]
    assert await take(two, times=3) == [True, True, False]


async def test_what_a_replica_took_long_ago_leaves_the_window(client: Client, raw: redis.Redis) -> None:
    one, two = windows(client), windows(client)
    assert await take(one, times=3) == [True, True, True]
    assert await take(two) == [False]
    # A minute later: what stands there is as old.
    at, count = msgspec.msgpack.decode(raw.hget(KEY, one._replica))
    raw.hset(KEY, one._replica, pack([at - 60_001, count]))
    taken, others = await two.take(["me"], [[]], [[0]] * 4)
    assert list(taken) == [True, True, True, False]
    assert others == [[]]


async def test_a_check_takes_from_all_of_its_windows_or_from_none(client: Client) -> None:
    rates = windows(client, most=1)
    checks = [[0], [0, 1], [1, 2], [2]]
    taken, _ = await rates.take(["a", "b", "c"], [[], [], []], checks)
    assert list(taken) == [True, False, True, False]


async def test_a_window_does_not_outlive_its_span_and_none_is_kept_for_nothing(
    client: Client, raw: redis.Redis
) -> None:
    rates = windows(client, most=1)
    await take(rates, times=2)
    assert 30_000 < raw.pttl(KEY) <= 61_000
    await rates.take(["you", "me"], [[], [1000, 1]], [[0, 1]])
    assert sorted(raw.keys()) == [KEY.encode()]


async def test_a_replica_that_is_gone_leaves_the_window_when_its_takes_do(
    client: Client, raw: redis.Redis
) -> None:
    now = int(time.time() * 1000)
    raw.hset(KEY, "gone", pack([now - 30_000, 1, now - 61_000, 7]))
    raw.hset(KEY, "longer gone", pack([now - 61_000, 3]))
    assert await take(windows(client), times=3) == [True, True, False]
    assert b"longer gone" not in raw.hkeys(KEY)


GARBAGE: dict[str, Callable[[int], bytes]] = {
    "empty": lambda _: b"",
    "no MessagePack": lambda _: b"\xc1",
    "text": lambda _: b"garbage",
    "a packed text": lambda _: pack("text"),
    "an odd one": lambda _: pack([1]),
    "no numbers": lambda _: pack(["a", "b"]),
    "before 1970": lambda _: pack([-5, 1]),
    "none": lambda now: pack([now, 0]),
    "not a number": lambda now: pack([now, float("nan")]),
    "endless": lambda _: pack([float("inf"), 1]),
    "tomorrow": lambda now: pack([now + 86_400_000, 1]),
    "lists": lambda _: pack([[1], [2]]),
    "too many": lambda _: pack([1, 1] * 5000),
}
"""What nobody writes there, as of a time in milliseconds."""


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_a_field_that_is_not_ours_makes_the_window_unknown_once(
    client: Client, raw: redis.Redis, garbage: Callable[[int], bytes]
) -> None:
    rates = windows(client)
    raw.hset(KEY, "other", garbage(int(time.time() * 1000)))
    with pytest.raises(StoreError) as caught:
        await take(rates, [1000, 1])
    assert caught.value.kind == "corrupt"
    assert raw.hkeys(KEY) == [rates._replica.encode()], "what this replica took stands there"
    assert raw.get("gw:{0}:queue:corrupt") == b"1"
    assert await take(rates, [1000, 1], times=3) == [True, True, False]


async def test_a_key_of_another_type_makes_the_window_unknown_once(client: Client, raw: redis.Redis) -> None:
    rates = windows(client)
    raw.set(KEY, "x")
    with pytest.raises(StoreError):
        await take(rates, [1000, 1])
    assert raw.get("gw:{0}:queue:corrupt") == b"1"
    assert await take(windows(client), times=3) == [True, True, False]


async def test_a_full_redis_goes_on_sharing_or_says_that_it_cannot(start_redis: StartRedis) -> None:
    server = start_redis()
    client = Client(server.url, timeout=10.0, pool_size=2)
    one, two = windows(client), windows(client)
    assert await take(one) == [True]
    with redis.Redis(port=server.port) as raw:
        raw.config_set("maxmemory", 1)
        knows_flags = int(raw.info("server")["redis_version"].split(".")[0]) >= FLAGS_SINCE
    if knows_flags:
        assert await take(two, times=3) == [True, True, False]
    else:
        with pytest.raises(StoreError) as caught:
            await take(two)
        assert caught.value.kind == "oom"
    await client.close()
