"""The control port of the fault proxy: plain HTTP and JSON, for shell scripts and for tests in other processes.

    GET    /rules     the rules in force, a list
    PUT    /rules     replaces them: a list, or {"rules": [...], "seed": 7}; 400 with {"error": ...} changes nothing
    DELETE /rules     no rules any more: everything passes
    GET    /counts    what was done since the start: {"answer lost": 3, "forwarded": 120, ...}
    DELETE /watches   resets the connections of all open watches, once: {"cut": 2}
    GET    /          {"url": ...}: where the proxy listens

    curl -X PUT --data '[{"fault": "throttled", "retry_after": 10, "write": true}]' $CONTROL/rules

Whoever reaches the port may do all of this, so it belongs on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol, Self

from aiohttp import web

from chaos.faults.rules import Rule, rules_from_json


class Controlled(Protocol):
    """What the port steers; see `FaultProxy`."""

    @property
    def url(self) -> str: ...

    @property
    def rules(self) -> tuple[Rule, ...]: ...

    def arm(self, rules: Iterable[Rule], *, seed: int | None = None) -> None: ...

    def counts(self) -> dict[str, int]: ...

    def cut_watches(self) -> int: ...


class Control:
    """Serves between entry and exit of `async with`. Port 0 takes a free one."""

    def __init__(self, proxy: Controlled, host: str = "127.0.0.1", port: int = 0) -> None:
        self._proxy = proxy
        self._host, self._port = host, port
        application = web.Application()
        application.add_routes(
            [
                web.get("/", self._where),
                web.get("/rules", self._get_rules),
                web.put("/rules", self._put_rules),
                web.delete("/rules", self._delete_rules),
                web.get("/counts", self._get_counts),
                web.delete("/watches", self._delete_watches),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _where(self, request: web.Request) -> web.Response:
        return web.json_response({"url": self._proxy.url})

    async def _get_rules(self, request: web.Request) -> web.Response:
        return self._in_force()

    async def _put_rules(self, request: web.Request) -> web.Response:
        try:
            # Whatever type curl says it is.
            data: Any = json.loads(await request.read())
            seed = None
            if isinstance(data, dict):
                if unknown := sorted(map(str, data.keys() - {"rules", "seed"})):
                    raise ValueError(f"unknown: {', '.join(unknown)}; there are rules, seed")
                data, seed = data.get("rules"), data.get("seed")
                if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
                    raise ValueError(f"seed: {seed!r} is no whole number")
            rules = rules_from_json(data)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        self._proxy.arm(rules, seed=seed)
        return self._in_force()

    async def _delete_rules(self, request: web.Request) -> web.Response:
        self._proxy.arm([])
        return self._in_force()

    async def _get_counts(self, request: web.Request) -> web.Response:
        return web.json_response(self._proxy.counts())

    async def _delete_watches(self, request: web.Request) -> web.Response:
        return web.json_response({"cut": self._proxy.cut_watches()})

    def _in_force(self) -> web.Response:
        return web.json_response([rule.to_json() for rule in self._proxy.rules])
