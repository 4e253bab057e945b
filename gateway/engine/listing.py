"""Fresh lists by fingerprint: what is stored now, and not what the watch has shown so far.

A list, like a 404, shows that an object is gone, but not what it counted in the end. Only the event of its deletion
does, and without that the next request could count again what another replica counted last. So a deletion that was
noticed in another way waits a moment for its event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from gateway import errors
from gateway.engine.ports import Clock, Cluster
from gateway.kube.index import Index
from gateway.kube.stored import Stored
from gateway.model import RequestRef

LIST_BATCH = 50
"""Fingerprints that one list asks for; longer selectors make longer URLs."""

Places: TypeAlias = tuple[str, ...] | None
"""The namespaces to look in; None for all."""


PATIENCE = 2.0
"""Seconds for which a deletion waits for its event where a sender waits, too."""

QUEUE_PATIENCE = 8.0
"""… and where nobody does: less than a lease."""

DELETION_STEP = 0.05
"""Seconds between two looks whether the watch has told of a deletion."""


async def bury(index: Index, clock: Clock, ref: RequestRef, uid: str, *, patience: float) -> None:
    """Take note that an object is gone: as the watch tells it, or after `patience` seconds as it was known last."""
    deadline = clock.monotonic() + patience
    while clock.monotonic() < deadline:
        known = index.get(ref)
        if known is None or known.uid != uid:
            return
        await asyncio.sleep(DELETION_STEP)
    index.remove(ref, uid, clock.monotonic())


class Lists:
    """Fresh lists by fingerprint, one for everything that waits, with the index caught up to each."""

    def __init__(self, index: Index, cluster: Cluster, clock: Clock) -> None:
        self._index = index
        self._cluster = cluster
        self._clock = clock
        self._waiting: dict[Places, dict[str, list[asyncio.Future[None]]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def refresh(self, fingerprint: str, places: Places) -> None:
        """Returns when the index knows what a list begun after this call shows. Raises `KubeError`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(places, {}).setdefault(fingerprint, []).append(future)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="lists")
        await future

    async def _run(self) -> None:
        while self._waiting:
            places, asked = next(iter(self._waiting.items()))
            batch = {fingerprint: asked.pop(fingerprint) for fingerprint in list(asked)[:LIST_BATCH]}
            if not asked:
                del self._waiting[places]
            futures = [future for waiting in batch.values() for future in waiting]
            try:
                await self._catch_up(list(batch), places)
            except errors.KubeError as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
            else:
                for future in futures:
                    if not future.done():
                        future.set_result(None)

    async def _catch_up(self, fingerprints: Sequence[str], places: Places) -> None:
        before = [stored for fingerprint in fingerprints for stored in self._index.requests(fingerprint)]
        heads = await self._cluster.heads(fingerprints, namespaces=places)
        listed = {head.uid for head in heads}
        stale = [(stored.ref, stored.uid) for stored in before if stored.uid not in listed]
        for head in heads:
            known = self._index.get(head.ref)
            if known is None or known.uid != head.uid or known.resource_version < head.resource_version:
                stale.append((head.ref, head.uid))
        # What is known and not listed was deleted, or somebody took its label away.
        await asyncio.gather(*(self._fetch(ref, uid) for ref, uid in stale))

    async def _fetch(self, ref: RequestRef, uid: str) -> None:
        try:
            stored: Stored = await self._cluster.get(ref)
        except errors.KubeNotFound:
            await bury(self._index, self._clock, ref, uid, patience=PATIENCE)
        else:
            self._index.apply(stored)
