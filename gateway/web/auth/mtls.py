"""Mode `mtls`: the certificate with which the client opened the connection.

That it is signed by one of `server.tls.client_ca_file`, and by when, TLS has checked when the connection was made. What
remains are the names, and the time: connections live longer than some certificates.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from gateway.config.settings import AuthMode
from gateway.web.auth.identities import Authenticator, Credentials, Identity, Refusal, Result

_MISSING: Final = Refusal(Result.MISSING)
_EXPIRED: Final = Refusal(Result.EXPIRED)
_NOT_NAMED: Final = Refusal(Result.FORBIDDEN, "no name of the certificate is in auth.mtls.names")

_KINDS: Final = {"DNS": "dns", "URI": "uri", "email": "email"}
"""What `getpeercert` calls the alternative names that count."""


class Mtls(Authenticator):
    """Knows senders by the names in their certificates."""

    mode = AuthMode.MTLS

    def __init__(self, names: Sequence[str], *, wall: Callable[[], float] = time.time) -> None:
        """`names` are patterns like `dns:alertmanager.monitoring.svc` or `cn:alertmanager*`; the first that fits one of
        the certificate's names gives the identity. `wall` is the time of the world, in seconds.
        """
        self._rules = [
            (kind, pattern.lower() if kind == "dns" else pattern) for kind, pattern in map(_split, names)
        ]
        self._wall = wall

    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        certificate = credentials.certificate
        if not certificate:
            return _MISSING
        if self._wall() > ssl.cert_time_to_seconds(str(certificate["notAfter"])):
            return _EXPIRED
        names = [(kind, name) for kind, name in _names(certificate) if name.isprintable()]
        for kind, pattern in self._rules:
            for known, name in names:
                if known == kind and fnmatchcase(name.lower() if kind == "dns" else name, pattern):
                    return Identity(name, AuthMode.MTLS)
        return _NOT_NAMED


def _split(rule: str) -> tuple[str, str]:
    kind, _, pattern = rule.partition(":")
    return kind, pattern


def _names(certificate: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and value of each name."""
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in _KINDS:
            yield _KINDS[kind], name
    for parts in certificate.get("subject", ()):
        for key, value in parts:
            if key == "commonName":
                yield "cn", value
