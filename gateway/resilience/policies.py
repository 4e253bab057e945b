"""When the breakers of the two dependencies open and close: what is configured, and what is not worth configuring."""

from __future__ import annotations

from gateway.config.settings import KubernetesBreaker, RedisBreaker
from gateway.resilience.breakers import Policy

PING_INTERVAL = 0.5
"""Seconds between two probes of Redis while it is well, so that a quiet gateway notices its death, too."""


def redis_policy(settings: RedisBreaker) -> Policy:
    """A busy gateway has so many good calls in its window that a dead Redis would take long to be a share of them: so
    seconds of nothing but failures are enough, too. With the pings and claims of a quiet one, both come within 3 s."""
    return Policy(
        failure_rate=settings.failure_rate,
        window=settings.window,
        min_calls=settings.min_calls,
        open_for=settings.open_for,
        silence=1.5,
        proofs=3,
        proof_pause=0.1,
    )


def kubernetes_policy(settings: KubernetesBreaker) -> Policy:
    """A call may take seconds here, so fewer of them have to be enough."""
    return Policy(
        failure_rate=settings.failure_rate,
        window=10.0,
        min_calls=5,
        open_for=settings.open_for,
        throttled=settings.consecutive_429,
        proofs=2,
        proof_pause=0.2,
    )
