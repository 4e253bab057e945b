"""What the gateway tells when it is asked: health, readiness, status, the open windows, the fate of one alert,
metrics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import hdrs
from prometheus_client import CollectorRegistry

from gateway.telemetry.exposition import expose
from gateway.telemetry.redaction import redacted
from gateway.web.ports import Engine
from gateway.web.problems import Problem, Reason, try_again
from gateway.web.routes import Call, Reply
from gateway.web.text import to_json

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class Views:
    """The handlers of all routes that only read."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: CollectorRegistry,
        warnings: Callable[[], Sequence[str]],
        stopping: Callable[[], bool],
        about: Callable[[], dict[str, Any]],
    ) -> None:
        """`warnings` are about the configuration in force, for `/readyz`; `about` leads the status."""
        self._engine = engine
        self._registry = registry
        self._warnings = warnings
        self._stopping = stopping
        self._about = about

    async def alive(self, _call: Call) -> Reply:
        """200 as long as the event loop turns: a broken dependency is no reason to restart the process."""
        return Reply(b'{"status":"ok"}\n')

    async def ready(self, _call: Call) -> Reply:
        """200 while alerts can be accepted in some way, with one line for each component."""
        components = {
            component.name: {"ok": component.ok, "detail": redacted(component.detail)}
            for component in self._engine.health()
        }
        warnings = [redacted(warning) for warning in self._warnings()]
        if self._stopping() or not self._engine.ready():
            detail = "the gateway is stopping" if self._stopping() else "alerts cannot be accepted now"
            reason = Reason.STOPPING if self._stopping() else Reason.NOT_READY
            more = {"components": components, "warnings": warnings}
            raise try_again(reason, detail, more=more)
        degraded = any(not component["ok"] for component in components.values())
        lines = ",\n".join(f"  {_text(name)}: {_text(component)}" for name, component in components.items())
        status = _text("degraded" if degraded else "ready")
        text = f'{{"status": {status},\n "components": {{\n{lines}\n }},\n "warnings": {_text(warnings)}}}\n'
        return Reply(text.encode())

    async def status(self, _call: Call) -> Reply:
        """The state of everything."""
        return Reply(to_json({**self._about(), **self._engine.status()}) + b"\n")

    async def storms(self, _call: Call) -> Reply:
        """The windows that collect now."""
        return Reply(to_json({"windows": await self._engine.storms()}) + b"\n")

    async def alert(self, call: Call) -> Reply:
        """What is known about one fingerprint."""
        fingerprint = call.parameter.lower()
        if _FINGERPRINT.fullmatch(fingerprint) is None:
            raise Problem(404, Reason.NOT_FOUND, "a fingerprint has 64 hexadecimal digits")
        known = await self._engine.alert(fingerprint)
        if known is None:
            raise Problem(404, Reason.NOT_FOUND, "nothing is known about this fingerprint")
        return Reply(to_json(known) + b"\n")

    async def metrics(self, call: Call) -> Reply:
        """All metrics, in the format that the scraper asks for."""
        body, content_type = expose(self._registry, call.request.headers.get(hdrs.ACCEPT, ""))
        return Reply(body, content_type=content_type)


def _text(value: object) -> str:
    return to_json(value).decode()
