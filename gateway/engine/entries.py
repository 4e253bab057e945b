"""The journal's lines: what they say, how they are read back, and what is left of them.

A line is a checksum, a space and JSON, so that a torn or damaged one is known as such and costs nothing but itself.
Lines about a slot are merged like every message about it: the highest number wins, so their order hardly matters, and
a line that is read twice changes nothing.

Pure: bytes in, entries out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

from gateway.model import Hold, Signal

HEADER = b"# gateway journal, format 1\n"
"""The first line of every journal. A file that begins otherwise is somebody else's."""

_CHECKSUM = 8
_encoder = msgspec.json.Encoder()


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process's slot has reached `value`, of which everything up to `base` is settled."""

    slot: str
    value: int = 0
    """0 where the line only says what is settled."""
    base: int = 0
    window: str = ""
    """The window that holds it; whether that was storming, and when it ends (ms, Redis's clock)."""
    storming: bool = False
    window_end: int = 0
    signal: Signal | None = None
    """What its request is made of; left out where an earlier line of the file says the same."""
    hold: Hold | None = None

    @property
    def settled(self) -> bool:
        return self.value <= self.base


_decoder = msgspec.json.Decoder(Entry)


class Kept(msgspec.Struct, frozen=True):
    """What a journal held."""

    entries: list[Entry]
    """What is not settled, as far as the journal knows: one entry a slot, each with its signal."""
    damaged: int = 0
    """Lines that could not be used. One is usual after a crash: the end that was being written."""


def line(entry: Entry) -> bytes:
    """The stored form, with its end."""
    text = _encoder.encode(entry)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def parse(text: bytes) -> Entry | None:
    """Read a line without its end; None where it is torn or damaged."""
    checksum, body = text[:_CHECKSUM], text[_CHECKSUM + 1 :]
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None


def is_journal(content: bytes) -> bool:
    """Whether a file's beginning is a journal's, or that of a journal whose first line is torn."""
    return HEADER.startswith(content[: len(HEADER)])


def read(content: bytes) -> Kept:
    """Read a whole file, whatever became of its end."""
    lines = content.split(b"\n")
    torn = lines.pop()
    found: list[Entry] = []
    damaged = int(bool(torn) and not HEADER.startswith(content))
    for text in lines:
        if text + b"\n" == HEADER:
            continue
        entry = parse(text)
        if entry is None:
            damaged += 1
        else:
            found.append(entry)
    slots = merged(found)
    usable = [entry for entry in slots if entry.signal is not None or entry.settled]
    damaged += len(slots) - len(usable)
    return Kept([entry for entry in usable if not entry.settled], damaged)


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry a slot: the highest numbers, and the latest of the rest."""
    slots: dict[str, Entry] = {}
    for entry in entries:
        before = slots.get(entry.slot)
        slots[entry.slot] = entry if before is None else _merge(before, entry)
    return list(slots.values())


def _merge(before: Entry, after: Entry) -> Entry:
    latest = after if after.value >= before.value else before
    return Entry(
        slot=after.slot,
        value=latest.value,
        base=max(before.base, after.base),
        window=latest.window,
        storming=latest.storming,
        window_end=latest.window_end,
        signal=latest.signal or before.signal or after.signal,
        hold=latest.hold if latest.signal is not None else before.hold or after.hold,
    )
