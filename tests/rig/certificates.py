"""Key material for test servers, made afresh each time so that no private key lies in the tree."""

from __future__ import annotations

import base64
import secrets

# RFC 5915: SEQUENCE { 1, OCTET STRING d, [0] prime256v1 }; whoever reads it computes the public point from d.
_HEAD = bytes.fromhex("303102010104 20".replace(" ", ""))
_TAIL = bytes.fromhex("a00a06082a8648ce3d030107")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def elliptic_private_key() -> str:
    """A new P-256 private key in PEM, with which the API server signs service account tokens."""
    scalar = secrets.randbelow(_P256_ORDER - 1) + 1
    text = base64.encodebytes(_HEAD + scalar.to_bytes(32, "big") + _TAIL).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n"
