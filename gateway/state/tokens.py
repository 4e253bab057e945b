"""Which tokens were issued and which revoked, shared by all replicas: two hashes, id → a line of text.

The texts are whoever asks's business; one that is no UTF-8 is handed on as a text that nobody can read. Both hashes
live as long as the entry that is needed longest, and on one shard.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.state.client import Client

PATIENCE: Final = 1.0
"""Seconds for one call. No sender waits for it."""
SPARE: Final = 3600
"""Seconds for which an entry is kept beyond its need, for clocks that differ."""


class TokenHashes:
    """Two hashes in Redis. Every method may raise `StoreError`."""

    def __init__(self, client: Client, prefix: str, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` is the time of the world, in seconds."""
        self._client = client
        self._revoked = f"{prefix}{{tokens}}:revoked"
        self._issued = f"{prefix}{{tokens}}:issued"
        self._wall = wall

    async def revoked(self) -> Mapping[str, str]:
        return await self._all(self._revoked)

    async def revoke(self, entries: Mapping[str, str], *, until: float) -> None:
        await self._add(self._revoked, entries, until)

    async def issued(self) -> Mapping[str, str]:
        return await self._all(self._issued)

    async def note_issued(self, entries: Mapping[str, str], *, until: float) -> None:
        await self._add(self._issued, entries, until)

    async def forget(self, ids: Sequence[str]) -> None:
        if ids:
            await self._command("HDEL", self._revoked, *ids)
            await self._command("HDEL", self._issued, *ids)

    async def _all(self, key: str) -> Mapping[str, str]:
        reply = await self._command("HGETALL", key)
        # RESP 2 tells a hash as a flat list; the library may have made a mapping of it.
        pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
        return {_text(field): _text(value) for field, value in pairs}

    async def _add(self, key: str, entries: Mapping[str, str], until: float) -> None:
        fields = [word for pair in entries.items() for word in pair]
        await self._command("HSET", key, *fields)
        # Two who do this at once may set the shorter life; who keeps the list adds again what is missing.
        life = max(int(await self._command("TTL", key)), math.ceil(until - self._wall()) + SPARE)
        await self._command("EXPIRE", key, life)

    async def _command(self, *arguments: str | int) -> Any:
        return await self._client.command(*arguments, timeout=PATIENCE)


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
