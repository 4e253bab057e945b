"""A call to the Kubernetes API that fails on purpose, as one fails in earnest.

    timeout     no answer until the call's time is over
    error       500
    latency     the answer comes later
    jitter      … by up to so much
    429         throttled, with `Retry-After`
    conflict    409: the object has been modified (of updates and deletions)

Of the first two, one half are performed: nobody can tell which, as with a real one. An answer that is made up goes
through the same translation as one of the API server's own. Watches are left alone: a call in minutes each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from gateway.errors import KubeError
from gateway.kube.answers import translate
from gateway.kube.observing import Verb
from gateway.resilience.faults import Blow, FaultMode

RETRY_AFTER: Final = 1
"""Seconds."""
_NO_VERSION: Final = frozenset({FaultMode.CONFLICT})
_NOTHING: Final[frozenset[FaultMode]] = frozenset()
_ANSWERS: Final[dict[FaultMode, tuple[int, dict[str, Any]]]] = {
    FaultMode.ERROR: (500, {"reason": "InternalError", "message": "an injected fault"}),
    FaultMode.THROTTLED: (
        429,
        {"reason": "TooManyRequests", "message": "an injected fault: too many requests"},
    ),
    FaultMode.CONFLICT: (
        409,
        {"reason": "Conflict", "message": "an injected fault: the object has been modified"},
    ),
}


def spared(verb: Verb) -> frozenset[FaultMode]:
    """What a call with this verb cannot meet: without a version of an object there is no conflict over it."""
    return _NOTHING if verb in (Verb.PATCH, Verb.DELETE) else _NO_VERSION


async def spoil(
    blow: Blow, perform: Callable[[], Awaitable[bytes]], answered: Callable[[int], None], seconds: float
) -> bytes:
    """`perform` the call as the blow has it, within `seconds`; `answered` is told the status of a made-up answer,
    0 where there is none.

    Raises `KubeError`, and `TimeoutError` past `seconds`.
    """
    async with asyncio.timeout(seconds):
        if blow.mode in (FaultMode.TIMEOUT, FaultMode.ERROR) and blow.performed:
            with contextlib.suppress(KubeError):  # whatever the answer was, nobody hears it
                await perform()
        if blow.mode is FaultMode.TIMEOUT:
            answered(0)
            await asyncio.get_running_loop().create_future()
        if blow.mode in _ANSWERS:
            await asyncio.sleep(blow.delay)
            status, said = _ANSWERS[blow.mode]
            answered(status)
            body = msgspec.json.encode({"kind": "Status", "status": "Failure", "code": status, **said})
            headers = {"Retry-After": str(RETRY_AFTER)} if blow.mode is FaultMode.THROTTLED else {}
            raise translate(status, body, headers)
        reply = await perform()
        await asyncio.sleep(blow.delay)
        return reply
