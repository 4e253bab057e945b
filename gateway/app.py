"""The composition root: everything is made here, handed to whoever needs it, started, drained and stopped.

`App` is embeddable: start it in any event loop, ask it for its addresses (port 0 takes a free one), stop it.
It starts although Redis or the Kubernetes API is away, and goes on trying in the background. `serve` is an
`App` until a signal comes.

Stopping runs in the reverse order of starting, within `server.shutdown_timeout`:

    not ready, new webhooks refused → webhooks under way answered → engine drained, leases handed back
    → listener closed → recording and background tasks ended → metrics closed → journal, Redis, Kubernetes closed
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog

from gateway import __version__
from gateway.config.reload import Source
from gateway.config.settings import Settings
from gateway.engine.engine import Engine
from gateway.engine.journal import Journal
from gateway.engine.logbook import Logbook
from gateway.engine.ports import Ports, announce_nothing
from gateway.engine.traces import Traces
from gateway.errors import ConfigurationError, GatewayError
from gateway.kube.events import Events
from gateway.kube.index import Index
from gateway.kube.namespaces import Namespaces, namespace_reflector
from gateway.kube.reflector import request_reflectors
from gateway.observers import KubeMetrics, TaskEnds
from gateway.parts import (
    SystemClock,
    about_of,
    backends_of,
    fault_points,
    follow_growth,
    kubernetes_of,
    limits_of,
    make_breakers,
    make_metrics,
    probe,
    recorder_of,
    redis_of,
    redis_warnings,
)
from gateway.resilience.loop_lag import watch_loop
from gateway.resilience.supervision import Supervisor
from gateway.rules import Rules
from gateway.telemetry import logs
from gateway.telemetry.metrics import Metrics, follow
from gateway.telemetry.tracing import Tracer
from gateway.web.service import Web

log = structlog.get_logger(__name__)

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
        metrics = make_metrics()
        tracer = self._tracer(metrics)
        traces = Traces(tracer) if tracer is not None else None
        supervisor = Supervisor(
            observe=TaskEnds(metrics), stop_process=lambda _name: self.failed.set(), clock=time.monotonic
        )
        breakers = make_breakers(settings, metrics)
        faults = fault_points(settings, metrics)
        connection, cluster = kubernetes_of(
            settings, KubeMetrics(metrics, traces), breakers.kubernetes, faults
        )
        await connection.open()
        self._at_exit("kubernetes", connection.close)
        client, store = redis_of(settings, metrics, breakers.redis, faults)
        self._at_exit("redis", client.close)
        index, namespaces = Index(settings.dedup.forget_after), Namespaces()
        observer = KubeMetrics(metrics)
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
        engine = Engine(ports, limits_of(settings), journal=await self._journal(metrics))
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
        recorder = recorder_of(settings, metrics)
        web = self._web = Web(
            settings,
            engine=engine,
            intake=lambda: rules.intake,
            metrics=metrics,
            stamp=clock.wall,
            about=about_of(supervisor, recorder),
            recorder=recorder,
            tracer=tracer,
            backends=backends_of(settings, client, connection),
            faults=faults,
            more_warnings=lambda: [
                *rules.warnings(),
                *engine.warnings(),
                *redis_warnings(settings, client),
            ],
        )
        follow_growth(metrics, web)
        await web.metrics.start()
        self._at_exit("metrics", web.metrics.stop)
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
        probe(supervisor, breakers, client, lambda: cluster.probe(fallback))
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
                async with asyncio.timeout(min(CLOSING, self._left(0))):
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
