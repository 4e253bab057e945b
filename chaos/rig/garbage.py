"""Garbage in the place of Redis's keys: another type, text that is none, numbers that nobody wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

JUNK = b"\xff\xfe\x00 no text, no number"

Spoil = Callable[[redis.Redis, bytes], None]
"""Spoils one key; the client must not decode answers."""


def another_type(client: redis.Redis, key: bytes) -> None:
    with client.pipeline() as both:  # in one, or the key is there again in between
        both.delete(key)
        both.rpush(key, JUNK)
        both.execute()


def a_string(client: redis.Redis, key: bytes) -> None:
    client.set(key, JUNK)


def nothing(client: redis.Redis, key: bytes) -> None:
    client.delete(key)


def junk_within(client: redis.Redis, key: bytes) -> None:
    """The right type, with what nobody wrote."""
    kind: Any = client.type(key)
    match kind:
        case b"hash":
            fields: Any = client.hkeys(key)
            for field in fields:
                client.hset(key, field, JUNK)
            client.hset(key, JUNK, JUNK)
        case b"zset":
            client.zadd(key, {JUNK: 0, b"w:none": 0, b"e" * 64: 0})
        case _:
            client.set(key, JUNK)


def endless_numbers(client: redis.Redis, key: bytes) -> None:
    kind: Any = client.type(key)
    match kind:
        case b"hash":
            fields: Any = client.hkeys(key)
            for field in fields:
                client.hset(key, field, "9e99")
        case b"zset":
            client.zadd(key, {b"f" * 64: "+inf"})
        case _:
            client.set(key, "9e99")


WAYS: tuple[Spoil, ...] = (another_type, a_string, nothing, junk_within, endless_numbers)
