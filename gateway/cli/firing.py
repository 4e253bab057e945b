"""What fires in an Alertmanager against the open requests: the comparison of `gateway audit --alertmanager`, pure.

Unlike the audit of counts, this one computes fingerprints, by the same rules as the gateway: what it asks is whether
each problem that fires has its request, and which problem an alert is about is the gateway's decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from gateway.cli.alertmanager import Firing
from gateway.cli.holdings import Request
from gateway.intake.payload import decode
from gateway.intake.reading import Intake, Rejected
from gateway.model import Outcome


class State(StrEnum):
    """What can be said of an alert that fires, the first that applies."""

    TWICE = "held twice"
    """More than one open request holds it."""
    HELD = "held"
    INVALID = "invalid"
    """The gateway cannot take it: it never becomes a request."""
    DENIED = "denied"
    """The gateway's policy does not take it."""
    SUPPRESSED = "suppressed"
    """Silenced, inhibited or muted: the gateway is not told of it."""
    PENDING = "pending"
    """It fires for a short time only: it may still wait for its group, or in a window."""
    MISSING = "missing"


FINDINGS = frozenset({State.MISSING, State.INVALID, State.TWICE})
"""What needs somebody's attention."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the comparison."""

    grace: float = 120.0
    """Seconds from an alert's start in which it needs no request yet."""
    receivers: frozenset[str] = frozenset()
    """Only alerts of these are looked at; empty: of all."""
    include: frozenset[str] = frozenset()
    """Kinds of suppressed alerts that need a request all the same; see `Firing.suppressed`."""
    identity: str = ""
    source: str = ""
    """As whom Alertmanager is authenticated, and from where it comes: for the policy's rules."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement on one alert."""

    alert: Firing
    fingerprint: str
    """Empty for an invalid one."""
    state: State
    requests: tuple[str, ...] = ()
    """The open requests that hold it."""
    detail: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement on all of them."""

    verdicts: tuple[Verdict, ...]
    """Findings first, then by labels."""
    stale: tuple[Request, ...]
    """Open requests of the gateway whose problem fires nowhere in that Alertmanager."""
    unreadable: tuple[Request, ...]
    """Open requests of the gateway that do not tell what they hold."""

    @property
    def clean(self) -> bool:
        """Whether everything that fires has its one open request, or needs none (yet)."""
        return not any(verdict.state in FINDINGS for verdict in self.verdicts)

    def total(self, state: State) -> int:
        return sum(verdict.state is state for verdict in self.verdicts)


def compare(
    alerts: Sequence[Firing],
    requests: Sequence[Request],
    intake: Intake,
    question: Question,
    *,
    now: datetime,
) -> Comparison:
    """Judge each alert, and find the open requests that none of them is about.

    Read the requests after the alerts, so that what was written in between is seen.
    """
    ours = [request for request in requests if request.ours]
    holding: dict[str, list[Request]] = defaultdict(list)
    for request in ours:
        for fingerprint in request.occurrences:
            holding[fingerprint].append(request)
    verdicts = []
    firing = set()
    for alert, (fingerprint, rejected) in zip(alerts, _read(alerts, intake, question, now), strict=True):
        if fingerprint:
            firing.add(fingerprint)
        if not question.receivers or question.receivers & set(alert.receivers):
            held = holding.get(fingerprint, [])
            verdicts.append(_verdict(alert, fingerprint, rejected, held, question, now))
    is_open = [request for request in ours if request.open]
    return Comparison(
        verdicts=tuple(sorted(verdicts, key=_order)),
        stale=tuple(
            request
            for request in sorted(is_open, key=lambda request: request.name)
            if request.occurrences and not firing & set(request.occurrences)
        ),
        unreadable=tuple(request for request in is_open if not request.occurrences),
    )


def _read(
    alerts: Sequence[Firing], intake: Intake, question: Question, now: datetime
) -> list[tuple[str, Rejected | None]]:
    """Return the fingerprint of each alert, and why the gateway would not take it, if so.

    The webhook that Alertmanager makes of an alert has the same labels, annotations and start.
    """
    body = msgspec.json.encode(
        {
            "alerts": [
                {
                    "status": "firing",
                    "labels": alert.labels,
                    "annotations": alert.annotations,
                    "startsAt": alert.starts_at,
                }
                for alert in alerts
            ]
        }
    )
    readings = intake.read(
        decode(body),
        received_at=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
        identity=question.identity,
        source=question.source,
    )
    return [
        (reading.fingerprint or "", reading) if isinstance(reading, Rejected) else (reading.fingerprint, None)
        for reading in readings
    ]


def _verdict(
    alert: Firing,
    fingerprint: str,
    rejected: Rejected | None,
    held: Sequence[Request],
    question: Question,
    now: datetime,
) -> Verdict:
    names = tuple(request.name for request in held if request.holds(fingerprint))
    detail = ""
    if names:
        state = State.HELD if len(names) == 1 else State.TWICE
    elif rejected is not None:
        state = State.INVALID if rejected.outcome is Outcome.INVALID else State.DENIED
        detail = rejected.detail.partition(": ")[2] if state is State.INVALID else rejected.detail
    elif reasons := [reason for reason in alert.suppressed if reason not in question.include]:
        state, detail = State.SUPPRESSED, ", ".join(reasons)
    elif alert.unprocessed or _began_within(alert.starts_at, question.grace, now):
        state = State.PENDING
    else:
        state = State.MISSING
        closed = [f"{request.name} ({request.phase or 'deleted'})" for request in held]
        detail = f"closed: {', '.join(closed)}" if closed else ""
    return Verdict(alert=alert, fingerprint=fingerprint, state=state, requests=names, detail=detail)


def _began_within(starts_at: str, seconds: float, now: datetime) -> bool:
    """Whether it is at most so long ago. Its `updatedAt` says nothing: Prometheus sends each alert every minute."""
    try:
        began = datetime.fromisoformat(starts_at)
    except ValueError:
        return False
    if began.tzinfo is None:
        began = began.replace(tzinfo=UTC)
    return now - began < timedelta(seconds=seconds)


_RANK: Mapping[State, int] = {
    state: rank
    for rank, state in enumerate(
        (
            State.MISSING,
            State.TWICE,
            State.INVALID,
            State.PENDING,
            State.DENIED,
            State.SUPPRESSED,
            State.HELD,
        )
    )
}


def _order(verdict: Verdict) -> tuple[int, Collection[tuple[str, str]]]:
    return _RANK[verdict.state], sorted(verdict.alert.labels.items())
