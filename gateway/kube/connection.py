"""Calls to the API server: bytes in, bytes out, and what failed as a `KubeError`.

Calls go over connections of our own (`wire`); watches, and whatever has to pass a proxy, through the pool of the
library that loaded the credentials (`sessions`). Its own calls are not used: they turn every answer into model
classes, and each byte of a body through `json`.

A breaker, where one is handed in, hears how every call ended; while it is open, calls fail at once. What keeps
the watched copy up to date goes on all the same (`Call.always`): that is few calls, which wait for nobody and
pace themselves, and a copy that is followed again the moment the API server returns is worth them. Their
failures count like any other, so that an outage is noticed where no alert comes. Injected faults act below it,
on whatever is about to be sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from gateway.errors import (
    ConfigurationError,
    KubeError,
    KubeForbidden,
    KubeNotTried,
    KubeThrottled,
    KubeUnavailable,
)
from gateway.kube.answers import translate, translate_failure
from gateway.kube.observing import NullObserver, Observer, Verb
from gateway.kube.permissions import Permissions
from gateway.kube.sessions import Credentials, Session
from gateway.kube.spoiling import spared, spoil
from gateway.kube.wire import Wire
from gateway.resilience.breakers import Breaker, Outcome
from gateway.resilience.faults import FaultPoint

log = logging.getLogger(__name__)

USER_AGENT = "alert-gateway"
RELOAD_PAUSE = 5.0
"""Seconds between two attempts to load credentials again, so that a 401 for good starts no exec plugin a
call."""
LARGE_BODY = 512 * 1024
# A watch only listens, so a peer that vanished is noticed by the kernel's probes or not at all: after about
# 25 s.
_PROBES = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
# RuntimeError and AssertionError are how aiohttp says that the session was closed under a call, at shutdown.
_FAILURES = (aiohttp.ClientError, OSError, EOFError, RuntimeError, AssertionError)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 3.0
    """For the TCP connection and TLS; short, so that an outage's end is noticed soon."""
    call: float = 10.0
    """For a whole call: waiting for a connection, sending, and reading the answer."""
    page: float = 30.0
    """For a page of a list."""
    patience: float = 3.0
    """A call that its caller gave up after so long counts as one without an answer."""


@dataclass(slots=True)
class _Seen:
    """How a call ended; as it stands until then, it was given up by its caller."""

    code: int = 0
    error: str = "Cancelled"
    failure: KubeError | None = None

    def answered(self, status: int) -> None:
        """With this status; 0 where there was no answer."""
        self.code = status


@dataclass(frozen=True, slots=True)
class Call:
    """One request, but for its credentials. `path` must be quoted already."""

    verb: Verb
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    always: bool = False
    """Sent although the breaker is open."""
    optional: bool = False
    """Nobody misses it: how it ends says nothing of the API server, and nothing to who grants permissions."""


WRITES = frozenset({Verb.CREATE, Verb.PATCH, Verb.DELETE, Verb.PROBE})


class Connection:
    """Sends calls and returns the bodies of their answers; everything else becomes a `KubeError`.

    `pool` is how many connections may be open at once. `open` reads files and may run an exec plugin, but
    needs no API server: a gateway starts while that is away.
    """

    def __init__(
        self,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        pool: int = 40,
        timeouts: Timeouts | None = None,
        observer: Observer | None = None,
        breaker: Breaker | None = None,
        faults: FaultPoint | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._breaker = breaker
        self._faults = faults
        self.permissions = Permissions(time.monotonic)
        self.timeouts = timeouts or Timeouts()
        self._credentials = Credentials(kubeconfig, context, environ)
        self._pool = pool
        self._observer = observer or NullObserver()
        self._session: Session | None = None
        self._reloading = asyncio.Lock()
        self._no_reload_before = 0.0
        self.date = ""
        """The `Date` of the last answer to a call: the API server's clock, in whole seconds."""

    async def open(self) -> None:
        """Loads the configuration; raises `ConfigurationError` if there is none that can be used."""
        if self._session is None:
            self._session = await self._credentials.load(pool=self._pool, connect=self.timeouts.connect)

    async def close(self) -> None:
        """Closes all connections; calls under way fail with `KubeUnavailable`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def host(self) -> str:
        """The API server's URL, empty before `open`."""
        return self._session.host if self._session else ""

    async def call(self, call: Call, *, timeout: float | None = None) -> bytes:
        """The answer's body; `timeout` in seconds, by default that of a call. After a 401 the credentials are
        loaded again and the call is sent once more. `KubeNotTried` while the breaker is open."""
        breaker = self._breaker
        if breaker is not None and not call.always and not breaker.allow():
            why = f"the Kubernetes API fails, and is left alone for now: {breaker.reason}"
            raise KubeNotTried(why, retry_after=breaker.retry_after())
        session = self._current()
        try:
            return await self._once(session, call, timeout)
        except KubeForbidden as error:
            if error.status != 401 or not await self._reload(session):
                raise
        return await self._once(self._current(), call, timeout)

    @asynccontextmanager
    async def stream(self, call: Call, *, inactivity: float) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """The answer's body in pieces, as they come.

        Headers must come within the time of a call; after that, `inactivity` seconds without a byte are an
        error.
        """
        session = self._current()
        async with session.used():
            response = await self._send_stream(session, call, inactivity)
            try:
                yield _pieces(response)
            finally:
                _hang_up(response)

    async def _send_stream(self, session: Session, call: Call, inactivity: float) -> aiohttp.ClientResponse:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect, sock_read=inactivity)
        with self._observed(call) as seen:
            async with asyncio.timeout(self.timeouts.call):
                response = await self._request(session, call, limits)
                seen.code = response.status
                if response.status == 200:
                    _probe(response)
                    return response
                async with response:
                    error = translate(response.status, await response.read(), response.headers)
            if error.status == 401:
                await self._reload(session)
            raise error

    async def _once(self, session: Session, call: Call, seconds: float | None) -> bytes:
        limit = self.timeouts.call if seconds is None else seconds
        with self._observed(call) as seen:
            faults = self._faults
            struck = faults is not None and faults.fault is not None and not call.optional
            blow = faults.strike(spared(call.verb)) if faults is not None and struck else None
            if blow is None:
                return await self._exchange(session, call, limit, seen)
            return await spoil(blow, lambda: self._exchange(session, call, limit, seen), seen.answered, limit)

    async def _exchange(self, session: Session, call: Call, limit: float, seen: _Seen) -> bytes:
        if session.wire is not None:
            return await self._exchange_directly(session, session.wire, call, limit, seen)
        limits = aiohttp.ClientTimeout(total=limit, sock_connect=self.timeouts.connect)
        async with session.used(), await self._request(session, call, limits) as response:
            seen.code = response.status
            self.date = response.headers.get("Date", "")
            body = await response.read()
            if 200 <= response.status < 300:
                return body
            raise translate(response.status, body, response.headers)

    async def _exchange_directly(
        self, session: Session, wire: Wire, call: Call, limit: float, seen: _Seen
    ) -> bytes:
        async with session.used():
            headers = await self._headers(session, call)
            async with asyncio.timeout(limit):
                answer = await wire.exchange(
                    call.method, _target(call), headers, call.body, begun=seen.answered
                )
            self.date = answer.date
            if 200 <= answer.status < 300:
                return answer.body
            raise translate(answer.status, answer.body, answer.headers)

    @contextmanager
    def _observed(self, call: Call) -> Generator[_Seen, None, None]:
        """Translates what fails inside, and reports how it ended."""
        clock = asyncio.get_running_loop().time
        seen, started = _Seen(), clock()
        try:
            yield seen
            seen.error = ""
        except KubeError as error:
            seen.error, seen.failure = type(error).__name__, error
            raise
        except _FAILURES as failure:
            translated = translate_failure(failure)
            seen.error, seen.failure = type(translated).__name__, translated
            raise translated from failure
        finally:
            seconds = clock() - started
            self._observer.called(call.verb, seen.code, seconds, seen.error)
            self._record(call, seen, seconds)

    def _record(self, call: Call, seen: _Seen, seconds: float) -> None:
        """Tell the breaker, and who is to grant permissions. How a probe went is told by who made it."""
        if call.optional:
            return
        if isinstance(seen.failure, KubeForbidden) and seen.code == 403:
            self.permissions.refused(call.verb, call.path)
        elif seen.code and seen.code != 401:
            self.permissions.passed(call.verb, call.path)
        breaker = self._breaker
        if breaker is None or call.verb is Verb.PROBE or self._session is None:
            return
        if seen.error == "Cancelled":
            if seconds >= self.timeouts.patience:
                breaker.record(Outcome.FAILURE, f"no answer within {seconds:.1f} s")
        elif seen.code or not isinstance(seen.failure, KubeForbidden):  # else the credentials cannot be read
            wait = (seen.failure.retry_after if seen.failure is not None else None) or 0.0
            breaker.record(health(call.verb, seen.failure), str(seen.failure or ""), wait)

    async def _headers(self, session: Session, call: Call) -> dict[str, str]:
        headers = {"Accept": call.accept, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        await session.authorize(headers)
        return headers

    async def _request(
        self, session: Session, call: Call, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = await self._headers(session, call)
        return await session.http.request(
            call.method,
            URL(session.host + _target(call), encoded=True),
            headers=headers,
            # aiohttp writes a large body at once if it is bytes, and in pieces if it is a file.
            data=call.body if call.body is None or len(call.body) < LARGE_BODY else BytesIO(call.body),
            timeout=limits,
            allow_redirects=False,
            **session.options,
        )

    def _current(self) -> Session:
        if self._session is None:
            raise KubeUnavailable("not connected")
        return self._session

    async def _reload(self, used: Session) -> bool:
        """Loads the configuration again unless someone has done so since `used`; True if another try makes
        sense."""
        async with self._reloading:
            if self._session is not used:
                return self._session is not None
            now = asyncio.get_running_loop().time()
            if now < self._no_reload_before:
                return False
            self._no_reload_before = now + RELOAD_PAUSE
            try:
                fresh = await self._credentials.load(pool=self._pool, connect=self.timeouts.connect)
            except ConfigurationError as error:
                log.warning("kubernetes credentials cannot be loaded again: %s", error)
                return False
            if self._session is not used:  # closed meanwhile
                await fresh.close()
                return False
            self._session = fresh
            self._observer.credentials_reloaded()
            await used.retire()
            return True


def _target(call: Call) -> str:
    return f"{call.path}?{_query(tuple(call.params.items()))}" if call.params else call.path


@lru_cache(maxsize=64)
def _query(params: tuple[tuple[str, str], ...]) -> str:
    """Nearly all calls have one of a few; those of a watch differ each time."""
    return urlencode(params)


def health(verb: Verb, failure: KubeError | None) -> Outcome:
    """What an answer, or the lack of one, says of the API server: whatever it decided, it lives.

    429 is its own word; of a quota that is used up, other namespaces notice nothing.
    """
    if isinstance(failure, KubeThrottled) and failure.status == 429:
        return Outcome.THROTTLED
    if isinstance(failure, KubeUnavailable):
        return Outcome.FAILURE
    return Outcome.SUCCESS if verb in WRITES else Outcome.ANSWERED


async def _pieces(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in response.content.iter_any():
            yield piece
    except _FAILURES as failure:
        raise translate_failure(failure) from failure


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """Ends the connection at once: with TLS, closing it waits half a minute for a server that hangs to say goodbye."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _probe(response: aiohttp.ClientResponse) -> None:
    connection = response.connection
    peer = connection.transport.get_extra_info("socket") if connection and connection.transport else None
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):  # not everywhere
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
