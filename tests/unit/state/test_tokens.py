from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from chaos.rig.redis_server import RedisServer
from gateway.errors import StoreError
from gateway.state.client import Client
from gateway.state.tokens import TokenHashes


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Client]:
    client = Client(redis_server.url, timeout=10.0, pool_size=2)
    yield client
    await client.close()


async def test_what_was_revoked_or_issued_is_there_until_nobody_needs_it(client: Client) -> None:
    tokens = TokenHashes(client, "t1:")
    later = time.time() + 1000
    await tokens.revoke({"a": "1 2", "b": "3 4"}, until=later)
    await tokens.revoke({"c": "5 6"}, until=time.time() - 5)
    await tokens.note_issued({"a": "1 2 me"}, until=later)
    assert await tokens.revoked() == {"a": "1 2", "b": "3 4", "c": "5 6"}
    assert await tokens.issued() == {"a": "1 2 me"}
    assert 1000 <= await client.command("TTL", "t1:{tokens}:revoked") <= 1000 + 3600
    await tokens.forget(["a", "b"])
    assert await tokens.revoked() == {"c": "5 6"}
    assert await tokens.issued() == {}


async def test_bytes_that_are_no_text_are_handed_on_as_something_unreadable(client: Client) -> None:
    tokens = TokenHashes(client, "t2:")
    await client.command("HSET", "t2:{tokens}:revoked", "a", b"\xff\xfe")
    assert await tokens.revoked() == {"a": "\ufffd\ufffd"}


async def test_a_key_of_another_type_is_an_error_and_no_empty_list(client: Client) -> None:
    await client.command("SET", "t3:{tokens}:revoked", "x")
    with pytest.raises(StoreError):
        await TokenHashes(client, "t3:").revoked()
