"""Sessions with the API server, configured by kubernetes-asyncio.

The library knows in-cluster accounts, kubeconfigs, contexts, exec plugins, OIDC and client certificates, and
builds a connection pool for them; all that is used as it is.

Two of its settings are changed. It trusts the environment for every single request, which makes aiohttp read
a `.netrc` each time and send loopback traffic to a proxy; here a proxy is looked up once, as client-go does.
And Python 3.13's strict X.509 checks are off, as they are in every other Kubernetes client: many clusters'
own CAs lack the extensions that they ask for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from gateway.errors import ConfigurationError, KubeForbidden
from gateway.kube.answers import excerpt
from gateway.kube.proxies import proxy_for
from gateway.kube.wire import Wire

LOADING_LIMIT = 30.0
"""Seconds that loading the configuration may take; an exec plugin can hang."""


@dataclass(slots=True, eq=False)
class Session:
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

    async def authorize(self, headers: dict[str, str]) -> None:
        """Adds who calls to the headers of a request; `KubeForbidden` where that cannot be read."""
        if self.authorization is not None:
            headers |= self.authorization
            return
        try:
            # In a pod this reads the service account's token again once a minute.
            await self.api.update_params_for_auth(headers, [], ["BearerToken"])
        except (ConfigException, OSError) as error:
            raise KubeForbidden(f"credentials cannot be read: {excerpt(str(error))}") from error

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[None, None]:
        """For the time of a call."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            if self.retired and not self.users:
                await self.close()

    async def retire(self) -> None:
        """Closes it as soon as nobody uses it."""
        self.retired = True
        if not self.users:
            await self.close()

    async def close(self) -> None:
        """Closes its connections; calls under way fail."""
        if self.wire is not None:
            await self.wire.close()
        await self.http.close()
        await self.api.close()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where they are: a kubeconfig and one of its contexts, or what the environment says of either."""

    kubeconfig: str | None
    context: str | None
    environ: Mapping[str, str]

    async def load(self, *, pool: int, connect: float) -> Session:
        """A session with so many connections at once at most; `connect` is how many seconds one may take to be made.
        Raises `ConfigurationError` where there is nothing that can be used."""
        configuration = Configuration()
        configuration.connection_pool_maxsize = pool
        configuration.disable_strict_ssl_verification = True
        in_cluster = (
            self.kubeconfig is None and self.context is None and "KUBERNETES_SERVICE_HOST" in self.environ
        )
        file = self.kubeconfig or self.environ.get("KUBECONFIG") or "~/.kube/config"
        where = "in-cluster service account" if in_cluster else file
        try:
            async with asyncio.timeout(LOADING_LIMIT):
                if in_cluster:
                    load_incluster_config(  # type: ignore[no-untyped-call]
                        client_configuration=configuration, environ=self.environ
                    )
                else:
                    await load_kube_config(
                        config_file=file, context=self.context, client_configuration=configuration
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
        options: dict[str, Any] = {"proxy": configuration.proxy or proxy_for(host, self.environ)}
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
        return Session(
            api=api,
            http=http,
            wire=None if options["proxy"] else _wire(host, configuration, pool, connect),
            host=host,
            options=options,
            authorization=authorization,
        )


def _wire(host: str, configuration: Configuration, pool: int, connect: float) -> Wire:
    return Wire(
        host,
        tls=_tls(configuration),
        server_hostname=configuration.tls_server_name,
        most=pool,
        connect=connect,
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
