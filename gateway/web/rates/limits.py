"""The rate limit as webhooks meet it: whose window is asked, and what who has had enough is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import hdrs, web

from gateway.config.settings import RateLimit as Rules
from gateway.telemetry.metrics import Metrics
from gateway.web.ports import SharedWindows
from gateway.web.problems import Problem, Reason, try_again
from gateway.web.rates.limiter import Full, Limiter
from gateway.web.routes import Call
from gateway.web.sources import network

ALERTMANAGER: Final = "Alertmanager/"
"""How the user agent of Alertmanager begins. It forgets what is answered 429, and tries again after a 503."""


class RateLimit:
    """Refuses webhooks beyond the limit. It is asked twice, and each time lets pass what the other one decides."""

    def __init__(self, rules: Rules, limiter: Limiter, metrics: Metrics) -> None:
        self._by = rules.by
        self._limiter = limiter
        self._refused = metrics.rate_limited[rules.by]

    async def admit_sender(self, call: Call) -> None:
        """Before the body is read: by identity or source. Raises `Problem`.

        A sender without a name is told from others by its address.
        """
        if self._by == "namespace":
            return
        if self._by == "identity" and call.identity:
            await self._admit(call, [f"identity:{call.identity}"])
        else:
            await self._admit(call, [f"source:{network(call.source)}"])

    async def admit_namespaces(self, call: Call, namespaces: Iterable[str]) -> None:
        """Before anything is taken: by the namespaces of the alerts that would be. Raises `Problem`.

        The whole webhook is refused where one of them is over its limit, and then counts for none: part of a webhook
        that is answered 2xx would never be sent again.
        """
        if self._by == "namespace":
            await self._admit(call, [f"namespace:{name}" for name in dict.fromkeys(namespaces)])

    async def _admit(self, call: Call, keys: list[str]) -> None:
        full = await self._limiter.take(keys)
        if full is not None:
            self._refused.inc()
            raise refusal(call.request, full)


def rate_limit(rules: Rules, shared: SharedWindows | None, metrics: Metrics) -> RateLimit | None:
    """What the configuration asks for; None where it asks for no limit."""
    if not rules.requests or shared is None:
        return None
    return RateLimit(rules, Limiter(most=rules.requests, span=rules.window, shared=shared), metrics)


def refusal(request: web.BaseRequest, full: Full) -> Problem:
    """429, but 503 for a sender that would drop its alerts then."""
    scope, _, name = full.key.partition(":")
    detail = (
        f"too many webhooks of the {scope} {name[:100]!r}" if name else f"too many webhooks without a {scope}"
    )
    problem = try_again(Reason.RATE_LIMITED, detail, after=full.wait)
    if request.headers.get(hdrs.USER_AGENT, "").startswith(ALERTMANAGER):
        return problem
    return Problem(429, Reason.RATE_LIMITED, detail, headers=problem.headers)
