"""The Redis of the rig is real, private, and ends."""

from __future__ import annotations

import shutil

import pytest

from chaos.rig.redis_server import RedisServer, Source
from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartRedis

# The wheel is enough for everything; a redis-server on PATH is tried as well where there is one.
SOURCES: list[Source] = ["path", "wheel"] if shutil.which("redis-server") else ["wheel"]


def test_it_answers_and_starts_empty(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0
        client.set("left-by", "this test")


def test_the_next_test_finds_it_empty(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0
        client.set("left-by", "that test")


@pytest.mark.parametrize("source", SOURCES)
def test_the_program_can_be_chosen(start_redis: StartRedis, source: Source) -> None:
    server = start_redis(source=source, options={"maxmemory": "64mb"})
    with server.client() as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}
    server.terminate()
    assert not server.answers()


def test_a_restart_loses_the_data_unless_they_are_kept(start_redis: StartRedis) -> None:
    for keep in (False, True):
        server = start_redis(name=f"keep-{keep}", keep=keep)
        with server.client() as client:
            client.set("key", "value")
        server.restart()
        with server.client() as client:
            assert client.get("key") == ("value" if keep else None)


def test_a_paused_one_keeps_silent(start_redis: StartRedis) -> None:
    server = start_redis()
    server.pause()
    assert not server.answers()
    server.resume()
    wait_until(server.answers, "an answer again")
