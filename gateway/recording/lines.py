"""One line of a recording: JSON in both directions, without I/O.

    {"recording": 1, "startedAt": "2026-01-31T09:00:00.000Z", "by": "gateway/0.1.0"}
    {"offset": 0.412, "time": "2026-01-31T09:00:00.412Z", "status": 202, "contentType": "application/json",
     "userAgent": "Alertmanager/0.28.0", "body": "{\"version\":\"4\", …}"}

A header, then one entry for each webhook. `offset` is in seconds on a clock that never jumps, counted from the
header's `startedAt`; `time` is the wall clock when the webhook came. `body` is the text of the body, or `base64` its
bytes where they are no UTF-8: either gives back every byte. `status` is what was answered, absent where nobody knows.
Of the sender's headers only these two are kept: no credential is ever part of a recording. Another header may follow
anywhere: there another run went on with the file, and offsets count from its start.

Unknown keys are skipped. A reader refuses a header with a higher version than its own.
"""

from __future__ import annotations

import base64
import binascii
import math
import time
from datetime import UTC, datetime
from typing import Final

import msgspec

VERSION: Final = 1
LONGEST_TEXT: Final = 1000
"""Characters of a sender's header that are kept."""


class LineError(ValueError):
    """This is no line of a recording."""


class Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The start of a run that records."""

    recording: int
    """The version of the format."""
    started_at: str
    by: str = ""
    """Which program wrote it."""
    note: str = ""
    """For people: what all of it is about."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook as it came."""

    offset: float
    """Seconds since the start of the run; milliseconds are kept."""
    time: str
    """When it came, as `stamp` writes it."""
    body: bytes
    content_type: str = ""
    user_agent: str = ""
    status: int | None = None
    note: str = ""
    """For people: what this one is about."""


class _Line(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An entry as it is written: what is long comes last."""

    offset: float
    time: str
    status: int | None = None
    content_type: str = ""
    user_agent: str = ""
    note: str = ""
    body: str | None = None
    base64: str | None = None


class _Any(msgspec.Struct, kw_only=True):
    """What tells a header from an entry."""

    recording: int | None = None


_encode = msgspec.json.Encoder().encode
_kind = msgspec.json.Decoder(_Any).decode
_header = msgspec.json.Decoder(Header).decode
_line = msgspec.json.Decoder(_Line).decode


def encode(record: Header | Entry) -> bytes:
    """The record as a line, with its end."""
    if isinstance(record, Header):
        return _encode(record) + b"\n"
    line = _Line(
        offset=round(record.offset, 3),
        time=record.time,
        status=record.status,
        content_type=_sound(record.content_type),
        user_agent=_sound(record.user_agent),
        note=record.note,
    )
    try:
        line.body = record.body.decode()
    except UnicodeDecodeError:
        line.base64 = base64.b64encode(record.body).decode()
    return _encode(line) + b"\n"


def decode(line: bytes) -> Header | Entry:
    """The record of a line, with or without its end. Raises `LineError`."""
    try:
        if _kind(line).recording is not None:
            header = _header(line)
            moment(header.started_at)
            return header
        found = _line(line)
        moment(found.time)
        return Entry(
            offset=found.offset,
            time=found.time,
            body=_body(found),
            content_type=found.content_type,
            user_agent=found.user_agent,
            status=found.status,
            note=found.note,
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise LineError(str(error)) from error


def stamp(nanoseconds: int) -> str:
    """A wall time (since 1970) as a recording writes it: UTC, milliseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03d}Z"


def moment(text: str) -> datetime:
    """The instant that a time of a recording names, aware. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return found.astimezone(UTC)


def _body(line: _Line) -> bytes:
    if (line.body is None) == (line.base64 is None):
        raise LineError("an entry has either a body or base64")
    if not math.isfinite(line.offset):
        raise LineError("the offset is no number of seconds")
    if line.body is not None:
        return line.body.encode()
    try:
        return base64.b64decode(line.base64 or "", validate=True)
    except binascii.Error as error:
        raise LineError(f"base64: {error}") from error


def _sound(text: str) -> str:
    """A sender's header cut short, and without what UTF-8 cannot hold."""
    return text[:LONGEST_TEXT].encode(errors="replace").decode()
