"""Looking for the servers of Redis in the background: who leads now, who has which part of the keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from redis import exceptions as redis_errors

from gateway.errors import StoreError, StoreRefused
from gateway.state.answers import translate

PAUSE = 0.2
"""Seconds between two searches at least."""

LONGEST = 3.0
"""Seconds after which a search is given up."""


class Search:
    """One search at a time. Who needs its result waits no longer than the call may take; the search goes on."""

    def __init__(
        self, look: Callable[[], Awaitable[None]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`look` stores what it finds itself; it may raise anything that the library or the network raises."""
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._failure: StoreError | None = None
        self._stopped = False

    def start(self) -> None:
        """Look again, unless that is being done or was done a moment ago."""
        if not self._stopped and self._task is None and self._clock() >= self._not_before:
            self._task = asyncio.create_task(self._run(), name="find-redis")

    async def found(self) -> None:
        """Wait for the end of a search, started if need be. Raises `StoreRefused` where it was in vain."""
        self.start()
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._failure is not None:
            raise StoreRefused(str(self._failure), kind=self._failure.kind)

    async def stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                await self._look()
            self._failure = None
        except (redis_errors.RedisError, OSError, TimeoutError, StoreError) as error:
            self._failure = translate(error, sent=False)
        finally:
            self._not_before = self._clock() + PAUSE
            self._task = None
