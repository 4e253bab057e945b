"""Who is told what happens at Redis, at the Kubernetes API and in the background: the metrics, and the log."""

from __future__ import annotations

import time
from typing import Final

import structlog

from gateway.engine.traces import Traces
from gateway.kube.observing import Verb
from gateway.resilience.breakers import Breaker, State
from gateway.resilience.supervision import Ended
from gateway.state.telling import FailureLog
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

REDIS: Final = "redis"
"""Its breaker's name."""


class KubeMetrics:
    """Counts what happens at the Kubernetes API."""

    def __init__(self, metrics: Metrics, traces: Traces | None = None) -> None:
        self._metrics = metrics
        self._traces = traces

    def called(self, verb: Verb, code: int, seconds: float, error: str) -> None:
        if self._traces is not None:
            self._traces.called(verb.value, code, seconds, error)
        status = str(code)
        self._metrics.k8s_api_requests[verb.value, status].inc()
        if error and error != "Cancelled":
            self._metrics.k8s_api_errors[status].inc()

    def relisted(self, what: str) -> None:
        log.info("listed", what=what)

    def skipped(self, what: str, count: int) -> None:
        log.warning("objects left out that cannot be read", what=what, objects=count)
        self._metrics.errors["unreadable_object"].inc(count)

    def credentials_reloaded(self) -> None:
        log.info("Kubernetes credentials loaded again")


class BreakerMetrics:
    """Counts what breakers do. While that of Redis is not closed, alerts take the direct way."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def changed(self, breaker: Breaker, old: State, new: State) -> None:
        self._metrics.circuit_breaker_state[breaker.name].set(new.value)
        self._metrics.circuit_breaker_state_changes[breaker.name].inc()
        falls_back = breaker.name == REDIS
        if falls_back:
            self._metrics.fallback_active.set(0 if new is State.CLOSED else 1)
        if new is State.CLOSED and breaker.opened_at is not None:
            outage = time.monotonic() - breaker.opened_at
            self._metrics.recovery_duration[breaker.name].observe(outage)
            if falls_back:
                self._metrics.fallback_duration.observe(outage)

    def refused(self, breaker: Breaker) -> None:
        self._metrics.breaker_fastfail[breaker.name].inc()


class RedisMetrics:
    """Counts what happens at Redis, and tells of failures."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = FailureLog(time.monotonic)

    def redis_failed(self, kind: str) -> None:
        self._metrics.redis_operation_errors[kind].inc()
        self._log.failed(kind)

    def redis_reconnected(self) -> None:
        self._metrics.redis_reconnect_success.inc()


class TaskEnds:
    """Counts background tasks that ended unexpectedly."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, ended: Ended) -> None:
        self._metrics.errors["task"].inc()
        self._metrics.retries["task"].inc()
