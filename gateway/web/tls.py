"""TLS of the gateway's listener, from files that are replaced while it runs.

A change is noticed within five seconds. From then on new connections get the new certificate and are checked against
the new CAs; those that are open stay as they are. Files that do not fit together, as while they are being replaced,
change nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from gateway.config.settings import Tls
from gateway.errors import ConfigurationError
from gateway.web.auth.files import RECHECK, Version, version

log = structlog.get_logger(__name__)

_FILES: Final = ("cert_file", "key_file", "client_ca_file")


class Certificates:
    """The files of `server.tls`."""

    def __init__(self, tls: Tls) -> None:
        """Reads them; raises `ConfigurationError`."""
        self._tls = tls
        self._paths = [Path(value) for key in _FILES if (value := getattr(tls, key)) is not None]
        self._seen: list[Version] = []
        self.warning = ""
        """What is wrong with the files now."""
        try:
            self._seen = self._versions()
            self.context: ssl.SSLContext = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError([f"server.tls: cannot be used: {_brief(error)}"]) from error

    async def watch(self, use: Callable[[ssl.SSLContext], Awaitable[None]]) -> None:
        """Look at the files now and then, and hand on what they have become."""
        while True:
            await asyncio.sleep(RECHECK)
            if self.changed():
                await use(self.context)
                log.info("certificates read again")

    def changed(self) -> bool:
        """Whether there is a new context since the last look."""
        try:
            found = self._versions()
            if found == self._seen and not self.warning:
                return False
            self.context = self._load()
        except (OSError, ValueError) as error:
            text = f"server.tls: the files cannot be used, those read before stay: {_brief(error)}"
            if text != self.warning:
                log.warning("certificates not usable", error=_brief(error))
            self.warning = text
            return False
        self._seen, self.warning = found, ""
        return True

    def _versions(self) -> list[Version]:
        return [version(path) for path in self._paths]

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A key that wants a pass phrase would ask for it on the terminal.
        context.load_cert_chain(str(self._tls.cert_file), self._tls.key_file, password=_no_password)
        if self._tls.client_ca_file is not None:
            context.load_verify_locations(self._tls.client_ca_file)
            # Not required: probes of health have none, and every other route asks for the identity anyhow.
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _brief(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
