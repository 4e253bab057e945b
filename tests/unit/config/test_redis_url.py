"""What a URL of Redis may look like, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from gateway.config import Settings, load
from gateway.config.redis_url import RedisAddress, Topology, parse
from gateway.errors import ConfigurationError

SERVER, SENTINELS, CLUSTER = Topology.SERVER, Topology.SENTINELS, Topology.CLUSTER


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", RedisAddress(SERVER, (("localhost", 6379),))),
        ("redis://h", RedisAddress(SERVER, (("h", 6379),))),
        ("redis://[::1]:7000/3", RedisAddress(SERVER, (("::1", 7000),), db=3)),
        ("redis://h:1?db=4", RedisAddress(SERVER, (("h", 1),), db=4)),
        ("redis://:p%40ss@h", RedisAddress(SERVER, (("h", 6379),), password="p@ss")),
        (
            "rediss://me:secret@h",
            RedisAddress(SERVER, (("h", 6379),), tls=True, username="me", password="secret"),
        ),
        ("unix:///run/redis.sock", RedisAddress(SERVER, socket="/run/redis.sock")),
        ("unix:///run/redis.sock?db=2", RedisAddress(SERVER, socket="/run/redis.sock", db=2)),
        (
            "redis+sentinel://a:26379,b/mymaster",
            RedisAddress(SENTINELS, (("a", 26379), ("b", 26379)), service="mymaster"),
        ),
        (
            "rediss+sentinel://u:p@a:1/mymaster/2",
            RedisAddress(
                SENTINELS, (("a", 1),), tls=True, service="mymaster", db=2, username="u", password="p"
            ),
        ),
        ("redis+cluster://a:7000,b", RedisAddress(CLUSTER, (("a", 7000), ("b", 6379)))),
        ("rediss+cluster://a", RedisAddress(CLUSTER, (("a", 6379),), tls=True)),
    ],
)
def test_a_url_says_what_is_where(url: str, expected: RedisAddress) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://h", "redis://host:6379/0"),
        ("redis://", "has no host"),
        ("redis://h:port", "has no host"),
        ("redis://h:70000", "has no host"),
        ("redis://a,b", "several hosts"),
        ("redis://h/one", "number of a database"),
        ("redis://h?ssl_cert_reqs=none", "redis.tls"),
        ("redis+sentinel://h:1", "mymaster"),
        ("redis+cluster://h/1", "only the first"),
        ("unix://run/redis.sock", "three slashes"),
    ],
)
def test_a_wrong_url_is_refused_with_what_would_be_right(url: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url") as caught:
        load(None, {}, [f"redis.url={url}"])
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("sets", "fault"),
    [
        (["redis.tls.insecure=true"], "redis.tls"),
        (["redis.url=rediss://h", "redis.tls.cert_file=c"], "redis.tls.key_file"),
        (["redis.username_file=u"], "redis.password_file"),
        (["redis.sentinel.password_file=p"], "redis.sentinel"),
    ],
)
def test_keys_that_do_nothing_or_not_enough_are_faults(sets: list[str], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, sets)
    (line,) = caught.value.faults
    assert line.startswith(fault)


def test_a_password_is_in_no_representation() -> None:
    assert "hunter2" not in repr(parse("redis://u:hunter2@h"))
    assert parse(Settings().redis.url).topology is SERVER
