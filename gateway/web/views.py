"""What the gateway tells when it is asked: health, readiness, status, the open windows, the fate of one alert,
metrics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from aiohttp import hdrs
from prometheus_client import CollectorRegistry

from gateway.telemetry.exposition import expose
from gateway.telemetry.redaction import redacted
from gateway.web.ports import Engine
from gateway.web.problems import Problem, Reason, try_again
from gateway.web.reports import About, Alive, ComponentReport, NotReady, Ready, Status, Storms
from gateway.web.routes import Call, Reply
from gateway.web.text import to_json

FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_ALIVE: Final = to_json(Alive()) + b"\n"


class Views:
    """The handlers of all routes that only read."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: CollectorRegistry,
        warnings: Callable[[], Sequence[str]],
        stopping: Callable[[], bool],
        about: Callable[[], About],
    ) -> None:
        """`warnings` are about the configuration in force, for `/readyz`; `about` leads the status."""
        self._engine = engine
        self._registry = registry
        self._warnings = warnings
        self._stopping = stopping
        self._about = about

    async def alive(self, _call: Call) -> Reply:
        """200 as long as the event loop turns: a broken dependency is no reason to restart the process."""
        return Reply(_ALIVE)

    async def ready(self, _call: Call) -> Reply:
        """200 while alerts can be accepted in some way, with one line for each component."""
        components = self._components()
        warnings = self._shown_warnings()
        if self._stopping() or not self._engine.ready():
            detail = "the gateway is stopping" if self._stopping() else "alerts cannot be accepted now"
            reason = Reason.STOPPING if self._stopping() else Reason.NOT_READY
            more = {"components": components, "warnings": warnings}
            raise try_again(reason, detail, kind=NotReady, more=more)
        degraded = not all(component.ok for component in components.values())
        report = Ready("degraded" if degraded else "ready", components, warnings)
        lines = ",\n".join(f"  {_text(name)}: {_text(part)}" for name, part in report.components.items())
        text = (
            f'{{"status": {_text(report.status)},\n "components": {{\n{lines}\n }},\n'
            f' "warnings": {_text(report.warnings)}}}\n'
        )
        return Reply(text.encode())

    async def status(self, _call: Call) -> Reply:
        """The state of everything."""
        return Reply(to_json(self.report()) + b"\n")

    def report(self) -> Status:
        """The state of everything, from memory."""
        about = self._about()
        return Status(
            **msgspec.structs.asdict(self._engine.status()),
            version=about.version,
            uptime_seconds=round(about.uptime, 1),
            ready=self._engine.ready() and not self._stopping(),
            components=self._components(),
            warnings=self._shown_warnings(),
            tasks=about.tasks,
            recording=about.recording,
        )

    async def storms(self, _call: Call) -> Reply:
        """The windows that collect now."""
        return Reply(to_json(Storms(await self._engine.storms())) + b"\n")

    async def alert(self, call: Call) -> Reply:
        """What is known about one fingerprint."""
        fingerprint = call.parameter.lower()
        if FINGERPRINT.fullmatch(fingerprint) is None:
            raise Problem(400, Reason.PARAMETER, "a fingerprint has 64 hexadecimal digits")
        known = await self._engine.alert(fingerprint)
        if known is None:
            raise Problem(404, Reason.NOT_FOUND, "nothing is known about this fingerprint")
        return Reply(to_json(known) + b"\n")

    def _components(self) -> dict[str, ComponentReport]:
        return {part.name: ComponentReport(part.ok, redacted(part.detail)) for part in self._engine.health()}

    def _shown_warnings(self) -> list[str]:
        return [redacted(warning) for warning in self._warnings()]

    async def metrics(self, call: Call) -> Reply:
        """All metrics, in the format that the scraper asks for."""
        body, content_type = expose(self._registry, call.request.headers.get(hdrs.ACCEPT, ""))
        return Reply(body, content_type=content_type)


def _text(value: object) -> str:
    return to_json(value).decode()
