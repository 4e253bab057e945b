"""From `auth` of the configuration to the door of the gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.config.settings import Auth, AuthMode
from gateway.config.settings import Jwt as JwtRules
from gateway.errors import ConfigurationError
from gateway.telemetry.metrics import Metrics
from gateway.web.auth.basic import Basic
from gateway.web.auth.bearer import Bearer, TokensFile
from gateway.web.auth.files import WatchedFile
from gateway.web.auth.guard import Door, Guard, Open
from gateway.web.auth.identities import Authenticator
from gateway.web.auth.jwks import Jwks
from gateway.web.auth.jwt import Jwt
from gateway.web.auth.keys import OwnKeys, read_keys
from gateway.web.auth.mtls import Mtls
from gateway.web.auth.revocations import Revocations
from gateway.web.auth.tokenreview import TokenReviews
from gateway.web.ports import Backends, TokenRegister


def door(auth: Auth, metrics: Metrics, backends: Backends, clock: Callable[[], float]) -> Door:
    """What lets senders in. Raises `ConfigurationError`; `clock` is monotonic, in seconds."""
    if auth.mode == (AuthMode.NONE,):
        return Open()
    return Guard([_made(mode, auth, metrics, backends, clock) for mode in auth.mode], metrics)


def _made(
    mode: AuthMode, auth: Auth, metrics: Metrics, backends: Backends, clock: Callable[[], float]
) -> Authenticator:
    match mode:
        case AuthMode.BEARER:
            return Bearer(TokensFile(_path(mode, "tokens_file", auth.tokens_file), clock))
        case AuthMode.BASIC:
            return Basic(_path(mode, "users_file", auth.users_file), clock)
        case AuthMode.JWT if backends.tokens is not None:
            return _jwt(auth.jwt, metrics, backends.tokens, clock)
        case AuthMode.TOKENREVIEW if backends.reviewer is not None:
            return TokenReviews(auth.tokenreview, backends.reviewer, clock)
        case AuthMode.MTLS:
            return Mtls(auth.mtls.names)
        case _:
            raise ConfigurationError([f"auth.mode: {mode.value} is not available here"])


def _jwt(rules: JwtRules, metrics: Metrics, register: TokenRegister, clock: Callable[[], float]) -> Jwt:
    own = own_keys(rules, clock) if rules.key_file is not None else None
    issuer = None
    if rules.jwks_url is not None:
        algorithms = [algorithm for algorithm in rules.algorithms if algorithm != "HS256"]
        issuer = Jwks(rules.jwks_url, algorithms=algorithms, ca_file=rules.jwks_ca_file, clock=clock)
    path = _path(AuthMode.JWT, "jwt.revocations_file", rules.revocations_path)
    revocations = Revocations(path, register, metrics)
    return Jwt(rules, own=own, issuer=issuer, revocations=revocations, clock=clock)


def own_keys(rules: JwtRules, clock: Callable[[], float]) -> WatchedFile[OwnKeys]:
    """The gateway's own keys. Raises `ConfigurationError`, also where `auth.jwt.algorithms` does not allow them."""

    def read(content: bytes) -> OwnKeys:
        keys = read_keys(content)
        used = {algorithm for key in keys.verifying.values() for algorithm in key.algorithms}
        if lacking := sorted(used - set(rules.algorithms)):
            fault = f"auth.jwt.key_file: its keys are for {', '.join(lacking)}, not in auth.jwt.algorithms"
            raise ConfigurationError([fault])
        return keys

    path = _path(AuthMode.JWT, "jwt.key_file", rules.key_file)
    return WatchedFile("auth.jwt.key_file", path, read, clock)


def _path(mode: AuthMode, key: str, value: str | None) -> Path:
    if value is None:
        raise ConfigurationError([f"auth.{key}: needed by auth.mode {mode.value}"])
    return Path(value)
