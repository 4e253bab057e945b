"""Waiting for a condition, with a deadline and a reason: the only kind of waiting that tests do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, *, seconds: float = 30.0, every: float = 0.02) -> T:
    """Calls `condition` until it returns something true, and returns that.

    Raises `TimeoutError` naming `what` and the last value after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what} (last: {value!r})")
        time.sleep(every)


async def eventually(
    condition: Callable[[], T | Awaitable[T]], what: str, *, seconds: float = 30.0, every: float = 0.02
) -> T:
    """The same for a coroutine: `condition` may be plain or async; the event loop runs meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        value = await result if isinstance(result, Awaitable) else result
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what} (last: {value!r})")
        await asyncio.sleep(every)
