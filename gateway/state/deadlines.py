"""A time limit for a call that measures Redis, and not this process.

A call has 10 ms by default. So short a limit is only fair if a reply that has already arrived when the timer fires
counts as in time. An event loop that was busy runs its overdue timers before it reads its sockets, so the timer gives
the loop a few more turns before it believes that nothing came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")

GRACE_TURNS = 3
"""Turns of the event loop between a timer that fires and the verdict that nothing came."""


async def in_time(call: Awaitable[_T], seconds: float) -> _T:
    """Await `call` for so long, plus a few turns of the loop in which a reply that has arrived can be read.

    Raises TimeoutError; the call is cancelled then, and its connection with it.
    """
    task = asyncio.ensure_future(call)
    limit = _Limit(task)
    timer = asyncio.get_running_loop().call_later(seconds, limit.fire)
    try:
        return await task
    except asyncio.CancelledError:
        if limit.expired and not _cancelled_from_outside():
            raise TimeoutError(f"no answer within {seconds * 1000:g} ms") from None
        task.cancel()
        raise
    finally:
        timer.cancel()


class _Limit:
    """What happens when the time is over. No function within `in_time`: one that names itself is a circle, which would
    keep every reply until the garbage collector comes.
    """

    __slots__ = ("_task", "_turns", "expired")

    def __init__(self, task: asyncio.Future[_T]) -> None:
        self._task = task
        self._turns = GRACE_TURNS
        self.expired = False

    def fire(self) -> None:
        if self._task.done():
            return
        if self._turns > 0:
            self._turns -= 1
            asyncio.get_running_loop().call_soon(self.fire)
            return
        self.expired = True
        self._task.cancel()


def _cancelled_from_outside() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
