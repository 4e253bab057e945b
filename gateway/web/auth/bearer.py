"""Mode `bearer`: `Authorization: Bearer <token>`, against a file of named tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gateway.config.settings import AuthMode
from gateway.errors import ConfigurationError
from gateway.web.auth.files import WatchedFile
from gateway.web.auth.identities import (
    BEARER_CHALLENGE,
    Authenticator,
    Credentials,
    Identity,
    Refusal,
    Result,
)

_MISSING: Final = Refusal(Result.MISSING)
_UNKNOWN: Final = Refusal(Result.INVALID, "no such token")


class Bearer(Authenticator):
    """Knows senders by their tokens."""

    mode = AuthMode.BEARER
    challenge = BEARER_CHALLENGE

    def __init__(self, tokens: TokensFile) -> None:
        self._tokens = tokens

    async def examine(self, credentials: Credentials, /) -> Identity | Refusal:
        if credentials.scheme != "bearer":
            return _MISSING
        return self._tokens.owner(credentials.value) or _UNKNOWN


class TokensFile:
    """The file `auth.tokens_file`: one `name:token` a line; empty lines and lines that begin with `#` do not count.

    Only digests of the tokens stay in memory.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Reads the file; raises `ConfigurationError` with every fault. `clock` is monotonic, in seconds."""
        self._file = WatchedFile("auth.tokens_file", path, read_tokens, clock)

    def owner(self, token: str) -> Identity | None:
        """Whom the token belongs to. It takes the same time whichever token matches, or none."""
        presented = _digest(token.encode("utf-8", "surrogateescape"))
        found = None
        for digest, owner in self._file.content().items():
            if hmac.compare_digest(digest, presented):
                found = owner
        return found


def read_tokens(content: bytes) -> Mapping[bytes, Identity]:
    """Digest of the token → whom it belongs to. Raises `ConfigurationError` with every fault, never with a token."""
    owners: dict[bytes, Identity] = {}
    faults: list[str] = []
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
            faults.append(f"{where}: the token of {name!r} is that of {owners[digest].name!r}, too")
        else:
            # Two tokens of one name are how a token is replaced without a gap.
            owners[digest] = Identity(name, AuthMode.BEARER)
    if not owners and not faults:
        faults.append("auth.tokens_file: it holds no token; at least one line name:token is needed")
    if faults:
        raise ConfigurationError(faults)
    return owners


def _digest(token: bytes) -> bytes:
    # Digests have one length, so that a comparison does not tell the length of a token.
    return hashlib.sha256(token).digest()
