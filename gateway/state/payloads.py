"""What a record keeps of an alert, until its request exists: a `Signal` as JSON, readable with any Redis client."""

from __future__ import annotations

import msgspec

from gateway.model import Signal

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Signal)


def encode(signal: Signal) -> str:
    """The stored form."""
    return _encoder.encode(signal).decode("utf-8", "replace")


def decode(payload: str) -> Signal | None:
    """What was stored; None where nothing was, or where it cannot be read (its owner will send it again)."""
    if not payload:
        return None
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
