"""The parts that an `App` is made of, each made from its settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from gateway import __version__
from gateway.config import redis_url
from gateway.config.settings import Settings
from gateway.engine.engine import Limits
from gateway.engine.ports import Breakers
from gateway.kube.client import Cluster
from gateway.kube.connection import Connection
from gateway.kube.reviews import Reviews
from gateway.observers import REDIS, BreakerMetrics, KubeMetrics, RedisMetrics
from gateway.resilience.breakers import Breaker
from gateway.resilience.faults import FaultPoints, FaultTarget
from gateway.resilience.policies import PING_INTERVAL, kubernetes_policy, redis_policy
from gateway.resilience.probing import Finding, keep_probing
from gateway.resilience.supervision import Supervisor
from gateway.state.access import Access
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.rates import RateWindows
from gateway.state.store import RedisStore
from gateway.state.tokens import TokenHashes
from gateway.telemetry.metrics import Metrics, follow
from gateway.web.ports import Backends
from gateway.web.recording import Recorder
from gateway.web.reports import About, TaskReport
from gateway.web.service import Web
from gateway.web.times import Stamp


class SystemClock:
    """The real clocks."""

    def __init__(self) -> None:
        self.wall: Final = Stamp()
        self.monotonic: Final = time.monotonic


def make_metrics() -> Metrics:
    """All instruments in a registry of their own, with those of the process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    metrics.build(__version__)
    return metrics


def make_breakers(settings: Settings, metrics: Metrics) -> Breakers:
    """Of both dependencies, closed."""
    listeners = (BreakerMetrics(metrics),)
    return Breakers(
        redis=Breaker(
            REDIS, redis_policy(settings.breakers.redis), clock=time.monotonic, listeners=listeners
        ),
        kubernetes=Breaker(
            "k8s_api",
            kubernetes_policy(settings.breakers.kubernetes),
            clock=time.monotonic,
            listeners=listeners,
        ),
    )


def probe(
    supervisor: Supervisor, breakers: Breakers, client: Client, rehearse: Callable[[], Awaitable[Finding]]
) -> None:
    """Keep asking whether the dependencies are well again, or still are."""
    redis, kubernetes = breakers.redis, breakers.kubernetes
    if redis is not None:
        supervisor.start("probe-redis", lambda: keep_probing(redis, client.probe, interval=PING_INTERVAL))
    if kubernetes is not None:
        supervisor.start("probe-kubernetes", lambda: keep_probing(kubernetes, rehearse))


def fault_points(settings: Settings, metrics: Metrics) -> FaultPoints | None:
    """Where faults can be injected, if that is wanted."""
    if not settings.chaos.enabled:
        return None
    return FaultPoints(
        clock=time.monotonic,
        struck=lambda target, mode: metrics.faults_injected[target.value, mode.value].inc(),
    )


def kubernetes_of(
    settings: Settings, observer: KubeMetrics, breaker: Breaker | None, faults: FaultPoints | None
) -> tuple[Connection, Cluster]:
    """The connection to the API server, not opened yet, and what is asked of it."""
    kubernetes = settings.kubernetes
    connection = Connection(
        kubeconfig=kubernetes.kubeconfig,
        context=kubernetes.context,
        pool=kubernetes.concurrency + 8,  # watches and lists beside the writes
        observer=observer,
        breaker=breaker,
        faults=faults.points[FaultTarget.KUBERNETES] if faults is not None else None,
    )
    cluster = Cluster(
        connection,
        terminal_phases=settings.dedup.terminal_phases,
        namespaces=_served(kubernetes.namespaces, kubernetes.fallback_namespace),
        environment_label=settings.classify.environment_label,
        observer=observer,
    )
    return connection, cluster


def follow_growth(metrics: Metrics, web: Web) -> None:
    """What grows with the senders that are here, and with nothing else."""
    follow(metrics.tasks, lambda: len(asyncio.all_tasks()))
    follow(metrics.open_connections, lambda: web.gateway.connections)


def _served(namespaces: Sequence[str], fallback: str) -> Sequence[str]:
    """All namespaces, or those that are named and the one where requests without a namespace go."""
    return (*namespaces, fallback) if namespaces and fallback not in namespaces else namespaces


def redis_of(
    settings: Settings, metrics: Metrics, breaker: Breaker | None, faults: FaultPoints | None
) -> tuple[Client, RedisStore]:
    """Redis, with no connection made yet, and the store in it."""
    redis = settings.redis
    keys = Keys(redis.prefix, redis.shards, redis.buffer_prefix)
    client = Client(
        Access.of(redis),
        timeout=redis.timeout,
        pool_size=redis.pool_size,
        observer=RedisMetrics(metrics),
        breaker=breaker,
        faults=faults.points[FaultTarget.REDIS] if faults is not None else None,
        probes=[keys.probe(shard) for shard in range(keys.shards)],
        settled_life=settings.dedup.forget_after,
    )
    follow(metrics.redis_pool_max_size, lambda: client.most_connections)
    follow(metrics.redis_pool_active_connections, lambda: client.active_connections)
    return client, RedisStore(client, keys, write_interval=settings.dedup.write_interval)


def backends_of(settings: Settings, client: Client, connection: Connection) -> Backends:
    """What modes of authentication and the rate limit ask."""
    redis, rate = settings.redis, settings.rate_limit
    return Backends(
        tokens=TokenHashes(client, redis.prefix),
        reviewer=Reviews(connection),
        windows=RateWindows(client, Keys(redis.prefix, redis.shards), most=rate.requests, span=rate.window),
    )


def redis_warnings(settings: Settings, client: Client) -> list[str]:
    """What an operator should know about Redis and how it is configured."""
    found = list(client.warnings)
    if (
        settings.redis.shards == 1
        and redis_url.parse(settings.redis.url).topology is redis_url.Topology.CLUSTER
    ):
        found.append(
            "redis.shards is 1, so one node of the cluster has everything; set it to 16, on all replicas at once"
        )
    return found


def limits_of(settings: Settings) -> Limits:
    """The bounds of the engine."""
    return Limits(
        ack_wait=settings.server.ack_wait,
        concurrency=settings.kubernetes.concurrency,
        lease=settings.queue.lease,
        max_depth=settings.queue.max_depth,
        max_unconfirmed=settings.unconfirmed.max,
        max_members=settings.storm.max_alerts,
    )


def recorder_of(settings: Settings, metrics: Metrics) -> Recorder | None:
    """What records webhooks, if that is wanted."""
    record = settings.record
    return Recorder(record.path, record.max_size, metrics) if record.path is not None else None


def about_of(supervisor: Supervisor, recorder: Recorder | None) -> Callable[[], About]:
    """The head of the status: what runs, since when, and how its tasks are doing."""
    began = time.monotonic()

    def about() -> About:
        return About(
            version=__version__,
            uptime=time.monotonic() - began,
            tasks={
                state.name: TaskReport(state.running, state.restarts, state.error)
                for state in supervisor.states()
            },
            recording=recorder.state() if recorder is not None else None,
        )

    return about
