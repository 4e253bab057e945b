"""Alertmanager's webhook: every alert of it is processed, and the answer says what became of each, in order.

    rate limit → body → decode → intake reads each alert → rate limit by namespace → engine makes them durable → answer

The code of the answer is all that Alertmanager acts upon: after a 2xx or a 4xx it forgets the notification,
after a 5xx it tries again. So 4xx is kept for what can never pass, and 503 for whatever may pass later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol, cast

import msgspec
import structlog

from gateway.intake.payload import Webhook, decode
from gateway.intake.reading import Reading, Rejected
from gateway.model import Outcome, Verdict
from gateway.telemetry.metrics import Metrics
from gateway.web.body import BodyReader
from gateway.web.ports import Engine
from gateway.web.problems import Problem, ProblemBody, Reason, try_again
from gateway.web.rates.limits import RateLimit
from gateway.web.routes import Call, Reply
from gateway.web.text import to_json

log = structlog.get_logger(__name__)

SHOWN: Final = 20
"""So many refused alerts an error tells about; all of them would be a long line in Alertmanager's log."""

# The usual outcome first: the count of most webhooks is complete after one look.
_ORDER: Final = (
    Outcome.DUPLICATE,
    Outcome.CREATED,
    Outcome.BUFFERED,
    Outcome.QUEUED,
    Outcome.RESOLVED,
    Outcome.DENIED,
    Outcome.INVALID,
)


class Intake(Protocol):
    """Validates, fingerprints, classifies and applies the policy; pure."""

    def read(
        self, webhook: Webhook, *, received_at: str, identity: str = "", source: str = ""
    ) -> Sequence[Reading | Rejected]:
        """Each alert as it is to be counted, or why not; in the order of the webhook."""


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """What became of each alert of a webhook. All that is not denied or invalid is durable."""

    status: Literal["accepted"]
    request_id: str
    """As in the header `X-Request-Id`, and in the gateway's log."""
    counts: dict[str, int]
    """How many alerts had which outcome, without those that no alert had."""
    alerts: Sequence[Verdict]
    """One for each alert, in the order of the webhook."""


class NothingTaken(ProblemBody, frozen=True, kw_only=True, rename="camel"):
    """No alert of the webhook was accepted."""

    counts: dict[str, int]
    """How many alerts had which outcome, without those that no alert had."""
    alerts: Sequence[Verdict]
    """What became of the first ones, in the order of the webhook."""


class WebhookHandler:
    """Handles `POST /v1/webhooks/prometheus`."""

    def __init__(
        self,
        *,
        intake: Callable[[], Intake],
        engine: Engine,
        body: BodyReader,
        metrics: Metrics,
        stamp: Callable[[], str],
        most: int,
        limit: RateLimit | None = None,
    ) -> None:
        """`intake` gives the one in force now, as its rules can be replaced; `stamp` the time of receipt; `most`
        webhooks are worked on at once.
        """
        self._most = most
        self._at_work = 0
        self._limit = limit
        self._intake = intake
        self._engine = engine
        self._body = body
        self._metrics = metrics
        self._stamp = stamp

    async def __call__(self, call: Call) -> Reply:
        received_at = self._stamp()
        if self._limit is not None:
            await self._limit.admit_sender(call)
        body = call.body = await self._body.read(call)
        if self._at_work >= self._most:
            raise try_again(Reason.OVERLOADED, "too many webhooks are being worked on at once")
        self._at_work += 1
        try:
            return await self._take(call, body, received_at)
        finally:
            self._at_work -= 1

    async def _take(self, call: Call, body: bytes, received_at: str) -> Reply:
        webhook = decode(body)
        results = self._intake().read(
            webhook, received_at=received_at, identity=call.identity, source=call.source
        )
        readings = cast("Sequence[Reading]", results)
        if Rejected in map(type, results):  # seldom, and this looks quickest
            readings = [result for result in results if not isinstance(result, Rejected)]
        verdicts: Sequence[Verdict] = ()
        if readings:
            if self._limit is not None:
                await self._limit.admit_namespaces(call, (reading.namespace for reading in readings))
            verdicts = await self._engine.accept(readings, body, received_at=received_at)
        if len(readings) < len(results):
            verdicts = _merged(results, verdicts)
        counts = count_outcomes(verdicts)
        taken = len(verdicts) - counts.get("invalid", 0) - counts.get("denied", 0)
        self._count(webhook, results, counts, taken)
        if verdicts and not taken:
            raise _nothing_taken(counts, verdicts)
        answer = Accepted("accepted", call.request_id, counts, verdicts)
        return Reply(to_json(answer), 201 if "created" in counts else 202)

    def _count(
        self, webhook: Webhook, results: Sequence[Reading | Rejected], counts: dict[str, int], taken: int
    ) -> None:
        """Count what was answered for good. After a 503 nothing is counted: the same alerts come again."""
        metrics = self._metrics
        metrics.alerts_received.inc(len(results))
        metrics.alerts_processed.inc(taken)
        if "resolved" in counts:
            metrics.alerts_resolved.inc(counts["resolved"])
        if taken < len(results):
            metrics.alerts_invalid.inc(counts.get("invalid", 0))
            for result in results:
                if isinstance(result, Rejected) and result.outcome is Outcome.DENIED:
                    metrics.policy_denials[result.reason].inc()
        if webhook.truncatedAlerts:
            metrics.alerts_truncated.inc(webhook.truncatedAlerts)
            log.warning(
                "the sender left out alerts for good; raise max_alerts of its receiver",
                truncated=int(webhook.truncatedAlerts),
                receiver=webhook.receiver,
            )


def count_outcomes(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many alerts had which outcome, without those that no alert had."""
    outcomes = [verdict.outcome for verdict in verdicts]
    missing = len(outcomes)
    counts: dict[str, int] = {}
    for outcome in _ORDER:
        if not missing:
            break
        number = outcomes.count(outcome)
        if number:
            counts[outcome.value] = number
            missing -= number
    return counts


def _merged(results: Sequence[Reading | Rejected], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The engine's verdicts and the refusals of intake, in the order of the webhook."""
    taken = iter(verdicts)
    return [
        Verdict(
            outcome=result.outcome,
            fingerprint=result.fingerprint,
            reason=result.reason,
            detail=result.detail,
        )
        if isinstance(result, Rejected)
        else next(taken)
        for result in results
    ]


def _nothing_taken(counts: dict[str, int], verdicts: Sequence[Verdict]) -> Problem:
    more: dict[str, Any] = {"counts": counts, "alerts": verdicts[:SHOWN]}
    if "denied" in counts:
        detail = "no alert was accepted; the policy denies them"
        return Problem(403, Reason.DENIED, detail, kind=NothingTaken, more=more)
    first = verdicts[0].detail or ""
    detail = f"no alert is valid; the first: {first}"
    return Problem(422, Reason.UNPROCESSABLE, detail, kind=NothingTaken, more=more)
