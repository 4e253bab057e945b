"""Mode `jwt`: signed tokens (RFC 7519), the gateway's own and those of an OAuth2 issuer.

A signature is checked first and with the key's own algorithm, then issuer, audience and times, then whether the token
was revoked. What was verified is remembered for some minutes; times and revocations are looked at with every request.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from gateway.config.settings import AuthMode
from gateway.config.settings import Jwt as Rules
from gateway.web.auth.caching import Cache
from gateway.web.auth.files import WatchedFile
from gateway.web.auth.identities import (
    BEARER_CHALLENGE,
    Authenticator,
    Credentials,
    Identity,
    Refusal,
    Result,
    Run,
)
from gateway.web.auth.jwks import Jwks, KeysUnavailableError
from gateway.web.auth.keys import OwnKeys, VerifyingKey
from gateway.web.auth.revocations import Revocations, Standing

OWN_ISSUER: Final = "alert-gateway"
"""The claim `iss` of the gateway's own tokens; nobody else's count as such, and no issuer may be called so."""
REMEMBERED: Final = 4096
REMEMBER: Final = 300.0
"""Seconds for which a signature is not checked again, unless the keys change."""

_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_MISSING: Final = Refusal(Result.MISSING)
_UNAVAILABLE: Final = Refusal(Result.UNAVAILABLE, "the keys of the issuer cannot be read")
_UNREAD: Final = Refusal(Result.UNAVAILABLE, "no list of revoked tokens could be read")
_REVOKED: Final = Refusal(Result.REVOKED)
_EXPIRED: Final = Refusal(Result.EXPIRED)

# Sorted from the special to the general: the first that fits is told.
_RESULTS: Final[Sequence[tuple[type[Exception], Result]]] = (
    (jwt.ExpiredSignatureError, Result.EXPIRED),
    (jwt.ImmatureSignatureError, Result.NOT_YET_VALID),
    (jwt.InvalidAudienceError, Result.WRONG_AUDIENCE),
    (jwt.InvalidIssuerError, Result.WRONG_ISSUER),
    (jwt.InvalidAlgorithmError, Result.BAD_ALGORITHM),
    (jwt.InvalidSignatureError, Result.BAD_SIGNATURE),
    (jwt.MissingRequiredClaimError, Result.INVALID),
    (jwt.DecodeError, Result.MALFORMED),
    (jwt.PyJWTError, Result.INVALID),
)

_UNFORESEEN: Final = (ValueError, TypeError, OverflowError, RecursionError)
"""What the library lets through where a token is text of the wrong kind: surrogates, deep nesting, odd numbers."""


@dataclass(frozen=True, slots=True)
class _Verified:
    identity: Identity
    expires: float
    ids: tuple[str, ...]
    """Under which it may be revoked."""


class Jwt(Authenticator):
    """Knows senders by tokens that say themselves who they are."""

    mode = AuthMode.JWT
    challenge = BEARER_CHALLENGE

    def __init__(
        self,
        rules: Rules,
        *,
        own: WatchedFile[OwnKeys] | None,
        issuer: Jwks | None,
        revocations: Revocations,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is monotonic, `wall` the time of the world, both in seconds."""
        self._rules = rules
        self._own = own
        self._issuer = issuer
        self._revocations = revocations
        self._wall = wall
        self._verified: Cache[_Verified] = Cache(REMEMBERED, REMEMBER, clock)
        self._own_keys = own.content() if own else None
        self._issuer_keys = issuer.generation if issuer else 0

    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        if credentials.scheme != "bearer" or not credentials.value:
            return _MISSING
        token = credentials.value
        self._forget_if_keys_changed()
        key = self._verified.key(token)
        verified = self._verified.get(key)
        if verified is None:
            answer = await self._verify(token)
            if isinstance(answer, Refusal):
                return answer
            self._verified.put(key, answer)
            verified = answer
        if self._wall() >= verified.expires + self._rules.leeway:
            return _EXPIRED
        standing = self._revocations.standing(verified.ids)
        if standing is Standing.CLEAR:
            return verified.identity
        return _REVOKED if standing is Standing.REVOKED else _UNREAD

    def background(self) -> Mapping[str, Run]:
        runs: dict[str, Run] = {"revocations": self._revocations.run}
        if self._issuer is not None:
            runs["jwks"] = self._issuer.run
        return runs

    def warnings(self) -> Sequence[str]:
        return [*self._revocations.warnings(), *(self._issuer.warnings() if self._issuer else ())]

    def close(self) -> None:
        if self._issuer is not None:
            self._issuer.close()

    def _forget_if_keys_changed(self) -> None:
        own = self._own.content() if self._own else None
        generation = self._issuer.generation if self._issuer else 0
        if own is not self._own_keys or generation != self._issuer_keys:
            self._own_keys, self._issuer_keys = own, generation
            self._verified.clear()

    async def _verify(self, token: str) -> _Verified | Refusal:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, *_UNFORESEEN) as error:
            return Refusal(Result.MALFORMED, type(error).__name__)
        kid, algorithm = header.get("kid", ""), header.get("alg")
        if algorithm not in self._rules.algorithms:
            return Refusal(Result.BAD_ALGORITHM, "the token's algorithm is not in auth.jwt.algorithms")
        own = self._own.content().verifying.get(kid) if self._own else None
        try:
            key = own or (await self._issuer.find(kid) if self._issuer else None)
        except KeysUnavailableError:
            return _UNAVAILABLE
        if key is None:
            return Refusal(Result.INVALID, "the token names a key that is not known")
        if algorithm not in key.algorithms:
            return Refusal(Result.BAD_ALGORITHM, "the key is not for the token's algorithm")
        return self._judged(token, key, algorithm, own=own is not None)

    def _judged(self, token: str, key: VerifyingKey, algorithm: str, *, own: bool) -> _Verified | Refusal:
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._rules.audience,
                issuer=OWN_ISSUER if own else self._rules.issuer,
                leeway=self._rules.leeway,
                options={"require": ["exp", "jti", "iat"] if own else ["exp"]},
            )
        except jwt.MissingRequiredClaimError as error:
            lacking = {"aud": Result.WRONG_AUDIENCE, "iss": Result.WRONG_ISSUER}
            return Refusal(lacking.get(error.claim, Result.INVALID), f"the token has no claim {error.claim}")
        except jwt.PyJWTError as error:
            result = next(result for kind, result in _RESULTS if isinstance(error, kind))
            return Refusal(result, type(error).__name__)
        except _UNFORESEEN as error:
            return Refusal(Result.MALFORMED, type(error).__name__)
        expires = float(claims["exp"])
        if expires - self._wall() > self._rules.max_lifetime + self._rules.leeway:
            return Refusal(Result.INVALID, "the token lives longer than auth.jwt.max_lifetime")
        name = claims.get("sub" if own else self._rules.identity_claim)
        if not isinstance(name, str) or not 0 < len(name) <= 256 or not name.isprintable():
            return Refusal(Result.INVALID, "the token names nobody")
        return _Verified(Identity(name, AuthMode.JWT), expires, ids(token, claims))


def ids(token: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Under what a token may be revoked: always the hash of what is signed, and before it its `jti` where that is a
    plain word.

    The signature is left out: one signature can be written in several ways, what is signed in one only.
    """
    signed = token.rpartition(".")[0].encode("utf-8", "replace")
    whole = f"sha256~{hashlib.sha256(signed).hexdigest()}"
    jti = claims.get("jti")
    return (jti, whole) if isinstance(jti, str) and is_id(jti) else (whole,)


def is_id(text: str) -> bool:
    """Whether it can stand in a list of revoked tokens."""
    return _ID.fullmatch(text) is not None
