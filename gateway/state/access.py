"""How Redis is reached: addresses, credentials, TLS, and the making of one connection to one address.

Credentials in files are read for every new connection, so that a rotated password is taken without a restart: a
connection that is refused for its password is dropped, and the next one reads the files again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from gateway.config.redis_url import Address, RedisAddress, parse
from gateway.config.settings import Redis, RedisTLS
from gateway.errors import StoreRefused

CONNECT_TIMEOUT = 1.0
"""Seconds for making a connection: TCP, TLS, login. Calls do not wait for it longer than their own time-out."""


@dataclass(frozen=True)
class Login:
    """Who the gateway says it is: from files, else as given."""

    username: str = ""
    password: str = ""
    username_file: str | None = None
    password_file: str | None = None

    def options(self) -> dict[str, Any]:
        """What the library is told."""
        if self.username_file or self.password_file:
            return {"credential_provider": _Files(self)}
        return {"username": self.username or None, "password": self.password or None}


class _Files(CredentialProvider):
    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        username = _content(self._login.username_file) or self._login.username
        password = _content(self._login.password_file) or self._login.password
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _content(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreRefused(f"credentials for Redis cannot be read: {error}", kind="auth") from error


@dataclass(frozen=True)
class Access:
    """Everything needed to reach Redis."""

    where: RedisAddress
    login: Login
    sentinel_login: Login = Login()
    tls: RedisTLS = field(default_factory=RedisTLS)

    @staticmethod
    def of(settings: Redis) -> Access:
        """As the configuration says."""
        where = parse(settings.url)
        return Access(
            where,
            Login(where.username, where.password, settings.username_file, settings.password_file),
            Login("", "", settings.sentinel.username_file, settings.sentinel.password_file),
            settings.tls,
        )

    def connection(self, address: Address | None) -> AbstractConnection:
        """A connection, not open yet, to a server of Redis; None for the Unix socket."""
        options = {**_options(), **self.login.options(), "db": self.where.db}
        if address is None:
            return UnixDomainSocketConnection(path=self.where.socket, **options)
        host, port = address
        if self.where.tls:
            return SSLConnection(host=host, port=port, **self._tls_options(), **options)
        return Connection(host=host, port=port, **options)

    def sentinel_options(self) -> Mapping[str, Any]:
        """What the library is told of the connections to Sentinels."""
        options = {**_options(), **self.sentinel_login.options(), "socket_timeout": CONNECT_TIMEOUT / 2}
        options["socket_connect_timeout"] = CONNECT_TIMEOUT / 2
        return {**options, "ssl": True, **self._tls_options()} if self.where.tls else options

    def _tls_options(self) -> dict[str, Any]:
        return {
            "ssl_ca_certs": self.tls.ca_file,
            "ssl_certfile": self.tls.cert_file,
            "ssl_keyfile": self.tls.key_file,
            "ssl_cert_reqs": "none" if self.tls.insecure else "required",
            "ssl_check_hostname": not self.tls.insecure,
        }


def _options() -> dict[str, Any]:
    """Times are ours: the library neither tries again nor limits a single read."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "protocol": 2,
    }
