"""What an answer is: the one that was due, one that may become it when asked again, one that waited for a write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.load.mix import REFUSED, Kind
from chaos.load.proof.folder import Attempt
from chaos.load.retrying import is_final

WAITING = frozenset({"created", "queued", "mixed"})
"""Outcomes for which the answer waits until the request exists, or `server.ack_wait` is over."""


def accepted(one: Attempt) -> bool:
    """2xx."""
    return 200 <= one.status < 300


def due(one: Attempt) -> bool:
    """2xx, or the refusal that this webhook had to get: 401 for false credentials, `denied` for what policy denies."""
    refusal = REFUSED.get(one.kind)
    if refusal is None:
        return accepted(one)
    return one.status == refusal or (one.kind == Kind.DENIED and accepted(one) and one.outcome == "denied")


def retryable(one: Attempt) -> bool:
    """No answer or 5xx: a sender tries again."""
    return not is_final(one.status)


def waits(one: Attempt) -> bool:
    """The answer is that of a new alert: it came when the request existed, or the wait was over."""
    return accepted(one) and (one.outcome in WAITING or (not one.outcome and one.kind == "new"))


def at_once(one: Attempt) -> bool:
    """An answer that no write to Kubernetes held up: duplicates, members of storms, resolved ones, refusals."""
    return not retryable(one) and not waits(one)


def told(attempts: Iterable[Attempt]) -> str:
    """How many of each status: `412 × 202, 3 × 503, 1 × no answer`."""
    found = Counter(one.status for one in attempts)
    return ", ".join(f"{count:,} × {status or 'no answer'}" for status, count in sorted(found.items()))


def alerts(attempts: Iterable[Attempt]) -> int:
    """All alerts in these."""
    return sum(one.alerts for one in attempts)


def firsts(webhooks: Iterable[Sequence[Attempt]]) -> list[Attempt]:
    """The first attempt of each."""
    return [tries[0] for tries in webhooks]
