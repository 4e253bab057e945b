"""A webhook that is answered badly on purpose, before or behind everything that the gateway really does with it.

    timeout    no answer: the connection is cut when the request's time is over; one half are taken before
    error      503 with `Retry-After`, and nothing is taken
    latency    taken later, and answered then
    jitter     … by up to so much

Only webhooks that passed authentication get here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from gateway.errors import GatewayError
from gateway.resilience.faults import FaultMode, FaultPoint
from gateway.web.problems import Problem, Reason, try_again
from gateway.web.routes import Call, Handler, Reply

TURNS: Final = 10
"""Turns of the event loop in which a connection that was cut is gone."""


class Spoiler:
    """The handler of webhooks, as far as no fault is injected."""

    def __init__(self, handler: Handler, point: FaultPoint) -> None:
        self._handler = handler
        self._point = point

    async def __call__(self, call: Call) -> Reply:
        blow = None if self._point.fault is None else self._point.strike()
        if blow is None:
            return await self._handler(call)
        if blow.mode is FaultMode.ERROR:
            await asyncio.sleep(blow.delay)
            raise try_again(Reason.INJECTED, "a fault is injected, for a rehearsal")
        if blow.mode is FaultMode.TIMEOUT:
            if blow.performed:
                with contextlib.suppress(Problem, GatewayError):  # whatever the answer was, nobody hears it
                    await self._handler(call)
            return await _silence(call)
        await asyncio.sleep(blow.delay)
        return await self._handler(call)


async def _silence(call: Call) -> Reply:
    """No answer, until the shell's deadline ends it; then the sender's connection is gone."""
    never: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    try:
        return await never
    finally:
        if call.request.transport is not None:
            call.request.transport.abort()
        for _ in range(TURNS):
            if call.request.transport is None:
                break
            await asyncio.sleep(0)
