"""The web layer put together: the routes of the gateway on one listener, the metrics on another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.config.settings import AuthMode, Settings
from gateway.resilience.faults import FaultPoints, FaultTarget
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer
from gateway.web.admin import Chaos, chaos_routes
from gateway.web.api import operations
from gateway.web.api.document import document
from gateway.web.api.serving import Description
from gateway.web.auth.guard import Open
from gateway.web.auth.identities import Run
from gateway.web.auth.making import door
from gateway.web.body import BodyReader, Inflight
from gateway.web.page.overview import Observer
from gateway.web.page.serving import Page
from gateway.web.ports import Backends, Engine
from gateway.web.rates.limits import rate_limit
from gateway.web.recording import Recorder
from gateway.web.reports import About
from gateway.web.routes import Handler, Route, Routes
from gateway.web.server import Listener
from gateway.web.shell import Shell
from gateway.web.spoiling import Spoiler
from gateway.web.tls import Certificates
from gateway.web.views import Views
from gateway.web.webhook import Intake, WebhookHandler


class Web:
    """Both listeners. Made inside a running event loop."""

    def __init__(  # noqa: PLR0913 - what the listeners are made of
        self,
        settings: Settings,
        *,
        engine: Engine,
        intake: Callable[[], Intake],
        metrics: Metrics,
        stamp: Callable[[], str],
        about: Callable[[], About],
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
        backends: Backends = Backends(),  # noqa: B008 - frozen
        faults: FaultPoints | None = None,
        more_warnings: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`stamp` gives the time of receipt, `about` the head of the status; `recorder` gets the webhooks as they came,
        `tracer` their spans; `backends` are what modes of authentication and the rate limit ask; where there are
        `faults`, they can be injected; `more_warnings` tells what beyond the configuration `/readyz` should warn of.

        Raises `ConfigurationError`.
        """
        server = settings.server
        body = BodyReader(server.max_body, Inflight(server.max_inflight_bytes))
        tls = server.tls
        self._certificates = Certificates(tls) if tls.cert_file is not None else None
        self._door = door(settings.auth, metrics, backends, time.monotonic)
        views = Views(
            engine=engine,
            registry=metrics.registry,
            warnings=lambda: [
                *warnings(settings),
                *self._door.warnings(),
                *self._tls_warnings(),
                *(faults.warnings() if faults is not None else ()),
                *more_warnings(),
            ],
            stopping=lambda: self._shell.stopping,
            about=about,
        )
        webhook: Handler = WebhookHandler(
            intake=intake,
            engine=engine,
            body=body,
            metrics=metrics,
            stamp=stamp,
            most=server.max_requests,
            limit=rate_limit(settings.rate_limit, backends.windows, metrics),
        )
        admin: Sequence[Route] = ()
        if faults is not None:
            webhook = Spoiler(webhook, faults.points[FaultTarget.WEBHOOK])
            admins = ("",) if AuthMode.NONE in settings.auth.mode else settings.chaos.admins
            admin = chaos_routes(Chaos(faults, body, admins))
        description = Description(lambda: self._described(settings.auth.mode))
        observer = Observer(engine=engine, metrics=metrics, faults=faults, status=views.report, stamp=stamp)
        page = Page(observer)
        self.broadcast: Final = page.broadcast
        self.routes: Final = gateway_routes(webhook, views, description, [*admin, *page.routes()])
        self.scraped: Final = metrics_routes(views)
        self._shell = Shell(
            self.routes,
            metrics=metrics,
            door=self._door,
            body=body,
            request_timeout=server.request_timeout,
            clock=time.perf_counter,
            recorder=recorder,
            tracer=tracer,
        )
        scrape = Shell(
            self.scraped,
            metrics=metrics,
            door=Open(),
            body=body,
            request_timeout=server.request_timeout,
            clock=time.perf_counter,
        )
        self.gateway = Listener(
            self._shell,
            server,
            server.port,
            tls=self._certificates.context if self._certificates else None,
        )
        self.metrics = Listener(scrape, server, server.metrics_port)

    def background(self) -> Mapping[str, Run]:
        """What has to run as long as the gateway does, by the name of its task."""
        runs = {**self._door.background(), "status page": self.broadcast.run}
        certificates = self._certificates
        if certificates is not None:
            runs["certificates"] = lambda: certificates.watch(self.gateway.use)
        return runs

    async def drain(self, grace: float) -> bool:
        """End what is being looked at, and drain the gateway's listener: see `Listener.drain`."""
        self.broadcast.end()
        return await self.gateway.drain(grace)

    def _described(self, modes: Sequence[AuthMode]) -> bytes:
        port = int(self.metrics.url.rpartition(":")[2])
        return document(self.routes.all, modes, beside={port: self.scraped.all})

    def _tls_warnings(self) -> Sequence[str]:
        warning = self._certificates.warning if self._certificates else ""
        return [warning] if warning else []


def gateway_routes(
    webhook: Handler, views: Views, description: Description, more: Sequence[Route] = ()
) -> Routes:
    """Every path of the gateway; `more` are those of the status page, and those that it has only if they are wanted."""
    return Routes(
        [
            *more,
            Route(
                "/v1/webhooks/prometheus",
                {"POST": webhook},
                {"POST": operations.WEBHOOK},
                aliases=("/api/v1/signals/prometheus",),
            ),
            Route("/v1/status", {"GET": views.status}, {"GET": operations.STATUS}),
            Route("/v1/storms", {"GET": views.storms}, {"GET": operations.STORMS}),
            Route("/v1/alerts/{fingerprint}", {"GET": views.alert}, {"GET": operations.ALERT}),
            Route(
                "/healthz", {"GET": views.alive}, {"GET": operations.ALIVE}, aliases=("/health",), public=True
            ),
            Route(
                "/readyz", {"GET": views.ready}, {"GET": operations.READY}, aliases=("/ready",), public=True
            ),
            Route("/openapi.json", {"GET": description.json}, {"GET": operations.DESCRIPTION}, public=True),
            Route("/docs", {"GET": description.page}, {"GET": operations.PAGE}, public=True),
            Route("/docs/{asset}", {"GET": description.asset}, {"GET": operations.ASSET}, public=True),
        ]
    )


def metrics_routes(views: Views) -> Routes:
    """Every path of the listener for metrics."""
    return Routes([Route("/metrics", {"GET": views.metrics}, {"GET": operations.METRICS}, public=True)])


def warnings(settings: Settings) -> Sequence[str]:
    """What an operator should know about the configuration in force."""
    if settings.anonymous_beyond_loopback:
        return ["whoever reaches the port may post alerts: server.host is beyond loopback, auth.mode is none"]
    return []
