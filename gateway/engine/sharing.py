"""Writes that are shared: whoever waits for the same place while one write is under way goes with the next one.

None is refused for another: what can never be stored together is tried again one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from gateway import errors


class Fingerprinted(Protocol):
    """What is to be written for one fingerprint."""

    @property
    def fingerprint(self) -> str: ...


PartT = TypeVar("PartT", bound=Fingerprinted)
Together = Callable[[str, Sequence[PartT]], Awaitable[Mapping[str, errors.GatewayError]]]
"""Writes the parts of one place, one a fingerprint; returns what failed, by fingerprint, or raises for all of them."""


class SharedWrites(Generic[PartT]):
    """One write to a place at a time, with everything that waits for it."""

    def __init__(self, together: Together[PartT]) -> None:
        """`together` must not wait for a shared write: that may be the one it belongs to."""
        self._together = together
        self._waiting: dict[str, list[tuple[PartT, asyncio.Future[None]]]] = {}
        self._runners: dict[str, asyncio.Task[None]] = {}

    async def write(self, place: str, part: PartT) -> None:
        """Returns when the part is written. Raises what the write did, or what this part failed with."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, []).append((part, future))
        if place not in self._runners:
            self._runners[place] = asyncio.create_task(self._drain(place), name=f"write-{place}")
        await future

    async def _drain(self, place: str) -> None:
        try:
            while waiting := self._waiting.pop(place, None):
                batch: dict[str, tuple[PartT, asyncio.Future[None]]] = {}
                for part, future in waiting:
                    if part.fingerprint in batch:
                        self._waiting.setdefault(place, []).append((part, future))
                    else:
                        batch[part.fingerprint] = (part, future)
                await self._write_all(place, batch)
        finally:
            del self._runners[place]

    async def _write_all(self, place: str, batch: Mapping[str, tuple[PartT, asyncio.Future[None]]]) -> None:
        error: BaseException | None = None
        failed: Mapping[str, errors.GatewayError] = {}
        try:
            failed = await self._together(place, [part for part, _ in batch.values()])
        except asyncio.CancelledError:
            for _, future in batch.values():
                future.cancel()
            raise
        except Exception as raised:  # noqa: BLE001 - it belongs to those who wait, each of whom gets it
            error = raised
        if isinstance(error, errors.KubeInvalid) and len(batch) > 1:
            # One of them, or that they are so many, may be all that was wrong: none is refused for the others.
            await self._write_each(place, batch)
            return
        for fingerprint, (_, future) in batch.items():
            problem = error or failed.get(fingerprint)
            if future.done():
                continue
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)

    async def _write_each(self, place: str, batch: Mapping[str, tuple[PartT, asyncio.Future[None]]]) -> None:
        try:
            for fingerprint, waiting in batch.items():
                await self._write_all(place, {fingerprint: waiting})
        except asyncio.CancelledError:
            for _, future in batch.values():
                future.cancel()
            raise
