"""A call to Redis that fails on purpose, as one fails in earnest.

    timeout    no answer until the caller's time is over: the connection is silent
    error      the connection breaks before the answer
    latency    the answer comes later
    jitter     … by up to so much
    oom        refused as a full Redis refuses it: what stores something new

Of the first two, one half are performed: nobody can tell which, as with a real one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis import exceptions as redis_errors

from gateway.resilience.faults import Blow, FaultMode
from gateway.state.scripting import Scripts

STORES_NOTHING: Final = frozenset({FaultMode.OOM})
"""What calls do not meet that pass on a full Redis."""
_FULL: Final = "command not allowed when used memory > 'maxmemory'."


def spared_by(script: str) -> frozenset[FaultMode]:
    """What a call of this script cannot meet."""
    return frozenset() if script in Scripts.REFUSED_WITHOUT_MEMORY else STORES_NOTHING


async def spoil(blow: Blow, perform: Callable[[], Awaitable[Any]], sent: Callable[[], None]) -> Any:
    """`perform` the call as the blow has it. `sent` is told once the call counts as sent. Raises the library's errors;
    may wait for ever: the caller sets the limit.
    """
    if blow.mode is FaultMode.OOM:
        sent()
        await asyncio.sleep(blow.delay)
        raise redis_errors.OutOfMemoryError(_FULL)
    if blow.mode in (FaultMode.TIMEOUT, FaultMode.ERROR):
        if blow.performed:
            with contextlib.suppress(redis_errors.RedisError):  # whatever the answer was, nobody hears it
                await perform()
        sent()
        if blow.mode is FaultMode.TIMEOUT:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(blow.delay)
        raise redis_errors.ConnectionError("an injected fault broke it")
    reply = await perform()
    await asyncio.sleep(blow.delay)
    return reply
