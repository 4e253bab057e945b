"""Reading a recording, also one whose writer was killed.

Where a run was cut off, what stands before the cut is given and the rest of that run is left out, with a warning;
runs that were appended later are read as if nothing had happened. Whether a file is compressed is told by its first
bytes, not by its name. Nothing is held in memory but a line.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

from gateway.recording.lines import VERSION, Entry, Header, LineError, decode
from gateway.recording.writing import GZIP

LONGEST_LINE: Final = 256 << 20
"""Bytes of a line; a body of 16 MiB takes at most 96 MiB."""
_CHUNK: Final = 256 << 10
_MAGIC: Final = b"\x1f\x8b\x08"
_FIRST: Final = b'{"recording":'
"""How the first line of each run begins, as this package writes it."""


class RecordingError(ValueError):
    """The file cannot be read as a recording; the message says where."""


def read(path: Path, warn: Callable[[str], object]) -> Iterator[Header | Entry]:
    """The records of a file in its order, a header first. `warn` gets a sentence for each place where it was cut off.

    Raises `RecordingError` where it is no recording, or damaged in another way than by a cut, and `OSError`.
    """
    number, begun, bad = 0, False, ""
    with path.open("rb") as file:
        for line in _lines(file):
            if line is None:
                warn(f"{path}: a run breaks off after line {number}: its writer was killed, or still writes")
                bad = ""
                continue
            number += 1
            if not line.strip():
                continue
            try:
                record = decode(line)
            except LineError as error:
                if not begun and bad:
                    raise RecordingError(f"{path}: this is no recording: {error}") from error
                bad = bad or f"{path}:{number}: {error}"
                continue
            if isinstance(record, Header):
                if bad:
                    warn(f"{path}: a run breaks off before line {number}: its writer was killed")
                    bad = ""
                _check(path, record)
                begun = True
            elif bad and begun:
                raise RecordingError(bad)
            elif not begun:
                raise RecordingError(f"{path}: this is no recording: it has no header")
            yield record
    if bad:
        raise RecordingError(bad if begun else f"{path}: this is no recording: {bad}")


def _check(path: Path, header: Header) -> None:
    if header.recording > VERSION:
        raise RecordingError(
            f"{path}: version {header.recording} of the format is not known here, only {VERSION}"
        )


def _lines(file: BufferedReader) -> Iterator[bytes | None]:
    """The lines with their ends; None where something was cut off, instead of the line that has no end."""
    rest = b""
    for chunk in _members(file) if file.peek(1)[:1] == _MAGIC[:1] else _plain(file):
        if chunk is None:
            if _whole(rest):
                yield rest
            rest = b""
            yield None
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE:
            raise RecordingError(f"a line is longer than {LONGEST_LINE} bytes")
    if rest:
        yield rest if _whole(rest) else None


def _whole(line: bytes) -> bool:
    """Whether only the line's end is missing: it was cut off right there, or somebody edited the file by hand."""
    try:
        decode(line)
    except LineError:
        return False
    return True


def _plain(file: BufferedReader) -> Iterator[bytes | None]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _members(file: BufferedReader) -> Iterator[bytes | None]:
    """What the gzip members of a file hold, chunk by chunk; None where one does not end.

    Where a run begins is found before what stands there is unpacked. As the continuation of a run that was cut off, it
    would come out as nonsense that may look like a line.
    """
    start: int | None = 0
    while start is not None:
        end = _next_run(file, start + 1)
        file.seek(start)
        yield from _unpacked(file, end)
        start = end


def _unpacked(file: BufferedReader, end: int | None) -> Iterator[bytes | None]:
    """The same for the bytes from here to `end`."""
    unpacker, begun, rest = zlib.decompressobj(wbits=GZIP), False, b""
    while rest := rest or file.read(_CHUNK if end is None else min(_CHUNK, end - file.tell())):
        begun = True
        try:
            chunk = unpacker.decompress(rest, _CHUNK)
        except zlib.error:
            break
        if chunk:
            yield chunk
        rest = unpacker.unconsumed_tail
        if unpacker.eof:
            rest, begun = unpacker.unused_data, False
            unpacker = zlib.decompressobj(wbits=GZIP)
    if begun:
        with suppress(zlib.error):
            yield unpacker.flush()
        yield None


def _next_run(file: BufferedReader, start: int) -> int | None:
    """Where the next member begins that holds a run, searched from `start` on."""
    file.seek(start)
    window = b""
    while chunk := file.read(_CHUNK):
        window += chunk
        base = file.tell() - len(window)
        at = window.find(_MAGIC)
        while at >= 0:
            if _holds_run(file, base + at):
                return base + at
            at = window.find(_MAGIC, at + 1)
        file.seek(base + len(window))
        window = window[-len(_MAGIC) + 1 :]
    return None


def _holds_run(file: BufferedReader, start: int) -> bool:
    file.seek(start)
    try:
        return zlib.decompressobj(wbits=GZIP).decompress(file.read(4096), len(_FIRST)) == _FIRST
    except zlib.error:
        return False
