"""How long failures last: short in every run, and as long as was promised where `FULL=1` asks for it.

What differs is only how often the same thing happens again: each short form is longer than every time-out, probe and
lease that it meets.
"""

from __future__ import annotations

import os

FULL = bool(os.environ.get("FULL"))


def seconds(short: float, full: float) -> float:
    """The length of a failure in this run."""
    return full if FULL else short
