"""Keys and tokens of a test's own, good ones and bad ones."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.errors import StoreUnsure
from gateway.web.auth.jwt import OWN_ISSUER
from gateway.web.auth.keys import PrivateKey, SigningKey, read_keys

ED, EC, RSA = "EdDSA", "ES256", "RS256"


class MemoryRegister:
    """What Redis would hold."""

    def __init__(self) -> None:
        self.up = True
        self.entries: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def _reach(self) -> None:
        if not self.up:
            raise StoreUnsure("gone", kind="timeout")

    async def revoked(self) -> Mapping[str, str]:
        self._reach()
        return dict(self.entries)

    async def revoke(self, entries: Mapping[str, str], *, until: float) -> None:
        self._reach()
        self.entries.update(entries)

    async def issued(self) -> Mapping[str, str]:
        self._reach()
        return dict(self.made)

    async def note_issued(self, entries: Mapping[str, str], *, until: float) -> None:
        self._reach()
        self.made.update(entries)

    async def forget(self, ids: Sequence[str]) -> None:
        self._reach()
        for one in ids:
            self.entries.pop(one, None)
            self.made.pop(one, None)


def pem(algorithm: str = ED) -> bytes:
    """A new private key."""
    key: PrivateKey
    if algorithm == ED:
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == EC:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing(path: Path) -> SigningKey:
    """The key of a key file that signs."""
    key = read_keys(path.read_bytes()).signing
    assert key is not None
    return key


def token(key: SigningKey, *, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A good token of the gateway's own; `claims` and `headers` are laid over what it has, None leaves one out."""
    now = int(time.time())
    body = {
        "iss": OWN_ISSUER,
        "sub": "alertmanager",
        "aud": "alert-gateway",
        "iat": now,
        "exp": now + 3600,
        "jti": uuid.uuid4().hex,
        **claims,
    }
    body = {name: value for name, value in body.items() if value is not None}
    head = {"kid": key.kid, **(headers or {})}
    return jwt.encode(body, key.key, algorithm=key.algorithm, headers=head)


def tampered(good: str, *, part: int, **changes: Any) -> str:
    """The token with members of its head (0) or payload (1) changed, and the signature as it was."""
    parts = good.split(".")
    content = {**json.loads(base64.urlsafe_b64decode(parts[part] + "==")), **changes}
    parts[part] = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
    return ".".join(parts)


def mangled(good: str) -> str:
    """The token with another signature of the same length."""
    head, payload, signature = good.split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[5] ^= 1
    return f"{head}.{payload}.{base64.urlsafe_b64encode(bytes(raw)).rstrip(b'=').decode()}"


def unsigned(good: str) -> str:
    """The token as `alg: none` has it."""
    return tampered(good, part=0, alg="none").rpartition(".")[0] + "."


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read(path: Path) -> bytes:
    return path.read_bytes()


def exists(path: Path) -> bool:
    return path.exists()
