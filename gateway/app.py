"""The composition root: everything is made here, handed to whoever needs it, started, drained and stopped.

`App` is embeddable: start it in any event loop, ask it for its addresses (port 0 takes a free one), stop it.
It starts although Redis or the Kubernetes API is away, and goes on trying in the background. `serve` is an
`App` until a signal comes.

Stopping runs in the reverse order of starting, within `server.shutdown_timeout`:

    not ready, new webhooks refused → webhooks under way answered → engine drained, leases handed back
    → listener closed → recording and background tasks ended → Redis and Kubernetes closed → metrics closed
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from gateway import __version__
from gateway.config import redis_url
from gateway.config.reload import Source
from gateway.config.settings import Settings
from gateway.engine.engine import Engine, Limits
from gateway.engine.journal import Journal
from gateway.engine.logbook import Logbook
from gateway.engine.ports import Breakers, Ports, announce_nothing
from gateway.engine.traces import Traces
from gateway.errors import ConfigurationError, GatewayError
from gateway.kube.client import Cluster
from gateway.kube.connection import Connection
from gateway.kube.events import Events
from gateway.kube.index import Index
from gateway.kube.namespaces import Namespaces, namespace_reflector
from gateway.kube.observing import Verb
from gateway.kube.reflector import request_reflectors
from gateway.kube.reviews import Reviews
from gateway.resilience.breakers import Breaker, State
from gateway.resilience.faults import FaultPoints, FaultTarget
from gateway.resilience.loop_lag import watch_loop
from gateway.resilience.policies import PING_INTERVAL, kubernetes_policy, redis_policy
from gateway.resilience.probing import Finding, keep_probing
from gateway.resilience.supervision import Ended, Supervisor
from gateway.rules import Rules
from gateway.state.access import Access
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.rates import RateWindows
from gateway.state.store import RedisStore
from gateway.state.telling import FailureLog
from gateway.state.tokens import TokenHashes
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics, follow
from gateway.telemetry.tracing import Tracer
from gateway.web.ports import Backends
from gateway.web.recording import Recorder
from gateway.web.reports import About, TaskReport
from gateway.web.service import Web
from gateway.web.times import Stamp

log = structlog.get_logger(__name__)

REDIS: Final = "redis"
"""Its breaker's name."""

CLOSING: Final = 2.0
"""Seconds of the time to stop that are kept for ending tasks and closing connections."""


class App:
    """One gateway."""

    def __init__(self, settings: Settings, source: Source | None = None) -> None:
        """`source` is what the settings were read from: its file is read again when it changes."""
        self.settings: Final = settings
        """Those of the start. What `config.reload.RELOADABLE` names can be other by now."""
        self._source = source
        self._rules: Rules | None = None
        self.failed: Final = asyncio.Event()
        """Set when something ended that the process cannot do without."""
        self._web: Web | None = None
        self._exits = AsyncExitStack()
        self._deadline = 0.0

    @property
    def url(self) -> str:
        """Where it takes webhooks, without a trailing slash; known once it is started."""
        return self._web.gateway.url if self._web else ""

    @property
    def metrics_url(self) -> str:
        """Where its metrics are, without the path; known once it is started."""
        return self._web.metrics.url if self._web else ""

    async def start(self) -> None:
        """Start everything; a return means that webhooks are answered.

        Raises `ConfigurationError` where the settings cannot be used and `OSError` where a port is taken;
        then nothing is left running.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything, in order, within `server.shutdown_timeout`. Safe to call twice."""
        self._deadline = time.monotonic() + self.settings.server.shutdown_timeout
        await self._exits.aclose()

    def read_again(self) -> None:
        """Read the file of the configuration again, although it may look as before."""
        if self._rules is not None:
            self._rules.read_again()

    async def _start(self) -> None:
        settings = self.settings
        metrics = _metrics()
        tracer = self._tracer(metrics)
        traces = Traces(tracer) if tracer is not None else None
        supervisor = Supervisor(
            observe=_TaskEnds(metrics), stop_process=lambda _name: self.failed.set(), clock=time.monotonic
        )
        breakers = _breakers(settings, metrics)
        faults = _faults(settings, metrics)
        connection, cluster = _kubernetes(
            settings, _KubeMetrics(metrics, traces), breakers.kubernetes, faults
        )
        await connection.open()
        self._at_exit("kubernetes", connection.close)
        client, store = _redis(settings, metrics, breakers.redis, faults)
        self._at_exit("redis", client.close)
        index, namespaces = Index(settings.dedup.forget_after), Namespaces()
        observer = _KubeMetrics(metrics)
        reflectors = request_reflectors(cluster, index, clock=time.monotonic, observer=observer)
        spaces = namespace_reflector(cluster, namespaces, observer=observer)
        clock = SystemClock()
        events = Events(
            connection,
            stamp=clock.wall,
            clock=time.monotonic,
            counted=lambda result: metrics.k8s_events[result].inc(),
        )
        ports = Ports(
            store=store,
            cluster=cluster,
            index=index,
            spaces=namespaces,
            synced=lambda: all(reflector.current for reflector in reflectors),
            fallback_namespace=settings.kubernetes.fallback_namespace,
            clock=clock,
            metrics=metrics,
            namespaced="namespace" in settings.storm.group_by,
            breakers=breakers,
            watch_error=lambda: next((reflector.error for reflector in reflectors if reflector.error), ""),
            missing_permissions=connection.permissions.missing,
            traces=traces,
            announce=events.announce if settings.kubernetes.events else announce_nothing,
        )
        engine = Engine(ports, _limits(settings), journal=await self._journal(metrics))
        follow(metrics.unconfirmed_alerts, lambda: engine.unconfirmed)
        follow(metrics.k8s_api_request_queue_depth, lambda: engine.queue_depth)
        metrics.k8s_api_request_queue_max_depth.set(settings.queue.max_depth)
        rules = self._rules = Rules(
            settings,
            namespaces.environment,
            metrics,
            self._source,
            environments_known=lambda: namespaces.listed,
        )
        recorder = _recorder(settings, metrics)
        web = self._web = Web(
            settings,
            engine=engine,
            intake=lambda: rules.intake,
            metrics=metrics,
            stamp=clock.wall,
            about=_about(supervisor, recorder),
            recorder=recorder,
            tracer=tracer,
            backends=_backends(settings, client, connection),
            faults=faults,
            more_warnings=lambda: [
                *rules.warnings(),
                *engine.warnings(),
                *_redis_warnings(settings, client),
            ],
        )
        _follow_growth(metrics, web)
        await web.metrics.start()
        self._exits.push_async_callback(web.metrics.stop)
        self._at_exit("tasks", lambda: supervisor.stop(CLOSING / 2))
        if recorder is not None:
            recorder.open()
            supervisor.start("recording", recorder.run)
            self._at_exit("recording", recorder.close)
        supervisor.start("loop-lag", lambda: watch_loop(metrics.event_loop_lag.set, clock=time.perf_counter))
        for reflector in reflectors:
            supervisor.start(f"watch {reflector.name}", reflector.run)
        supervisor.start(f"watch {spaces.name}", spaces.run)
        supervisor.start("watch redis", client.watch)
        if settings.kubernetes.events:
            supervisor.start("events", events.run)
        supervisor.start("watch configuration", rules.run)
        for name, run in {**engine.background(), **web.background()}.items():
            supervisor.start(name, run)
        fallback = settings.kubernetes.fallback_namespace
        _probe(supervisor, breakers, client, lambda: cluster.probe(fallback))
        self._exits.push_async_callback(web.gateway.stop)
        self._exits.push_async_callback(lambda: engine.stop(self._left(CLOSING)))
        self._exits.callback(supervisor.wind_down)  # the engine's stop lets its tasks return
        await web.gateway.start()
        self._exits.push_async_callback(lambda: web.drain(self._left(CLOSING) / 2))
        log.info("started", version=__version__, url=self.url, metrics_url=self.metrics_url)

    def _tracer(self, metrics: Metrics) -> Tracer | None:
        """What takes spans; None where nobody wants any, and then nothing of OpenTelemetry is imported. Raises
        `ConfigurationError` where it is not installed.
        """
        settings = self.settings.tracing
        if settings.endpoint is None:
            return None
        try:
            from gateway.telemetry.otlp import OtlpTracer  # noqa: PLC0415 - see above
        except ImportError as error:
            missing = f"tracing.endpoint: {error}; install alert-gateway[tracing], or leave it out"
            raise ConfigurationError([missing]) from error
        tracer = OtlpTracer(
            settings.endpoint,
            sample=settings.sample,
            version=__version__,
            counted=lambda result, spans: metrics.spans[result].inc(spans),
        )
        self._at_exit("traces", tracer.close)
        return tracer

    async def _journal(self, metrics: Metrics) -> Journal | None:
        """The journal, read; None without one. Raises `ConfigurationError` where its path cannot be used."""
        settings = self.settings.journal
        if settings.path is None:
            return None
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "journal")
        self._exits.callback(thread.shutdown, wait=False)
        pages = Logbook(Path(settings.path), max_size=settings.max_size)
        journal = Journal(
            pages,
            run=lambda call: loop.run_in_executor(thread, call),
            on_error=metrics.errors["journal"].inc,
        )
        await journal.open()
        self._at_exit("journal", journal.close)
        return journal

    def _left(self, kept: float) -> float:
        """Seconds until everything has to be stopped, less those that are kept for what follows."""
        return max(0.1, self._deadline - time.monotonic() - kept)

    def _at_exit(self, what: str, close: Callable[[], Awaitable[object]]) -> None:
        """Close it when the time comes; neither an error nor a hang keeps the rest from being closed."""

        async def bounded() -> None:
            try:
                async with asyncio.timeout(CLOSING):
                    await close()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be closed, too
                reason = str(error) or type(error).__name__
                log.warning("could not be closed in order", what=what, error=reason)

        self._exits.push_async_callback(bounded)


async def serve(settings: Settings, source: Source) -> None:
    """Run a gateway until SIGTERM or SIGINT, then stop it in order. A second signal ends the process at once.
    SIGHUP reads the configuration again.

    Raises `GatewayError` where the process stopped because a part of it ended that it cannot do without.
    """
    logs.configure(settings.log.level, settings.log.format)
    app = App(settings, source)
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    loop.add_signal_handler(signal.SIGHUP, app.read_again)
    ends = [asyncio.ensure_future(event.wait()) for event in (signalled, app.failed)]
    try:
        await app.start()
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        log.info("stopping")
        await app.stop()
        loop.remove_signal_handler(signal.SIGHUP)
        log.info("stopped")
    if app.failed.is_set():
        raise GatewayError("a background task ended that the gateway cannot do without; the log names it")


class SystemClock:
    """The real clocks."""

    def __init__(self) -> None:
        self.wall: Final = Stamp()
        self.monotonic: Final = time.monotonic


class _KubeMetrics:
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


class _BreakerMetrics:
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


class _RedisMetrics:
    """Counts what happens at Redis, and tells of failures."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = FailureLog(time.monotonic)

    def redis_failed(self, kind: str) -> None:
        self._metrics.redis_operation_errors[kind].inc()
        self._log.failed(kind)

    def redis_reconnected(self) -> None:
        self._metrics.redis_reconnect_success.inc()


class _TaskEnds:
    """Counts background tasks that ended unexpectedly."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, ended: Ended) -> None:
        self._metrics.errors["task"].inc()
        self._metrics.retries["task"].inc()


def _metrics() -> Metrics:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    metrics = Metrics(registry)
    metrics.build(__version__)
    return metrics


def _breakers(settings: Settings, metrics: Metrics) -> Breakers:
    listeners = (_BreakerMetrics(metrics),)
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


def _probe(
    supervisor: Supervisor, breakers: Breakers, client: Client, rehearse: Callable[[], Awaitable[Finding]]
) -> None:
    """Keep asking whether the dependencies are well again, or still are."""
    redis, kubernetes = breakers.redis, breakers.kubernetes
    if redis is not None:
        supervisor.start("probe-redis", lambda: keep_probing(redis, client.probe, interval=PING_INTERVAL))
    if kubernetes is not None:
        supervisor.start("probe-kubernetes", lambda: keep_probing(kubernetes, rehearse))


def _faults(settings: Settings, metrics: Metrics) -> FaultPoints | None:
    """Where faults can be injected, if that is wanted."""
    if not settings.chaos.enabled:
        return None
    return FaultPoints(
        clock=time.monotonic,
        struck=lambda target, mode: metrics.faults_injected[target.value, mode.value].inc(),
    )


def _kubernetes(
    settings: Settings, observer: _KubeMetrics, breaker: Breaker | None, faults: FaultPoints | None
) -> tuple[Connection, Cluster]:
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


def _follow_growth(metrics: Metrics, web: Web) -> None:
    """What grows with the senders that are here, and with nothing else."""
    follow(metrics.tasks, lambda: len(asyncio.all_tasks()))
    follow(metrics.open_connections, lambda: web.gateway.connections)


def _served(namespaces: Sequence[str], fallback: str) -> Sequence[str]:
    """All namespaces, or those that are named and the one where requests without a namespace go."""
    return (*namespaces, fallback) if namespaces and fallback not in namespaces else namespaces


def _redis(
    settings: Settings, metrics: Metrics, breaker: Breaker | None, faults: FaultPoints | None
) -> tuple[Client, RedisStore]:
    redis = settings.redis
    keys = Keys(redis.prefix, redis.shards, redis.buffer_prefix)
    client = Client(
        Access.of(redis),
        timeout=redis.timeout,
        pool_size=redis.pool_size,
        observer=_RedisMetrics(metrics),
        breaker=breaker,
        faults=faults.points[FaultTarget.REDIS] if faults is not None else None,
        probes=[keys.probe(shard) for shard in range(keys.shards)],
        settled_life=settings.dedup.forget_after,
    )
    follow(metrics.redis_pool_max_size, lambda: client.most_connections)
    follow(metrics.redis_pool_active_connections, lambda: client.active_connections)
    return client, RedisStore(client, keys, write_interval=settings.dedup.write_interval)


def _backends(settings: Settings, client: Client, connection: Connection) -> Backends:
    redis, rate = settings.redis, settings.rate_limit
    return Backends(
        tokens=TokenHashes(client, redis.prefix),
        reviewer=Reviews(connection),
        windows=RateWindows(client, Keys(redis.prefix, redis.shards), most=rate.requests, span=rate.window),
    )


def _redis_warnings(settings: Settings, client: Client) -> list[str]:
    found = list(client.warnings)
    if (
        settings.redis.shards == 1
        and redis_url.parse(settings.redis.url).topology is redis_url.Topology.CLUSTER
    ):
        found.append(
            "redis.shards is 1, so one node of the cluster has everything; set it to 16, on all replicas at once"
        )
    return found


def _limits(settings: Settings) -> Limits:
    return Limits(
        ack_wait=settings.server.ack_wait,
        concurrency=settings.kubernetes.concurrency,
        lease=settings.queue.lease,
        max_depth=settings.queue.max_depth,
        max_unconfirmed=settings.unconfirmed.max,
        max_members=settings.storm.max_alerts,
    )


def _recorder(settings: Settings, metrics: Metrics) -> Recorder | None:
    """What records webhooks, if that is wanted."""
    record = settings.record
    return Recorder(record.path, record.max_size, metrics) if record.path is not None else None


def _about(supervisor: Supervisor, recorder: Recorder | None) -> Callable[[], About]:
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
