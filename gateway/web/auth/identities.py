"""The words of authentication: what a request shows, and what a mode makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from aiohttp import hdrs, web

from gateway.config.settings import AuthMode


class Result(StrEnum):
    """How a check of credentials ended: the label `result` of `gateway_token_validations_total`, and the log's word.

    Where several modes refuse, the one that stands last here is told: it knows most about the credential.
    """

    VALID = "valid"
    MISSING = "missing"
    """Nothing that the mode could look at."""
    MALFORMED = "malformed"
    INVALID = "invalid"
    """Nobody's token, a wrong password, a key that is not known, a claim that is missing."""
    BAD_ALGORITHM = "bad_algorithm"
    BAD_SIGNATURE = "bad_signature"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    """Known, and not among those that may send (403)."""
    UNAVAILABLE = "unavailable"
    """Cannot be told now (503)."""
    REVOKED = "revoked"


Run = Callable[[], Awaitable[None]]

REALM: Final = "alert-gateway"
BEARER_CHALLENGE: Final = f'Bearer realm="{REALM}"'
BASIC_CHALLENGE: Final = f'Basic realm="{REALM}", charset="UTF-8"'

RANK: Final = {result: rank for rank, result in enumerate(Result)}


@dataclass(frozen=True, slots=True)
class Identity:
    """A sender that is known."""

    name: str
    """For policy, limits and logs; empty only for an anonymous sender."""
    mode: AuthMode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A sender that is not let in by this mode, and why."""

    result: Result
    detail: str = ""
    """For the log of the gateway, never for the sender."""


class Credentials(NamedTuple):
    """What a request shows of its sender.

    One is made for every request, hence no dataclass: making that takes three times as long.
    """

    scheme: str = ""
    """Of the one header `Authorization`, in lower case; empty where there is none, or more than one."""
    value: str = ""
    certificate: Mapping[str, Any] = MappingProxyType({})
    """The client's certificate as `ssl.SSLSocket.getpeercert` tells it; empty where there is none."""


def presented(request: web.BaseRequest) -> Credentials:
    """What the request shows. A certificate speaks only for a request that shows nothing else: who sends a token is
    judged by it, so that a revoked one is not made up for.
    """
    headers = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(headers) == 1:
        scheme, _, value = headers[0].partition(" ")
        return Credentials(scheme.lower(), value.strip())
    transport = request.transport
    if headers or transport is None:
        return Credentials()
    return Credentials(certificate=transport.get_extra_info("peercert") or {})


class Authenticator(ABC):
    """One mode."""

    mode: AuthMode
    challenge: str = ""
    """What `WWW-Authenticate` says of it; empty where a sender cannot be asked in this way."""

    @abstractmethod
    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        """Who this is, or why not. Whatever it depends on that does not answer is a refusal (`UNAVAILABLE`)."""

    def background(self) -> Mapping[str, Run]:
        """What has to run as long as the gateway does, by the name of its task."""
        return {}

    def warnings(self) -> Sequence[str]:
        """What an operator should know now, for `/readyz`."""
        return ()

    def close(self) -> None:
        """Leave nothing running."""
        return
