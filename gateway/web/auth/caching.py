"""What was found out about a credential, for a short while.

The credential itself is not kept: the key is a hash of it, keyed with a secret of this process, so that a dump of the
memory gives nothing to guess against.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Cache(Generic[Found]):
    """At most `size` findings, each for `seconds`; the one that was used longest ago makes room."""

    def __init__(self, size: int, seconds: float, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._size = size
        self._seconds = seconds
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[float, Found]] = OrderedDict()

    def key(self, credential: str) -> bytes:
        """Under what a credential's finding is kept."""
        text = credential.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def get(self, key: bytes) -> Found | None:
        """What is known, if it is not too old."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, key: bytes, found: Found) -> None:
        """Keep a finding from now on."""
        self._kept[key] = (self._clock() + self._seconds, found)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
