"""`/v1/admin/chaos`: faults are injected, listed and ended, by those who may.

    POST                 {"target": "redis", "mode": "timeout", "pct": 30, "ttl": "5m"} → 201
    GET                  → 200, what acts now
    DELETE …/{target}    → 200, what was ended; 404 where nothing was injected

The routes are there only with `chaos.enabled`. Besides the door that every request passes, they ask for an identity in
`chaos.admins`; without authentication, which is possible on loopback only, whoever reaches the port may.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs

from gateway.config.quantities import parse_duration, render_duration
from gateway.resilience.faults import (
    DELAYED,
    LONGEST_DELAY,
    LONGEST_TTL,
    MODES,
    Active,
    Fault,
    FaultMode,
    FaultPoints,
    FaultTarget,
)
from gateway.web.api.rehearsing import END, INJECT, SHOW
from gateway.web.body import BodyReader
from gateway.web.injections import ActiveFault, Faults, Injection
from gateway.web.problems import Problem, Reason
from gateway.web.routes import Call, Reply, Route
from gateway.web.text import to_json

PATH: Final = "/v1/admin/chaos"

_TARGETS: Final = ", ".join(FaultTarget)
_MODES: Final = ", ".join(FaultMode)

log = structlog.get_logger(__name__)


class Chaos:
    """The handlers."""

    def __init__(self, points: FaultPoints, body: BodyReader, admins: Collection[str]) -> None:
        """`admins` are identities; that of a sender without authentication is empty."""
        self._points = points
        self._body = body
        self._admins = frozenset(admins)

    async def inject(self, call: Call) -> Reply:
        """POST."""
        self._authorize(call)
        if hdrs.CONTENT_TYPE not in call.request.headers:
            # A web page can have its visitor's browser post without one, to loopback too.
            raise Problem(415, Reason.MEDIA_TYPE, "the body must be JSON (Content-Type: application/json)")
        fault = _fault(_decoded(await self._body.read(call)), call.identity)
        self._points.points[fault.target].inject(fault)
        return Reply(to_json(_shown(Active(fault, fault.ttl, 0, 0))) + b"\n", 201)

    async def show(self, call: Call) -> Reply:
        """GET."""
        self._authorize(call)
        return Reply(to_json(Faults([_shown(one) for one in self._points.active()])) + b"\n")

    async def end(self, call: Call) -> Reply:
        """DELETE."""
        self._authorize(call)
        if call.parameter not in list(FaultTarget):
            raise Problem(404, Reason.NOT_FOUND, f"there is no such target; expected one of {_TARGETS}")
        ended = self._points.points[FaultTarget(call.parameter)].end()
        if ended is None:
            raise Problem(404, Reason.NOT_FOUND, f"no fault is injected into {call.parameter}")
        return Reply(to_json(_shown(ended)) + b"\n")

    def _authorize(self, call: Call) -> None:
        if call.identity not in self._admins:
            log.warning("fault injection refused", identity=call.identity)
            raise Problem(403, Reason.FORBIDDEN, "this identity is not among chaos.admins")


def chaos_routes(chaos: Chaos) -> list[Route]:
    """The paths of fault injection."""
    return [
        Route(PATH, {"GET": chaos.show, "POST": chaos.inject}, {"GET": SHOW, "POST": INJECT}),
        Route(f"{PATH}/{{target}}", {"DELETE": chaos.end}, {"DELETE": END}),
    ]


def _decoded(body: bytes) -> Injection:
    try:
        return msgspec.json.decode(body, type=Injection)
    except msgspec.ValidationError as error:
        raise _senseless(f"{error}; targets are {_TARGETS}; modes are {_MODES}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, Reason.MALFORMED_BODY, "the body is no JSON") from error


def _fault(wish: Injection, by: str) -> Fault:
    """Raises `Problem` where the wish makes no sense."""
    target, mode = wish.target, wish.mode
    if mode not in MODES[target]:
        known = ", ".join(MODES[target])
        raise _senseless(f"{target.value} does not fail with {mode.value}; expected one of {known}")
    if not 0 < wish.pct <= 100:
        raise _senseless("pct: expected more than 0 and at most 100")
    ttl = _duration("ttl", wish.ttl, LONGEST_TTL)
    if mode in DELAYED and wish.delay is None:
        raise _senseless(f"delay: {mode.value} needs it; expected a duration like 500ms")
    delay = 0.0 if wish.delay is None else _duration("delay", wish.delay, LONGEST_DELAY)
    return Fault(target=target, mode=mode, pct=wish.pct, ttl=ttl, delay=delay, by=by)


def _duration(name: str, text: str, longest: float) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise _senseless(f"{name}: {text[:40]!r} {error}") from None
    if not 0 < seconds <= longest:
        raise _senseless(f"{name}: expected more than 0 and at most {render_duration(longest)}")
    return seconds


def _senseless(detail: str) -> Problem:
    return Problem(422, Reason.UNPROCESSABLE, detail)


def _shown(active: Active) -> ActiveFault:
    fault = active.fault
    return ActiveFault(
        target=fault.target,
        mode=fault.mode,
        pct=fault.pct,
        delay=render_duration(fault.delay) if fault.delay else None,
        ttl=render_duration(fault.ttl),
        by=fault.by,
        remaining_seconds=round(active.remaining, 1),
        calls=active.calls,
        struck=active.struck,
    )
