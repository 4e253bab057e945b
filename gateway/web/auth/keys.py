"""The gateway's own keys: they sign what `gateway token issue` makes, and verify it.

A key has one algorithm, given by its kind, so no token can choose another for it (the confusion that
CVE-2016-5431 is about). Its id is a hash of its public part: keys are replaced by putting the new one first and
keeping the old one, or its public part, until its tokens have expired.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.errors import ConfigurationError

SHORTEST_SECRET: Final = 32
"""Bytes of a shared secret: as many as the hash has (RFC 7518, 3.2)."""
SHORTEST_RSA: Final = 2048

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_KEY: Final = "auth.jwt.key_file"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """What a signature is checked with, and by which algorithms."""

    key: PublicKey | bytes
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a token is signed with."""

    kid: str
    key: PrivateKey | bytes
    algorithm: str


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """What a key file holds."""

    verifying: Mapping[str, VerifyingKey]
    """By the key's id."""
    signing: SigningKey | None
    """The first key of the file, where its private part is there."""


def read_keys(content: bytes) -> OwnKeys:
    """The keys of a file: PEM (Ed25519, EC P-256, RSA; private or public, several), else one shared secret.

    Raises `ConfigurationError`, never with a key.
    """
    blocks = list(_BLOCK.finditer(content))
    if not blocks:
        return _shared(content.strip())
    verifying: dict[str, VerifyingKey] = {}
    signing: SigningKey | None = None
    for number, block in enumerate(blocks, 1):
        private, public = _loaded(block[1], block[0], number)
        algorithm = _algorithm(public, number)
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kid = hashlib.sha256(der).hexdigest()[:16]
        verifying[kid] = VerifyingKey(public, frozenset({algorithm}))
        if number == 1 and private is not None:
            signing = SigningKey(kid, private, algorithm)
    return OwnKeys(verifying, signing)


def _shared(secret: bytes) -> OwnKeys:
    if len(secret) < SHORTEST_SECRET:
        fault = (
            f"{_KEY}: it holds neither a key in PEM nor a secret of at least {SHORTEST_SECRET} bytes; "
            "`openssl genpkey -algorithm ed25519` makes a key"
        )
        raise ConfigurationError([fault])
    kid = hashlib.sha256(b"kid:" + secret).hexdigest()[:16]
    return OwnKeys({kid: VerifyingKey(secret, frozenset({"HS256"}))}, SigningKey(kid, secret, "HS256"))


def _loaded(label: bytes, pem: bytes, number: int) -> tuple[PrivateKey | None, PublicKey]:
    try:
        if label.endswith(b"PRIVATE KEY"):
            private = load_pem_private_key(pem, password=None)
            if isinstance(private, PrivateKey):
                return private, private.public_key()
        else:
            public = load_pem_public_key(pem)
            if isinstance(public, PublicKey):
                return None, public
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError([f"{_KEY}: block {number} cannot be read as an unencrypted key"]) from None
    raise ConfigurationError([_unusable(number)])


def _algorithm(key: PublicKey, number: int) -> str:
    match key:
        case ed25519.Ed25519PublicKey():
            return "EdDSA"
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        case rsa.RSAPublicKey() if key.key_size >= SHORTEST_RSA:
            return "RS256"
        case _:
            raise ConfigurationError([_unusable(number)])


def _unusable(number: int) -> str:
    return f"{_KEY}: block {number} is no Ed25519, EC P-256 or RSA key of at least {SHORTEST_RSA} bits"
