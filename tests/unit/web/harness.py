"""A web layer on free ports, over the real intake and an engine that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gateway.engine.reports import (
    AlertReport,
    BreakerReport,
    EngineStatus,
    Mode,
    Queue,
    RecentRequest,
    WindowReport,
)
from gateway.intake.reading import Reading
from gateway.model import Outcome, RequestRef, Verdict, WindowView
from gateway.telemetry.metrics import Metrics
from gateway.web.service import Web

NOW = "2026-01-31T09:00:00.000000000Z"
WEBHOOK = "/v1/webhooks/prometheus"
STATUS = EngineStatus(
    process="p1",
    mode=Mode.NORMAL,
    queue=Queue(3, failing=False),
    breakers={"redis": BreakerReport(state="closed")},
    unconfirmed=1,
    slots=2,
    requests=5,
    windows=0,
    synced=True,
)


@dataclass
class Part:
    name: str
    ok: bool = True
    detail: str = ""


@dataclass
class FakeEngine:
    """Accepts everything as duplicates, unless told otherwise."""

    outcome: Callable[[Reading], Outcome] = lambda _reading: Outcome.DUPLICATE
    error: Exception | None = None
    gate: asyncio.Event | None = None
    """Where set, `accept` waits for it."""
    accepted: list[Sequence[Reading]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0
    known: dict[str, AlertReport] = field(default_factory=dict)
    windows: list[WindowReport] = field(default_factory=list)
    requests: list[RecentRequest] = field(default_factory=list)
    window: WindowView | None = None
    """The one that verdicts name."""
    parts: list[Part] = field(default_factory=lambda: [Part("redis"), Part("kubernetes")])
    is_ready: bool = True

    async def accept(self, readings: Sequence[Reading], body: bytes, *, received_at: str) -> list[Verdict]:
        assert received_at == NOW
        assert isinstance(body, bytes)
        self.entered.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        self.accepted.append(readings)
        return [
            Verdict(
                outcome=self.outcome(reading),
                fingerprint=reading.fingerprint,
                request=RequestRef("prod-api", f"rr-{reading.alertname.lower()[:20]}-1"),
                occurrence_count=1,
            )
            if self.window is None
            else Verdict(outcome=Outcome.BUFFERED, fingerprint=reading.fingerprint, window=self.window)
            for reading in readings
        ]

    def status(self) -> EngineStatus:
        return STATUS

    async def alert(self, fingerprint: str) -> AlertReport | None:
        if self.error is not None:
            raise self.error
        return self.known.get(fingerprint)

    async def storms(self, most: int = 1000) -> Sequence[WindowReport]:
        if self.error is not None:
            raise self.error
        return self.windows

    def recent(self, most: int) -> Sequence[RecentRequest]:
        return self.requests[:most]

    def health(self) -> Sequence[Part]:
        return self.parts

    def ready(self) -> bool:
        return self.is_ready


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running web layer, and a client for it."""

    web: Web
    engine: FakeEngine
    metrics: Metrics
    client: aiohttp.ClientSession

    @property
    def port(self) -> int:
        return int(self.web.gateway.url.rpartition(":")[2])

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        base = options.pop("base", self.web.gateway.url)
        async with self.client.request(method, base + path, allow_redirects=False, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    async def post(self, *alerts: Any, **members: Any) -> Reply:
        return await self.ask("POST", WEBHOOK, json={"alerts": alerts, **members})

    async def raw(self, *pieces: bytes) -> bytes:
        """Write the pieces to a fresh connection and read what comes, until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


Serve = Callable[..., Awaitable[Service]]
