"""Requests on their way to the API: what is passed on, what is not, and never anything twice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from chaos.faults.asked import Asked
from chaos.faults.upstream import Upstream

# Selectors make long request lines; an API server takes headers of 1 MiB.
LONGEST_LINE = 1024 * 1024
_CONNECT_SECONDS = 10.0
_HOP_BY_HOP = {
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_NOT_OURS_TO_ADD = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class UpstreamLost(Exception):
    """The API could not be reached, or broke off its answer."""


class Forwarder:
    """Connections to the API, as many as it takes. Needs a running event loop; `close` ends them."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        tls = upstream.tls()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=True if tls is None else tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NOT_OURS_TO_ADD,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )

    async def close(self) -> None:
        """Ends all connections, whatever goes on over them."""
        await self._session.close()

    @contextlib.asynccontextmanager
    async def forwarded(
        self, request: web.BaseRequest, asked: Asked, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The API's answer to a client's request with this body; its own is not read yet. Raises `UpstreamLost`."""
        try:
            answer = await self._session.request(
                request.method,
                URL(f"{self._upstream.url}{request.raw_path}", encoded=True),
                headers=end_to_end(request.headers),
                # aiohttp sends a PUT or DELETE again when a connection that was kept open turns out to be closed.
                # It cannot do that with a body that is spent, so every write gets one, if need be an empty one.
                data=body if asked.write or request.body_exists else None,
                allow_redirects=False,
                proxy=self._upstream.proxy,
                server_hostname=self._upstream.server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamLost(str(error)) from error
        try:
            yield answer
        finally:
            # One that was read to its end has given its connection back already.
            answer.close()


async def pieces(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The answer's body as it comes. Raises `UpstreamLost`."""
    try:
        async for piece in answer.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamLost(str(error)) from error


async def body_of(request: web.BaseRequest) -> AsyncGenerator[bytes, None]:
    """The request's body as it comes."""
    async for piece in request.content.iter_any():
        yield piece


async def whole(body: bytes) -> AsyncGenerator[bytes, None]:
    """A body that was read before."""
    if body:
        yield body


def end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers that are not about the connection they came on (RFC 9110, 7.6.1)."""
    pairs = list(headers.items())
    named = {
        word.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return [pair for pair in pairs if pair[0].lower() not in _HOP_BY_HOP | named]
