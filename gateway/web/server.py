"""The listeners: one for the gateway's routes, one for metrics, each with a shell of its own.

aiohttp's low-level server is used, without its application and router: routes are few and fixed, and every
request takes the shell's one path. What is not even HTTP is answered with a problem, too, and so is whoever takes too
long, sends too large headers, or finds no place (`connections`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, ContentEncodingError, LineTooLong

from gateway.config.settings import Server
from gateway.web.answers import Answer
from gateway.web.body import wrong_coding
from gateway.web.connections import Connections, affordable
from gateway.web.problems import Problem, Reason
from gateway.web.shell import Shell
from gateway.web.sources import network

BACKLOG: Final = 1024
"""Connections that wait to be accepted: Alertmanager opens more than a hundred at once."""
LINGER: Final = 2.0
"""Seconds for which the rest of a refused body is read and dropped: the sender gets to read the answer."""
PATIENCE: Final = 1.0
"""Seconds that a request under way gets when everything is stopped."""


class Listener:
    """A listening socket and its connections."""

    def __init__(self, shell: Shell, limits: Server, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """It listens at the host of `limits`; `port` 0 takes a free one. With `tls` it speaks TLS."""
        self._shell = shell
        self._limits = limits
        self._port = port
        self._tls = tls
        self._server: _Server | None = None
        self._accepting: list[asyncio.Server] = []
        self.url = ""
        """Where it listens, without a trailing slash; empty before the start."""

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.places) if self._server is not None else 0

    async def start(self) -> None:
        """Listen. Raises `OSError` where the address cannot be had."""
        server = _Server(self._shell, self._limits)
        await self._accept(server)
        self._server = server
        host, port = self._accepting[0].sockets[0].getsockname()[:2]
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def use(self, tls: ssl.SSLContext) -> None:
        """From now on new connections are made with this context; open ones, and those being made, stay as they are.

        A context cannot forget a CA, so it is replaced, and with it what accepts connections; the sockets that wait
        for them stay the same, so that no one is turned away.
        """
        self._tls = tls
        server = self._server
        if server is None:
            return
        old, self._accepting = self._accepting, []
        for accepting in old:
            for held in accepting.sockets:
                await self._accept(server, socket.socket(fileno=os.dup(held.fileno())))
        for accepting in old:
            for held in accepting.sockets:
                asyncio.get_running_loop().remove_reader(held.fileno())
        # asyncio drops a connection whose server ends between accepting it and making its transport: two steps of the
        # loop, so that what the old ones accepted last has one before they end.
        for _ in range(2):
            await asyncio.sleep(0)
        for accepting in old:
            accepting.close()

    async def drain(self, grace: float) -> bool:
        """Refuse what is new, say so on `/readyz`, finish what is under way; False where time ran out."""
        return await self._shell.drain(grace)

    async def stop(self) -> None:
        """Close the socket and all connections; what is still under way gets a second."""
        for accepting in self._accepting:
            accepting.close()
        self._accepting = []
        if self._server is not None:
            await asyncio.sleep(0)  # what has just been accepted is begun
            self._server.pre_shutdown()
            await self._server.shutdown(PATIENCE)
            self._server.close()
            self._server = None
        self._shell.close()

    async def _accept(self, server: _Server, held: socket.socket | None = None) -> None:
        """Accept connections on a socket that is held already, or on a new one."""
        loop, tls, limits = asyncio.get_running_loop(), self._tls, self._limits
        # A handshake is as slow as its sender likes, and its connection has no place among the others yet.
        patience = None if tls is None else limits.header_timeout
        if held is None:
            accepting = await loop.create_server(
                server, limits.host, self._port, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=patience
            )
        else:
            accepting = await loop.create_server(
                server, sock=held, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=patience
            )
        self._accepting.append(accepting)


class _Server(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, shell: Shell, limits: Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(shell, loop=loop)
        self.turn_away: Callable[[Problem], Answer] = shell.turn_away
        self.max_header_size = limits.max_header_size
        self.places = Connections(
            most=affordable(limits.max_connections),
            most_per_source=limits.max_connections_per_source,
            header_timeout=limits.header_timeout,
            loop=loop,
        )
        self._options = {
            "loop": loop,
            "keepalive_timeout": limits.keepalive,
            "lingering_time": LINGER,
            "access_log": None,
            "max_line_size": limits.max_header_size,
            "max_field_size": limits.max_header_size,
            "max_headers": limits.max_header_count,
        }

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, self._options)

    def close(self) -> None:
        """Leave no timer behind."""
        self.places.close()


class _Protocol(web.RequestHandler):
    """One connection, with its place among the others."""

    __slots__ = ("_farewell", "_head", "_parting", "_server", "source")

    def __init__(self, server: _Server, options: dict[str, Any]) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head = 0
        """Bytes of headers that are here, of a request that is not complete."""
        self.source = ""
        self._parting = False
        """The answer under way is the last one, and its request may still be coming."""
        self._farewell: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return not self._head and self._waits

    @property
    def _waits(self) -> bool:
        """Whether it waits for a request."""
        waiter = self._waiter
        return not self._request_count or (waiter is not None and not waiter.done())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.source = network(peer[0]) if isinstance(peer, tuple) else ""
        problem = self._server.places.enter(self)
        if problem is None:
            super().connection_made(transport)
        else:
            self.transport = cast("asyncio.Transport", transport)
            self.end(problem)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.places.leave(self)
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._force_close or self._close:
            return
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head = 0
            self._server.places.asked(self)
        elif data and self._waits and self.transport is not None:
            self._head += len(data)
            self._server.places.begun(self)
            if self._head > self._server.max_header_size:
                self._tell(_headers_too_large())
                self._part()

    def end(self, problem: Problem | None = None) -> None:
        """Close it now, after telling the problem if there is one."""
        if problem is not None:
            self._tell(problem)
        self.force_close()

    async def finish_response(self, *arguments: Any) -> tuple[web.StreamResponse, bool]:
        done = await super().finish_response(*arguments)
        if self._parting:
            self._part()
        return done

    def handle_error(self, request: web.BaseRequest, *what: object, **_more: object) -> web.StreamResponse:
        """The answer to what cannot be parsed; every other request reaches the shell."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        self._parting = True
        return self._server.turn_away(_unreadable(what))

    def log_exception(self, *what: object, **more: Any) -> None:
        """Not worth an error with a traceback: the rest of a body that was refused already is no body at all."""
        if not isinstance(more.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*what, **more)

    def _tell(self, problem: Problem) -> None:
        if self.transport is not None and not self._force_close:
            self.transport.write(self._server.turn_away(problem).wire())

    def _part(self) -> None:
        """Take nothing more, and close when the sender has had the time to read the answer: who closes while the other
        one writes takes it away from them.
        """
        self._server.places.asked(self)
        transport, self._force_close = self.transport, True
        if self._waiter is not None:
            self._waiter.cancel()
        if transport is not None:
            if transport.can_write_eof():
                transport.write_eof()
            self._farewell = self._loop.call_later(LINGER, transport.close)


def _unreadable(what: tuple[object, ...]) -> Problem:
    """What is wrong with a request that the parser refuses."""
    for error in what:
        match error:
            case ContentEncodingError():
                return wrong_coding(close=True)
            case LineTooLong():
                return _headers_too_large()
            case BadHttpMessage() if error.message.startswith("Too many headers"):
                return Problem(431, Reason.HEADERS_TOO_LARGE, "there are too many headers", close=True)
    return Problem(400, Reason.BAD_HTTP, "this is not a valid HTTP request", close=True)


def _headers_too_large() -> Problem:
    return Problem(431, Reason.HEADERS_TOO_LARGE, "the headers are too large", close=True)
