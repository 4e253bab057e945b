"""Sessions with the API server, configured by kubernetes-asyncio.

The library knows in-cluster accounts, kubeconfigs, contexts, exec plugins, OIDC and client certificates, and
builds a connection pool for them; all that is used as it is. Its calls are not: they turn
every answer into model classes, and each byte of a body through `json`. Calls here go over connections of our
own (`wire`), with bytes in and bytes out; watches, and whatever has to pass a proxy, through the library's pool.

Two of its settings are changed. It trusts the environment for every single request, which makes aiohttp read
a `.netrc` each time and send loopback traffic to a proxy; here a proxy is looked up once, as client-go does.
And Python 3.13's strict X.509 checks are off, as they are in every other Kubernetes client: many clusters'
own CAs lack the extensions that they ask for.

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
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from yarl import URL

from gateway.errors import (
    ConfigurationError,
    KubeError,
    KubeForbidden,
    KubeNotTried,
    KubeThrottled,
    KubeUnavailable,
)
from gateway.kube.answers import excerpt, translate, translate_failure
from gateway.kube.observing import NullObserver, Observer, Verb
from gateway.kube.permissions import Permissions
from gateway.kube.proxies import proxy_for
from gateway.kube.spoiling import spared, spoil
from gateway.kube.wire import Wire
from gateway.resilience.breakers import Breaker, Outcome
from gateway.resilience.faults import FaultPoint

log = logging.getLogger(__name__)

USER_AGENT = "alert-gateway"
RELOAD_PAUSE = 5.0
"""Seconds between two attempts to load credentials again, so that a 401 for good starts no exec plugin a
call."""
LOADING_LIMIT = 30.0
"""Seconds that loading the configuration may take; an exec plugin can hang."""
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


@dataclass(slots=True, eq=False)
class _Session:
    """One loaded configuration; calls that began on it end on it, even if it was replaced meanwhile."""

    api: ApiClient
    http: aiohttp.ClientSession
    wire: Wire | None
    """For everything but streams; None where a proxy has to be passed."""
    host: str
    options: dict[str, Any]
    authorization: dict[str, str] | None
    """The headers that say who calls; None where they have to be asked for each time."""
    users: int = 0
    retired: bool = False

    async def close(self) -> None:
        if self.wire is not None:
            await self.wire.close()
        await self.http.close()
        await self.api.close()


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
        self._kubeconfig = kubeconfig
        self._context = context
        self._pool = pool
        self._observer = observer or NullObserver()
        self._environ = environ
        self._session: _Session | None = None
        self._reloading = asyncio.Lock()
        self._no_reload_before = 0.0
        self.date = ""
        """The `Date` of the last answer to a call: the API server's clock, in whole seconds."""

    async def open(self) -> None:
        """Loads the configuration; raises `ConfigurationError` if there is none that can be used."""
        if self._session is None:
            self._session = await self._load()

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
        async with self._using(session):
            response = await self._send_stream(session, call, inactivity)
            try:
                yield _pieces(response)
            finally:
                response.close()

    async def _send_stream(self, session: _Session, call: Call, inactivity: float) -> aiohttp.ClientResponse:
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

    async def _once(self, session: _Session, call: Call, seconds: float | None) -> bytes:
        limit = self.timeouts.call if seconds is None else seconds
        with self._observed(call) as seen:
            faults = self._faults
            struck = faults is not None and faults.fault is not None and not call.optional
            blow = faults.strike(spared(call.verb)) if faults is not None and struck else None
            if blow is None:
                return await self._exchange(session, call, limit, seen)
            return await spoil(blow, lambda: self._exchange(session, call, limit, seen), seen.answered, limit)

    async def _exchange(self, session: _Session, call: Call, limit: float, seen: _Seen) -> bytes:
        if session.wire is not None:
            return await self._exchange_directly(session, session.wire, call, limit, seen)
        limits = aiohttp.ClientTimeout(total=limit, sock_connect=self.timeouts.connect)
        async with self._using(session), await self._request(session, call, limits) as response:
            seen.code = response.status
            self.date = response.headers.get("Date", "")
            body = await response.read()
            if 200 <= response.status < 300:
                return body
            raise translate(response.status, body, response.headers)

    async def _exchange_directly(
        self, session: _Session, wire: Wire, call: Call, limit: float, seen: _Seen
    ) -> bytes:
        async with self._using(session):
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

    async def _headers(self, session: _Session, call: Call) -> dict[str, str]:
        headers = {"Accept": call.accept, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if session.authorization is not None:
            headers |= session.authorization
            return headers
        try:
            # In a pod this reads the service account's token again once a minute.
            await session.api.update_params_for_auth(headers, [], ["BearerToken"])
        except (ConfigException, OSError) as error:
            raise KubeForbidden(f"credentials cannot be read: {excerpt(str(error))}") from error
        return headers

    async def _request(
        self, session: _Session, call: Call, limits: aiohttp.ClientTimeout
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

    def _current(self) -> _Session:
        if self._session is None:
            raise KubeUnavailable("not connected")
        return self._session

    @asynccontextmanager
    async def _using(self, session: _Session) -> AsyncGenerator[None, None]:
        session.users += 1
        try:
            yield
        finally:
            session.users -= 1
            if session.retired and not session.users:
                await session.close()

    async def _reload(self, used: _Session) -> bool:
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
                fresh = await self._load()
            except ConfigurationError as error:
                log.warning("kubernetes credentials cannot be loaded again: %s", error)
                return False
            if self._session is not used:  # closed meanwhile
                await fresh.close()
                return False
            self._session = fresh
            self._observer.credentials_reloaded()
            used.retired = True
            if not used.users:
                await used.close()
            return True

    async def _load(self) -> _Session:
        configuration = Configuration()
        configuration.connection_pool_maxsize = self._pool
        configuration.disable_strict_ssl_verification = True
        in_cluster = (
            self._kubeconfig is None and self._context is None and "KUBERNETES_SERVICE_HOST" in self._environ
        )
        file = self._kubeconfig or self._environ.get("KUBECONFIG") or "~/.kube/config"
        where = "in-cluster service account" if in_cluster else file
        try:
            async with asyncio.timeout(LOADING_LIMIT):
                if in_cluster:
                    load_incluster_config(  # type: ignore[no-untyped-call]
                        client_configuration=configuration, environ=self._environ
                    )
                else:
                    await load_kube_config(
                        config_file=file, context=self._context, client_configuration=configuration
                    )
            api = ApiClient(configuration)
        # The loader fails in a dozen ways on a file of the wrong shape, by assertion and KeyError among them.
        except Exception as error:
            said = excerpt(str(error)) or type(error).__name__
            raise ConfigurationError(
                [
                    f"kubernetes.kubeconfig: {where} cannot be used: {said}; a readable kubeconfig would be right"
                ]
            ) from error
        host = str(configuration.host).rstrip("/")
        options: dict[str, Any] = {"proxy": configuration.proxy or proxy_for(host, self._environ)}
        if configuration.tls_server_name:
            options["server_hostname"] = configuration.tls_server_name
        http = aiohttp.ClientSession(
            connector=api.rest_client.pool_manager.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            raise_for_status=False,
        )
        authorization: dict[str, str] | None = None
        if configuration.refresh_api_key_hook is None:
            authorization = {}
            await api.update_params_for_auth(authorization, [], ["BearerToken"])
        return _Session(
            api=api,
            http=http,
            wire=None if options["proxy"] else self._wire(host, configuration),
            host=host,
            options=options,
            authorization=authorization,
        )

    def _wire(self, host: str, configuration: Configuration) -> Wire:
        return Wire(
            host,
            tls=_tls(configuration),
            server_hostname=configuration.tls_server_name,
            most=self._pool,
            connect=self.timeouts.connect,
        )


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """As the library makes it for its own pool."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


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


def _probe(response: aiohttp.ClientResponse) -> None:
    connection = response.connection
    peer = connection.transport.get_extra_info("socket") if connection and connection.transport else None
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):  # not everywhere
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
