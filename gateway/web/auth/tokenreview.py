"""Mode `tokenreview`: the Kubernetes API says whom a bearer token belongs to.

So a pod sends with the token of its own service account, and nobody has to hand out secrets. Every answer, yes or no,
is remembered for a short while; a token that was withdrawn counts no longer than that. What nobody has answered, for
want of an API server or of a permission, is no answer, and the sender is asked to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

import structlog

from gateway.config.settings import AuthMode, TokenReview
from gateway.errors import KubeError
from gateway.web.auth.caching import Cache
from gateway.web.auth.identities import (
    BEARER_CHALLENGE,
    Authenticator,
    Credentials,
    Identity,
    Refusal,
    Result,
)
from gateway.web.ports import Reviewer

log = structlog.get_logger(__name__)

REMEMBERED: Final = 4096
AT_ONCE: Final = 16
"""Reviews under way, at most; past it the answer is 503: strangers must not make the gateway flood the API server."""
LONGEST: Final = 8192

_MISSING: Final = Refusal(Result.MISSING)
_MALFORMED: Final = Refusal(Result.MALFORMED, "no token of Kubernetes looks like this")
_UNKNOWN: Final = Refusal(Result.INVALID, "Kubernetes does not know the token, or not for this audience")
_NOT_NAMED: Final = Refusal(Result.FORBIDDEN, "the account is not in auth.tokenreview.names")
_NOT_PERMITTED: Final = Refusal(
    Result.FORBIDDEN, "the account may not do what auth.tokenreview.access asks for"
)
_BUSY: Final = Refusal(Result.UNAVAILABLE, "too many tokens wait for a review")
_UNAVAILABLE: Final = Refusal(Result.UNAVAILABLE, "the Kubernetes API does not review tokens now")


class TokenReviews(Authenticator):
    """Knows senders by what Kubernetes says of their tokens."""

    mode = AuthMode.TOKENREVIEW
    challenge = BEARER_CHALLENGE

    def __init__(self, rules: TokenReview, reviewer: Reviewer, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._rules = rules
        self._reviewer = reviewer
        self._answers: Cache[Identity | Refusal] = Cache(REMEMBERED, rules.cache, clock)
        self._under_way: dict[bytes, asyncio.Task[Identity | Refusal]] = {}
        self._error = ""

    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        token = credentials.value
        if credentials.scheme != "bearer" or not token:
            return _MISSING
        key = self._answers.key(token)
        known = self._answers.get(key)
        if known is not None:
            return known
        if len(token) > LONGEST or not token.isascii() or not token.isprintable() or " " in token:
            return _MALFORMED
        review = self._under_way.get(key)
        if review is None:
            if len(self._under_way) >= AT_ONCE:
                return _BUSY
            review = self._under_way[key] = asyncio.create_task(
                self._reviewed(key, token), name="tokenreview"
            )
            review.add_done_callback(lambda _done: self._under_way.pop(key, None))
        return await asyncio.shield(review)  # others may wait for it, too

    def warnings(self) -> Sequence[str]:
        lines = [f"tokens are not reviewed: {self._error}"] if self._error else []
        if not (self._rules.names or self._rules.access or self._rules.audiences):
            lines.append(
                "every account of the cluster may post alerts: auth.tokenreview has neither names, access nor audiences"
            )
        return lines

    def close(self) -> None:
        for review in self._under_way.values():
            review.cancel()

    async def _reviewed(self, key: bytes, token: str) -> Identity | Refusal:
        try:
            answer = await self._ask(token)
        except KubeError as error:
            self._error = str(error)[:200]
            log.warning("token cannot be reviewed", error=self._error)
            return _UNAVAILABLE
        self._error = ""
        self._answers.put(key, answer)
        return answer

    async def _ask(self, token: str) -> Identity | Refusal:
        owner = await self._reviewer.owner(token, self._rules.audiences)
        if owner is None:
            return _UNKNOWN
        names = self._rules.names
        if names and not any(fnmatchcase(owner.name, pattern) for pattern in names):
            return _NOT_NAMED
        if self._rules.access and not await self._reviewer.permitted(owner, self._rules.access):
            return _NOT_PERMITTED
        return Identity(owner.name, AuthMode.TOKENREVIEW)
