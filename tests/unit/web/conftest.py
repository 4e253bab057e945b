"""The web layer as a fixture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from gateway.config.settings import Settings
from gateway.intake.reading import Intake
from gateway.resilience.faults import FaultPoints
from gateway.telemetry.metrics import Metrics
from gateway.web.ports import Backends
from gateway.web.reports import About, TaskReport
from gateway.web.service import Web
from tests.unit.web.harness import NOW, FakeEngine, Serve, Service


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a service; keywords are sections of the settings."""
    async with AsyncExitStack() as exits:

        async def start(
            engine: FakeEngine | None = None,
            backends: Backends | None = None,
            faults: FaultPoints | None = None,
            **sections: Any,
        ) -> Service:
            server = {"port": 0, "metrics_port": 0, **sections.pop("server", {})}
            settings = Settings.model_validate({"server": server, **sections})
            metrics = Metrics(CollectorRegistry())
            fake = engine or FakeEngine()
            intake = Intake(settings, lambda _namespace: None)
            web = Web(
                settings,
                engine=fake,
                intake=lambda: intake,
                metrics=metrics,
                stamp=lambda: NOW,
                about=lambda: About(version="0", uptime=1.25, tasks={"sweep": TaskReport(True, 0, "")}),
                backends=backends or Backends(),
                faults=faults,
            )
            for run in web.background().values():
                exits.push_async_callback(_ended, asyncio.ensure_future(run()))
            for listener in (web.metrics, web.gateway):
                await listener.start()
                exits.push_async_callback(listener.stop)
            client = await exits.enter_async_context(
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))
            )
            return Service(web, fake, metrics, client)

        yield start


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def service(serve: Serve) -> Service:
    """A service with the default settings."""
    return await serve()


@pytest.fixture
def engine() -> FakeEngine:
    """An engine to be told what to do before it is handed to `serve`."""
    return FakeEngine()
