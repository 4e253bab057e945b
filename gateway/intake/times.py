"""RFC 3339 times in the one form that the gateway keeps: UTC, nanoseconds, fixed width, ordered as text.

The same few start times come again and again, with every duplicate, so they are remembered.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_RFC3339 = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)
_ZERO = datetime(1, 1, 1, tzinfo=UTC)
_LONGEST = 64
_LAST = 253_402_300_799_999
"""Milliseconds since 1970 at the end of the year 9999."""


class TimeError(ValueError):
    """A text is no RFC 3339 time."""


def normalised(text: str) -> str | None:
    """Return the instant that `text` names as `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`, None for Go's zero time.

    Digits beyond the nanosecond are cut. Raises TimeError for anything but RFC 3339, and for times outside of
    the years 1 to 9999.
    """
    if len(text) > _LONGEST:
        raise TimeError(f"{text[:40]!r}… is no RFC 3339 time")
    return _normalised(text)


@lru_cache(maxsize=4096)
def _normalised(text: str) -> str | None:
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise TimeError(f"{text!r} is no RFC 3339 time")
    try:
        instant = datetime.fromisoformat(f"{found['date']}T{found['time']}+00:00")
        if found["sign"]:
            offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
            instant = instant - offset if found["sign"] == "+" else instant + offset
    except (ValueError, OverflowError) as error:
        raise TimeError(f"{text!r} is no time: {error}") from error
    nanoseconds = (found["fraction"] or "")[:9].ljust(9, "0")
    if instant == _ZERO and nanoseconds == "000000000":
        return None
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{nanoseconds}Z".rjust(30, "0")


def from_milliseconds(since_1970: int) -> str:
    """Return the time in RFC 3339, UTC, with milliseconds; one after the year 9999 is told as the end of it."""
    seconds, milliseconds = divmod(min(since_1970, _LAST), 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
