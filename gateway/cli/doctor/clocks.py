"""How far the clock of who answers over HTTP is from this machine's. Pure.

The `Date` of an answer is in whole seconds, rounded down, so what it tells is known to within half a second and half of
the way.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from gateway.resilience.diagnosis import Diagnosis, Grade

APART: Final = 1.0
"""Seconds that two clocks may differ for certain."""
FAR: Final = 60.0
"""Seconds from which on tokens and certificates are refused."""


def clock(date: str, sent: float, received: float, where: str) -> Diagnosis:
    """What the `Date` of an answer says, of a call made between these times of this machine, in seconds."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, IndexError, OverflowError):
        found = f"cannot be seen: its answers have no date ({date!r})"
        remedy = "compare it with this machine's yourself"
        return Diagnosis("kubernetes", "clock", where, Grade.WARNING, found, remedy, seen=False)
    apart = told + 0.5 - (sent + received) / 2
    certain = abs(apart) - 0.5 - (received - sent) / 2
    if certain <= APART:
        return Diagnosis("kubernetes", "clock", where, Grade.OK, "agrees with this machine's, to a second")
    direction = "ahead of" if apart > 0 else "behind"
    found = f"{abs(apart):.0f} s {direction} this machine's, by which the times in requests go"
    if certain > FAR:
        found += "; tokens and certificates may be refused"
    return Diagnosis("kubernetes", "clock", where, Grade.WARNING, found, "let NTP set both clocks")
