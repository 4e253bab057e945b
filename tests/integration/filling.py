"""Another client of the gateway's Redis, which fills it."""

from __future__ import annotations

import contextlib

import redis

ROOM = 300_000
"""Bytes that a full Redis was given beyond what it needs empty."""


class Filler:
    """Bounds a Redis, and takes the rest of its memory."""

    def __init__(self, client: redis.Redis, policy: str) -> None:
        self._client = client
        self._number = 0
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + ROOM)

    def fill(self) -> None:
        """Until Redis takes no more, or throws away as much as it gets."""
        with contextlib.suppress(redis.OutOfMemoryError):
            for _ in range(2000):
                self._number += 1
                self._client.set(f"other:{self._number}", "x" * 500)
        with contextlib.suppress(redis.OutOfMemoryError):
            for _ in range(200):  # and the last bytes
                self._number += 1
                self._client.set(f"o:{self._number}", "")

    def full(self) -> bool:
        """Whether Redis takes no more, but for the little that came free since it was filled last."""
        try:
            for _ in range(ROOM // 5000):  # a tenth of it
                self._number += 1
                self._client.set(f"other:{self._number}", "x" * 500)
        except redis.OutOfMemoryError:
            return True
        return False

    def stop(self) -> None:
        """There is memory again."""
        self._client.config_set("maxmemory", 0)
