"""Names of keys. Everything about a group lives on one shard, so that one script call about it is atomic.

The hash tag `{n}` is the shard's number: in a Redis Cluster all keys of a shard are on one node.
"""

from __future__ import annotations

import zlib


class Keys:
    """The keys of one deployment: `prefix` before all but the buffers', which have one of their own."""

    def __init__(self, prefix: str, shards: int, buffer_prefix: str = "") -> None:
        self._shards = shards
        self._buffers = [f"{buffer_prefix}alert:buffer:{{{n}}}:" for n in range(shards)]
        self._roots = [f"{prefix}{{{n}}}:" for n in range(shards)]
        self._records = [f"{root}r:" for root in self._roots]

    @property
    def shards(self) -> int:
        return self._shards

    def shard(self, group: str) -> int:
        """The shard of a storm group, and so of every fingerprint in it."""
        return zlib.crc32(group.encode("utf-8", "surrogatepass")) % self._shards if self._shards > 1 else 0

    def root(self, shard: int) -> str:
        """Before every key of the shard but the buffers'."""
        return self._roots[shard]

    def buffers(self, shard: int) -> str:
        """Before the key of every buffer of the shard: a group's `<namespace>:<alertname>` follows."""
        return self._buffers[shard]

    def window(self, shard: int, window: str) -> str:
        return f"{self._roots[shard]}w:{window}"

    def queue(self, shard: int) -> str:
        """The work queue: a sorted set, fingerprint or `w:<window>` → due time in ms."""
        return f"{self._roots[shard]}queue"

    def notes(self, shard: int) -> str:
        return f"{self._roots[shard]}notes"

    def sentinel(self, shard: int) -> str:
        """Vanishes with the shard's data; its value tells one life of the data from the next."""
        return f"{self._roots[shard]}sentinel"

    def dead(self, shard: int) -> str:
        return f"{self._roots[shard]}dead"

    def rate(self, shard: int, name: str) -> str:
        """A window of a rate limit."""
        return f"{self._roots[shard]}rate:{name}"

    def probe(self, shard: int) -> str:
        """Nobody ever writes it: to ask whether the shard's server takes writes."""
        return f"{self._roots[shard]}probe"

    def record_prefix(self, shard: int) -> str:
        return self._records[shard]

    def record(self, shard: int, fingerprint: str) -> str:
        return self._records[shard] + fingerprint
