"""Moving the times of a recorded webhook, so that what happened then seems to happen now.

Only `startsAt` and `endsAt` of the alerts are touched, and of these only what is a time: Go's zero time, which is how
Alertmanager says "still firing", stays, and so does what no gateway would take for a time. Every other value keeps its
bytes; between them nothing but the space may differ from what was recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from gateway.intake.times import TimeError, normalised

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = len("2026-01-31T09:00:00")
_TIMES = ("startsAt", "endsAt")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def shifted(body: bytes, nanoseconds: int) -> bytes:
    """The webhook `body` with the times of its alerts moved; as it is where it is no webhook."""
    try:
        webhook = _members(body)
        alerts = [_moved(raw, nanoseconds) for raw in _list(webhook["alerts"])]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    return msgspec.json.encode({**webhook, "alerts": alerts})


def shifted_time(text: str, nanoseconds: int) -> str | None:
    """An RFC 3339 time moved; None where it is none, is Go's zero time, or would leave the years 1 to 9999."""
    try:
        fixed = normalised(text)
        if fixed is None:
            return None
        seconds, rest = divmod(int(fixed[_WHOLE + 1 : -1]) + nanoseconds, 1_000_000_000)
        instant = datetime.fromisoformat(fixed[:_WHOLE] + "+00:00") + timedelta(seconds=seconds)
    except (TimeError, ValueError, OverflowError):
        return None
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".rjust(len(fixed), "0")


def nanoseconds_of(instant: datetime) -> int:
    """Nanoseconds since 1970 of an aware time."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def _moved(raw: msgspec.Raw, nanoseconds: int) -> msgspec.Raw:
    try:
        alert = _members(raw)
    except msgspec.MsgspecError:
        return raw
    found = False
    for name in _TIMES:
        try:
            moved = shifted_time(_text(alert[name]), nanoseconds)
        except (msgspec.MsgspecError, KeyError):
            continue
        if moved is not None:
            alert[name] = msgspec.Raw(msgspec.json.encode(moved))
            found = True
    return msgspec.Raw(msgspec.json.encode(alert)) if found else raw
