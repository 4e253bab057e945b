"""The listeners: one for the gateway's routes, one for metrics, each with a shell of its own.

aiohttp's low-level server is used, without its application and router: routes are few and fixed, and every
request takes the shell's one path. What is not even HTTP is answered with a problem, too.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from gateway.web.shell import Shell

BACKLOG: Final = 1024
"""Connections that wait to be accepted: Alertmanager opens more than a hundred at once."""
LINGER: Final = 2.0
"""Seconds for which the rest of a refused body is read and dropped: the sender gets to read the answer."""


class Listener:
    """A listening socket and its connections."""

    def __init__(
        self, shell: Shell, host: str, port: int, *, keepalive: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """`port` 0 takes a free one; idle connections are closed after `keepalive` seconds. With `tls` it
        speaks TLS.
        """
        self._shell = shell
        self._host = host
        self._port = port
        self._keepalive = keepalive
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self.url = ""
        """Where it listens, without a trailing slash; empty before the start."""

    async def start(self) -> None:
        """Listen. Raises `OSError` where the address cannot be had."""
        server = _Server(
            self._shell,
            self._shell.bad_http,
            keepalive_timeout=self._keepalive,
            lingering_time=LINGER,
            access_log=None,
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, backlog=BACKLOG, ssl_context=self._tls)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def use(self, tls: ssl.SSLContext) -> None:
        """From now on new connections are made with this context; open ones, and those being made, stay as they are.

        A context cannot forget a CA, so it is replaced, and with it what accepts connections; the sockets that wait
        for them stay the same, so that no one is turned away.
        """
        self._tls = tls
        runner = self._runner
        if runner is None:
            return
        old = list(runner.sites)
        for site in old:
            for held in _sockets(site):
                await web.SockSite(runner, held, backlog=BACKLOG, ssl_context=tls).start()
        for site in old:
            for listening in _listening(site):
                asyncio.get_running_loop().remove_reader(listening.fileno())
        # asyncio drops a connection whose server ends between accepting it and making its transport: two steps of the
        # loop, so that what the old ones accepted last has one before they end.
        for _ in range(2):
            await asyncio.sleep(0)
        for site in old:
            await site.stop()

    async def drain(self, grace: float) -> bool:
        """Refuse what is new, say so on `/readyz`, finish what is under way; False where time ran out."""
        return await self._shell.drain(grace)

    async def stop(self) -> None:
        """Close the socket and all connections; what is still under way gets a second."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._shell.close()


def _listening(site: web.BaseSite) -> Sequence[Any]:
    """The sockets that the site listens on."""
    server = site._server  # noqa: SLF001 - nothing else tells them
    return getattr(server, "sockets", ())


def _sockets(site: web.BaseSite) -> list[socket.socket]:
    """The site's listening sockets once more, each independent of the site's."""
    return [socket.socket(fileno=os.dup(one.fileno())) for one in _listening(site)]


class BadHttp(Protocol):
    """Makes the answer to what cannot be parsed; see `Shell.bad_http`."""

    def __call__(self, *, coding: bool) -> web.StreamResponse: ...


class _Server(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, handler: Shell, bad_http: BadHttp, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(handler, loop=loop)
        self._bad_http = bad_http
        self._options = {**options, "loop": loop}

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, self._bad_http, self._options)


class _Protocol(web.RequestHandler):
    __slots__ = ("_bad_http",)

    def __init__(self, server: web.Server, bad_http: BadHttp, options: dict[str, Any]) -> None:
        super().__init__(server, **options)
        self._bad_http = bad_http

    def handle_error(self, request: web.BaseRequest, *what: object, **_more: object) -> web.StreamResponse:
        """The answer to what cannot be parsed; every other request reaches the shell."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        return self._bad_http(coding=any(isinstance(one, ContentEncodingError) for one in what))
