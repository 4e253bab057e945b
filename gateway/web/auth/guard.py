"""The one door: it asks the configured modes, counts what they say, and makes the answer of a refusal.

The first mode that knows the sender decides. Where none does, the answer is 401, 403 where the sender is known and may
not send, and 503 where nobody can tell now: Alertmanager tries again after that one only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog
from aiohttp import web

from gateway.config.settings import AuthMode
from gateway.telemetry.metrics import Metrics
from gateway.web.auth.identities import RANK, Authenticator, Identity, Refusal, Result, Run, presented
from gateway.web.problems import Problem, Reason, try_again

log = structlog.get_logger(__name__)

_NOTHING: Final = Refusal(Result.MISSING)
_ANONYMOUS: Final = Identity("", AuthMode.NONE)
_TOLD: Final = {
    Result.MISSING: "credentials are needed",
    Result.EXPIRED: "the credential is expired",
    Result.NOT_YET_VALID: "the credential is not valid yet",
    Result.REVOKED: "the credential is revoked",
}
"""What the sender is told; of all else only that the credential is not valid."""


class Door(Protocol):
    """Tells senders apart."""

    async def identify(self, request: web.BaseRequest, /) -> Identity:
        """Who sends it. Raises `Problem`: 401, 403, or 503."""

    def background(self) -> Mapping[str, Run]:
        """What has to run as long as the gateway does, by the name of its task."""

    def warnings(self) -> Sequence[str]:
        """What an operator should know now."""

    def close(self) -> None:
        """Leave nothing running."""


class Open:
    """Lets everybody in, and nobody has a name: mode `none`, and listeners that tell nothing about alerts."""

    async def identify(self, _request: web.BaseRequest, /) -> Identity:
        return _ANONYMOUS

    def background(self) -> Mapping[str, Run]:
        return {}

    def warnings(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        """Nothing runs."""


class Guard:
    """Asks one mode after the other."""

    def __init__(self, modes: Sequence[Authenticator], metrics: Metrics) -> None:
        self._modes = tuple(modes)
        self._validations = metrics.token_validations
        self._valid = metrics.token_validations[Result.VALID.value]
        self._expirations = metrics.token_expirations
        self._challenges = [mode.challenge for mode in modes if mode.challenge]

    async def identify(self, request: web.BaseRequest, /) -> Identity:
        credentials = presented(request)
        refusal = _NOTHING
        for mode in self._modes:
            answer = await mode.examine(credentials)
            if isinstance(answer, Identity):
                self._valid.inc()
                return answer
            if RANK[answer.result] > RANK[refusal.result]:
                refusal = answer
            if answer.result is Result.REVOKED:
                break
        self._validations[refusal.result.value].inc()
        if refusal.result is Result.EXPIRED:
            self._expirations.inc()
        if refusal.result is not Result.MISSING:
            log.info("credentials refused", result=refusal.result.value, detail=refusal.detail)
        raise self._problem(refusal.result)

    def background(self) -> Mapping[str, Run]:
        return {name: run for mode in self._modes for name, run in mode.background().items()}

    def warnings(self) -> Sequence[str]:
        return [line for mode in self._modes for line in mode.warnings()]

    def close(self) -> None:
        for mode in self._modes:
            mode.close()

    def _problem(self, result: Result) -> Problem:
        if result is Result.UNAVAILABLE:
            return try_again(Reason.DEPENDENCY, "credentials cannot be checked now")
        if result is Result.FORBIDDEN:
            return Problem(403, Reason.FORBIDDEN, "this sender may not use the gateway")
        error = "" if result is Result.MISSING else ', error="invalid_token"'
        challenges = [f"{one}{error if one.startswith('Bearer') else ''}" for one in self._challenges]
        headers = {"WWW-Authenticate": ", ".join(challenges)} if challenges else {}
        return Problem(
            401, Reason.UNAUTHENTICATED, _TOLD.get(result, "the credential is not valid"), headers=headers
        )
