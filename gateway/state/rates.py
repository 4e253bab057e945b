"""The windows of rate limits that all replicas share: who took how much, and when.

They are on one shard, so that one call can take from several of them, or from none.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from gateway.errors import StoreUnsure
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.replies import Reply

SHARD = 0
"""The shard that has the windows."""


class RateReply(msgspec.Struct, frozen=True, array_like=True):
    """What the script says; see there."""

    sound: bool
    taken: list[bool]
    others: list[list[int]]


class RateWindows:
    """Windows in each of which `most` may be taken within any `span` seconds, over all replicas."""

    def __init__(self, client: Client, keys: Keys, *, most: int, span: float) -> None:
        self._client = client
        self._keys = keys
        self._most = most
        self._span = round(span * 1000)
        self._replica = secrets.token_hex(6)
        self._reply = Reply(RateReply)
        self._encode = msgspec.msgpack.Encoder().encode

    async def take(
        self, names: Sequence[str], logs: Sequence[Sequence[int]], checks: Sequence[Sequence[int]]
    ) -> tuple[Sequence[bool], Sequence[Sequence[int]]]:
        """Each check names windows by their place in `names`, and takes one from all of them or from none.

        `logs` says for each window what this process took within the span, before this call: age in ms, how much, age
        in ms, how much, and so on. Returns which checks took, and the same for what the other replicas took. Raises
        `StoreRefused` or `StoreUnsure`.
        """
        numbers = [[place + 1 for place in check] for check in checks]  # Lua counts from 1
        reply = self._reply.decode(
            await self._client.script(
                "rate",
                (self._keys.queue(SHARD), *(self._keys.rate(SHARD, name) for name in names)),
                self._replica,
                self._encode((self._span, self._most, logs, numbers)),
            )
        )
        if not reply.sound:
            raise StoreUnsure("a rate limit's window in Redis could not be read", kind="corrupt")
        if len(reply.taken) != len(checks) or len(reply.others) != len(names):
            raise StoreUnsure("the answer of Redis is about something else", kind="response")
        return reply.taken, reply.others
