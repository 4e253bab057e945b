"""Which keys of a JWKS are used: those that can only verify, for signatures, and with algorithms that are allowed."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.web.auth.jwks import read_keys

ALLOWED = frozenset({"EdDSA", "ES256", "RS256", "PS256"})
ED = ed25519.Ed25519PrivateKey.generate()


def entry(key: Any, **more: Any) -> dict[str, Any]:
    kinds = {
        "EdDSA": jwt.algorithms.OKPAlgorithm,
        "ES": jwt.algorithms.ECAlgorithm,
        "RS": jwt.algorithms.RSAAlgorithm,
    }
    name = (
        "RS"
        if isinstance(key, rsa.RSAPrivateKey)
        else "ES"
        if isinstance(key, ec.EllipticCurvePrivateKey)
        else "EdDSA"
    )
    made: dict[str, Any] = json.loads(kinds[name].to_jwk(key.public_key()))
    return {**made, "kid": "k", **more}


def keys(*entries: Any) -> dict[str, frozenset[str]]:
    found = read_keys(json.dumps({"keys": entries}).encode(), ALLOWED)
    return {kid: key.algorithms for kid, key in found.items()}


def test_a_key_is_for_the_algorithms_of_its_kind_or_for_the_one_that_it_names() -> None:
    one = rsa.generate_private_key(65537, 2048)
    assert keys(entry(one)) == {"k": frozenset({"RS256", "PS256"})}
    assert keys(entry(one, alg="PS256")) == {"k": frozenset({"PS256"})}
    assert keys(entry(ED)) == {"k": frozenset({"EdDSA"})}
    assert keys(entry(ec.generate_private_key(ec.SECP256R1()))) == {"k": frozenset({"ES256"})}


UNUSABLE: dict[str, Any] = {
    "a shared secret": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "x"},
    "a key for encryption": entry(ED, kid="x", use="enc"),
    "a private key": {**entry(ED, kid="x"), "d": "AAAA"},
    "an algorithm that is not allowed": entry(ec.generate_private_key(ec.SECP384R1()), kid="x"),
    "an algorithm of another kind": entry(ED, kid="x", alg="RS256"),
    "alg none": entry(ED, kid="x", alg="none"),
    "a small key": entry(rsa.generate_private_key(65537, 1024), kid="x"),
    "a broken key": {"kty": "OKP", "crv": "Ed25519", "x": "?", "kid": "x"},
    "an unknown kind": {"kty": "QUANTUM", "kid": "x"},
    "no object": 7,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_must_not_verify_is_left_out_and_the_others_stay(name: str) -> None:
    assert set(keys(UNUSABLE[name], entry(ED))) == {"k"}
    with pytest.raises(ValueError, match="no key"):
        keys(UNUSABLE[name])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []}', b"\xff"])
def test_what_is_no_jwks_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        read_keys(body, ALLOWED)
