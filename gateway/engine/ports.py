"""What the engine needs from outside, as protocols: production and the simulation hand in what fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.traces import Traces
from gateway.kube.index import Index
from gateway.kube.stored import Head, Stored
from gateway.kube.storms import Storm
from gateway.model import Happening, RequestRef
from gateway.resilience.breakers import Breaker
from gateway.state.store import Store
from gateway.telemetry.metrics import Metrics


class Cluster(Protocol):
    """The Kubernetes API, as far as requests are concerned. Every method may raise a `KubeError`."""

    async def create(self, namespace: str, body: bytes) -> Stored: ...

    async def patch(self, ref: RequestRef, body: bytes) -> Stored: ...

    async def get(self, ref: RequestRef) -> Stored: ...

    async def storm(self, ref: RequestRef) -> Storm:
        """An aggregated request with its members."""

    async def delete(self, ref: RequestRef, *, uid: str, resource_version: int) -> None: ...

    async def heads(
        self, fingerprints: Sequence[str], *, namespaces: Sequence[str] | None = None
    ) -> list[Head]:
        """What is stored for the fingerprints now: in all namespaces that are served, or in these."""


class Spaces(Protocol):
    """What is known of namespaces."""

    def exists(self, namespace: str) -> bool | None:
        """None where it is not known."""


class Clock(Protocol):
    """The two clocks. Only the composition root and the simulation make one."""

    def monotonic(self) -> float:
        """Seconds that only rise, for time-outs and ages."""

    def wall(self) -> str:
        """The time of day, RFC 3339, UTC, with nanoseconds in a fixed width."""


class Announce(Protocol):
    """Tells people what became of a request. Never waits, never raises."""

    def __call__(self, ref: RequestRef, uid: str, happening: Happening, message: str) -> None: ...


def announce_nothing(ref: RequestRef, uid: str, happening: Happening, message: str) -> None:
    """Where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Breakers:
    """Of the two dependencies; None where nothing holds calls back."""

    redis: Breaker | None = None
    kubernetes: Breaker | None = None

    @property
    def redis_closed(self) -> bool:
        return self.redis is None or self.redis.closed

    @property
    def kubernetes_closed(self) -> bool:
        return self.kubernetes is None or self.kubernetes.closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything around the engine."""

    store: Store
    cluster: Cluster
    index: Index
    spaces: Spaces
    synced: Callable[[], bool]
    """Whether the index has listed everything, and follows now."""
    fallback_namespace: str
    """Where requests go whose alert names no namespace that exists."""
    clock: Clock
    metrics: Metrics
    breakers: Breakers = Breakers()
    """The store and the cluster obey them by themselves; the engine does not ask in vain."""
    watch_error: Callable[[], str] = lambda: ""
    """Why the index does not follow."""
    announce: Announce = announce_nothing
    traces: Traces | None = None
    """None where nobody wants to see what belongs to what."""
    missing_permissions: Callable[[], Sequence[str]] = tuple
    """One line for each that the API server refused lately."""
    namespaced: bool = True
    """All alerts of a fingerprint name the same namespace (the group's key holds it), so that its requests are in
    that one or in the fallback namespace."""
