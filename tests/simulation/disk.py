"""A disk with one journal on it: survives the process, loses what was not synced, and fails as the profile says."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Iterable
from typing import Any

from gateway.engine import entries
from gateway.engine.entries import HEADER, Entry, Kept

ENLARGED = 5000
"""A byte counts as so many, so that the journal begins anew within one schedule."""


class Disk:
    """What a journal asks of its file, and of the thread that writes it."""

    def __init__(self, rng: random.Random, fault: Callable[[], float]) -> None:
        """`fault` is the share of writes that fail, as of now."""
        self._rng = rng
        self._fault = fault
        self.content = b""
        self._synced = 0
        self.failures = 0

    @property
    def size(self) -> int:
        return len(self.content) * ENLARGED

    def open(self) -> Kept:
        return entries.read(self.content)

    def begin(self, kept: Iterable[Entry], *, in_place: bool = False) -> None:
        self._perhaps_full()
        self.content = HEADER + b"".join(map(entries.line, kept))
        self._synced = len(self.content)

    def append(self, added: Iterable[Entry]) -> None:
        text = b"".join(map(entries.line, added))
        try:
            self._perhaps_full()
        except OSError:
            self.content += text[: self._rng.randrange(len(text))]
            raise
        self.content += text
        self._sync()

    def close(self) -> None:
        """Nothing has to be let go."""

    def power_loss(self) -> None:
        """Of what was not synced, only a part is there, and it may end in the middle of a line."""
        self.content = self.content[: self._rng.randint(self._synced, len(self.content))]
        self._synced = len(self.content)

    def _sync(self) -> None:
        self._synced = len(self.content)

    def _perhaps_full(self) -> None:
        fault = self._fault()
        if fault and self._rng.random() < fault:
            self.failures += 1
            raise OSError(errno.ENOSPC, "full")


class Thread:
    """Runs the calls of one process on its disk; after its death, none."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.started = False
        self.dead = False

    async def __call__(self, call: Callable[[], Any], /) -> Any:
        if self.started:
            await asyncio.sleep(0.0005 + 0.003 * self._rng.random())
        if self.dead:
            raise OSError(errno.EIO, "the process is dead")
        return call()
