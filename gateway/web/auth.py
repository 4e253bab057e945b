"""Who sends this? Modes `none` and `bearer`.

An authenticator answers with the sender's identity or raises the 401. Modes are tried in the order of the
configuration; the first that recognises its kind of credential decides.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog
from aiohttp import hdrs, web

from gateway.errors import ConfigurationError
from gateway.telemetry.metrics import Metrics
from gateway.web.problems import Problem, Reason

log = structlog.get_logger(__name__)

REALM: Final = "alert-gateway"
RECHECK: Final = 2.0
"""Seconds between looks at the tokens file: a change counts within five seconds of it."""


class Authenticator(Protocol):
    """Tells senders apart."""

    async def identify(self, request: web.BaseRequest, /) -> str:
        """The sender's identity, empty for an anonymous one that is allowed. Raises `Problem` (401)."""


class Anonymous:
    """Mode `none`: everyone is let in, and nobody has a name."""

    async def identify(self, _request: web.BaseRequest, /) -> str:
        return ""


class Bearer:
    """Mode `bearer`: `Authorization: Bearer <token>`, against a file of tokens."""

    def __init__(self, tokens: TokensFile, metrics: Metrics) -> None:
        self._tokens = tokens
        self._valid = metrics.token_validations["valid"]
        self._invalid = metrics.token_validations["invalid"]
        self._missing = metrics.token_validations["missing"]

    async def identify(self, request: web.BaseRequest, /) -> str:
        headers = request.headers.getall(hdrs.AUTHORIZATION, [])
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            self._missing.inc()
            raise _refusal("a bearer token is needed", f'Bearer realm="{REALM}"')
        name = self._tokens.owner(token.strip())
        if name is None:
            self._invalid.inc()
            raise _refusal("the token is not valid", f'Bearer realm="{REALM}", error="invalid_token"')
        self._valid.inc()
        return name


def _refusal(detail: str, challenge: str) -> Problem:
    return Problem(401, Reason.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge})


class TokensFile:
    """The file `auth.tokens_file`: one `name:token` a line; empty lines and lines that begin with `#` do not
    count.

    A change is noticed within five seconds, by a look at the file every two, when a token is asked for. A
    file that is gone or wrong after the start keeps the tokens that were read last. Only digests of the
    tokens stay in memory.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Reads the file; raises `ConfigurationError` with every fault. `clock` is monotonic, in seconds."""
        self._path = path
        self._clock = clock
        try:
            self._seen = _version(path)
            self._owners = read_tokens(path.read_bytes())
        except OSError as error:
            raise ConfigurationError([f"auth.tokens_file: cannot read {path}: {error.strerror}"]) from error
        self._looked = clock()

    def owner(self, token: str) -> str | None:
        """The name that the token belongs to. It takes the same time whichever token matches, or none."""
        self._refresh()
        presented = _digest(token.encode("utf-8", "surrogateescape"))
        found = None
        for digest, name in self._owners.items():
            if hmac.compare_digest(digest, presented):
                found = name
        return found

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked < RECHECK:
            return
        self._looked = now
        try:
            version = _version(self._path)
            if version == self._seen:
                return
            # Noted before the reading: if the file changes meanwhile, the next look sees another version
            # again.
            self._seen = version
            self._owners = read_tokens(self._path.read_bytes())
        except (OSError, ConfigurationError) as error:
            log.warning(
                "tokens file not usable, the previous tokens stay", path=str(self._path), error=str(error)
            )
        else:
            log.info("tokens read again", path=str(self._path), tokens=len(self._owners))


def read_tokens(content: bytes) -> Mapping[bytes, str]:
    """Digest of the token → name. Raises `ConfigurationError` with every fault, never with a token."""
    owners: dict[bytes, str] = {}
    faults: list[str] = []
    names: set[str] = set()
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, token = (part.strip() for part in text.partition(":"))
        digest = _digest(token.encode())
        where = f"auth.tokens_file: line {number}"
        if not name or not token:
            faults.append(f"{where}: not of the form name:token")
        elif any(character.isspace() for character in token):
            faults.append(f"{where}: a token holds no white space")
        elif digest in owners:
            faults.append(f"{where}: the token of {name!r} is that of {owners[digest]!r}, too")
        elif name in names:
            # Two tokens of one name are how a token is replaced without a gap.
            owners[digest] = name
        else:
            names.add(name)
            owners[digest] = name
    if not owners and not faults:
        faults.append("auth.tokens_file: it holds no token; at least one line name:token is needed")
    if faults:
        raise ConfigurationError(faults)
    return owners


def authenticator(
    modes: Sequence[str], tokens_file: str | None, metrics: Metrics, clock: Callable[[], float]
) -> Authenticator:
    """What `auth` of the configuration asks for. Raises `ConfigurationError`."""
    if list(modes) == ["none"]:
        return Anonymous()
    if list(modes) == ["bearer"]:
        if tokens_file is None:
            raise ConfigurationError(
                ["auth.tokens_file: needed by auth.mode bearer; a path to name:token lines"]
            )
        return Bearer(TokensFile(Path(tokens_file), clock), metrics)
    raise ConfigurationError([f"auth.mode: {', '.join(modes)} is not available; one of none, bearer is"])


def _version(path: Path) -> tuple[int, int, int]:
    # A secret mounted by Kubernetes is replaced through a symbolic link: then the inode differs.
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(token: bytes) -> bytes:
    # Digests have one length, so that a comparison does not tell the length of a token.
    return hashlib.sha256(token).digest()
