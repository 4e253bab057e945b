"""What the labels of the last minutes said, by their bytes.

Alertmanager sends the whole group whenever one member changes, and every alert again after each interval: the labels of
most of what arrives were here before, to the byte, whatever its annotations and times say now. What was found out about
them then (the fingerprint above all) is found out again without decoding them.

Two dictionaries take turns: what is asked for moves to the young one, and when that is full it becomes the old one.
So a lookup costs one hash, memory has a bound, and what nobody sends any more is gone after two turns.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Known = TypeVar("Known")

MOST = 32_768
"""Entries of each of the two dictionaries."""

LONGEST = 1024
"""Bytes of labels up to which they are remembered; with `MOST` this bounds the memory."""


class Recent(Generic[Known]):
    """Remembers what was found out about recent labels."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: dict[bytes, Known] = {}
        self._old: dict[bytes, Known] = {}

    def get(self, labels: bytes) -> Known | None:
        """What is remembered of these bytes."""
        known = self._young.get(labels)
        if known is None and (known := self._old.get(labels)) is not None:
            self.put(labels, known)
        return known

    def put(self, labels: bytes, known: Known) -> None:
        """Remember it; what is longer than `LONGEST` is not worth the memory."""
        if len(labels) > LONGEST:
            return
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[labels] = known

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
