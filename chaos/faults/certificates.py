"""A certificate for one run of a proxy, and the authority that vouches for it, made on the spot.

Made here so that whoever rehearses failures needs neither openssl nor another package. The arithmetic takes no care
to hide its secrets from who shares the machine: keys live as long as one proxy, on loopback. The authority's key is
forgotten as soon as it has signed.

X.509 is RFC 5280, with what its strict reading asks for; keys are RFC 5915, signatures ECDSA with P-256 (FIPS 186-5).
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_LIFE = timedelta(days=365)
_Point = tuple[int, int] | None
"""On the curve; None is the point at infinity."""


@dataclass(frozen=True, slots=True)
class Issued:
    """All in PEM."""

    authority: str
    certificate: str
    key: str


def issue(names: Sequence[str], *, now: datetime | None = None) -> Issued:
    """A server certificate for host names and IP addresses, good for a year from `now`, and its authority."""
    now = now or datetime.now(UTC)
    authority, server = _Key(), _Key()
    issuer = "fault proxy authority"
    own = [
        _extension("2.5.29.19", _sequence(b"\x01\x01\xff"), critical=True),  # basic constraints: an authority
        _extension("2.5.29.15", b"\x03\x02\x02\x04", critical=True),  # key usage: to sign certificates
        _extension("2.5.29.14", _tagged(0x04, authority.identifier)),
    ]
    alternatives = b"".join(_alternative(name) for name in names)
    servers = [
        _extension("2.5.29.19", _sequence(), critical=True),
        _extension("2.5.29.15", b"\x03\x02\x07\x80", critical=True),  # key usage: to sign handshakes
        _extension("2.5.29.37", _sequence(_identifier("1.3.6.1.5.5.7.3.1"))),  # as a TLS server
        _extension("2.5.29.17", _sequence(alternatives)),
        _extension("2.5.29.14", _tagged(0x04, server.identifier)),
        _extension("2.5.29.35", _sequence(_tagged(0x80, authority.identifier))),
    ]
    return Issued(
        authority=_certificate(issuer, authority, subject=issuer, key=authority, extensions=own, now=now),
        certificate=_certificate(
            issuer, authority, subject="fault proxy", key=server, extensions=servers, now=now
        ),
        key=server.pem(),
    )


class _Key:
    def __init__(self) -> None:
        self._scalar = secrets.randbelow(_ORDER - 1) + 1
        point = _times(self._scalar, _BASE)
        assert point is not None  # the scalar is below the order
        self.public = b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
        self.identifier = hashlib.sha256(self.public).digest()[:20]

    def pem(self) -> str:
        curve = _tagged(0xA0, _identifier("1.2.840.10045.3.1.7"))
        content = _integer(1) + _tagged(0x04, self._scalar.to_bytes(32, "big")) + curve
        return _pem("EC PRIVATE KEY", _sequence(content))

    def sign(self, message: bytes) -> bytes:
        digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
        while True:
            nonce = secrets.randbelow(_ORDER - 1) + 1
            point = _times(nonce, _BASE)
            assert point is not None
            first = point[0] % _ORDER
            second = pow(nonce, -1, _ORDER) * (digest + first * self._scalar) % _ORDER
            if first and second:
                return _sequence(_integer(first) + _integer(second))


def _times(scalar: int, point: _Point) -> _Point:
    result: _Point = None
    while scalar:
        if scalar & 1:
            result = _plus(result, point)
        point = _plus(point, point)
        scalar >>= 1
    return result


def _plus(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return other if one is None else one
    if one[0] == other[0]:
        if (one[1] + other[1]) % _P == 0:
            return None
        slope = 3 * (one[0] * one[0] - 1) * pow(2 * one[1], -1, _P)  # the curve's a is −3
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P)
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _certificate(
    issuer: str, signer: _Key, *, subject: str, key: _Key, extensions: list[bytes], now: datetime
) -> str:
    algorithm = _sequence(_identifier("1.2.840.10045.4.3.2"))
    curve = _sequence(_identifier("1.2.840.10045.2.1") + _identifier("1.2.840.10045.3.1.7"))
    content = _sequence(
        _tagged(0xA0, _integer(2)),  # version 3
        _integer(secrets.randbits(120) + 1),
        algorithm,
        _name(issuer),
        _sequence(_time(now - timedelta(days=1)), _time(now + _LIFE)),
        _name(subject),
        _sequence(curve, _bits(key.public)),
        _tagged(0xA3, _sequence(*extensions)),
    )
    return _pem("CERTIFICATE", _sequence(content, algorithm, _bits(signer.sign(content))))


def _pem(label: str, content: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(content).decode()}-----END {label}-----\n"


def _alternative(name: str) -> bytes:
    try:
        return _tagged(0x87, ipaddress.ip_address(name).packed)
    except ValueError:
        return _tagged(0x82, name.encode("ascii"))


def _extension(identifier: str, value: bytes, *, critical: bool = False) -> bytes:
    return _sequence(_identifier(identifier), b"\x01\x01\xff" if critical else b"", _tagged(0x04, value))


def _name(common: str) -> bytes:
    return _sequence(_tagged(0x31, _sequence(_identifier("2.5.4.3"), _tagged(0x0C, common.encode()))))


def _time(when: datetime) -> bytes:
    return _tagged(0x17, when.astimezone(UTC).strftime("%y%m%d%H%M%SZ").encode())


def _bits(content: bytes) -> bytes:
    return _tagged(0x03, b"\x00" + content)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _identifier(dotted: str) -> bytes:
    first, second, *others = (int(part) for part in dotted.split("."))
    content = bytes([40 * first + second])
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(0x80 | number & 0x7F)
        content += bytes(reversed(digits))
    return _tagged(0x06, content)


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
