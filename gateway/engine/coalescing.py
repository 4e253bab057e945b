"""One call in flight, everything that arrives meanwhile shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Coalescer(Generic[Item]):
    """Hands items to `call` in batches of at most `most`, one batch at a time.

    Under load batches grow by themselves to what one round trip takes; without load an item waits for nothing but the
    `linger` seconds that each batch gives others to join it.
    """

    def __init__(
        self, call: Callable[[list[Item]], Awaitable[None]], *, most: int, linger: float = 0.0
    ) -> None:
        self._call = call
        self._most = most
        self._linger = linger
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> None:
        """Returns when the call that took the item has; raises what that call raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="coalescer")
        await future

    async def _run(self) -> None:
        while self._waiting:
            if self._linger and len(self._waiting) < self._most:
                await asyncio.sleep(self._linger)
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                await self._call([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - it belongs to the submitters, each of whom gets it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            except BaseException:
                for _, future in batch:
                    future.cancel()
                raise
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)
