"""The rules with their times shortened, so that a rehearsal of minutes fits into seconds.

Every range, `offset` and `for` is divided by `FACTOR` and cut to `MOST`: a day is no more than an hour then. So what a
rehearsal shows is that each expression sees its failure in a real gateway's metrics, and stops seeing it afterwards.
How the windows of hours and days work together is what `promtool test rules` shows, with the rules as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

FACTOR: Final = 60
MOST: Final = 12.0
"""Seconds."""
LEAST: Final = 2.0
"""Seconds of a range: two scrapes have to be in it."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME: Final = re.compile(r"(\[|offset )(\d+)([smhd])")


def shortened(rules: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of the files."""
    made = []
    for path in rules:
        document = yaml.safe_load(path.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            _shorten(rule)
        made.append(folder / path.name)
        made[-1].write_text(yaml.safe_dump(document))
    return made


def _shorten(rule: dict[str, Any]) -> None:
    rule["expr"] = _TIME.sub(lambda found: found[1] + _short(found[2] + found[3], LEAST), rule["expr"])
    if "for" in rule:
        rule["for"] = _short(rule["for"], 0.0)


def _short(time: str, least: float) -> str:
    seconds = int(time[:-1]) * _UNITS[time[-1]] / FACTOR
    return f"{round(min(MOST, max(least, seconds)) * 1000)}ms"
