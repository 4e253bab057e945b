"""The answers of scripts, typed. What cannot be read is told as what it is: an answer that says nothing."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from gateway.errors import StoreUnsure

_T = TypeVar("_T")


class Reply(Generic[_T]):
    """Reads answers of one kind: MessagePack, one value."""

    def __init__(self, kind: type[_T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)

    def decode(self, reply: bytes) -> _T:
        """The value. Raises `StoreUnsure`, since the script may have changed what it was to change."""
        try:
            return self._decoder.decode(reply)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            raise StoreUnsure(f"the answer of Redis cannot be read: {error}", kind="response") from error
