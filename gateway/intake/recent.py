"""What the alerts of the last minutes were, by their bytes.

Alertmanager sends the whole group whenever one member changes, and every alert again after each interval: most of
what arrives was here before, to the byte. What was found out about it then (its fingerprint above all) is found out
again without decoding it.

Two dictionaries take turns: what is asked for moves to the young one, and when that is full it becomes the old one.
So a lookup costs one hash, memory has a bound, and what nobody sends any more is gone after two turns.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Known = TypeVar("Known")

MOST = 8192
"""Entries of each of the two dictionaries."""

LONGEST = 4096
"""Bytes of an alert up to which it is remembered; with `MOST` this bounds the memory."""


class Recent(Generic[Known]):
    """Remembers what was found out about recent alerts."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}

    def get(self, raw: bytes) -> Known | None:
        """What is remembered of these bytes."""
        known = self._young.get(raw)
        if known is None and (known := self._old.get(raw)) is not None:
            self.put(raw, known)
        return known

    def put(self, raw: bytes, known: Known) -> None:
        """Remember it; what is longer than `LONGEST` is not worth the memory."""
        if len(raw) > LONGEST:
            return
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[raw] = known

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
