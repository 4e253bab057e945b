"""What a check of a dependency says, in one form: for the table of `gateway doctor`, for scripts, for `/readyz`.

A check that cannot be made is a warning, which says so: nobody should take silence for health.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad it is; the word that is printed."""

    OK = "ok"
    WARNING = "warning"
    """The gateway works, with less than it could have, or nobody could look."""
    WRONG = "wrong"
    """Alerts are refused, late, or can be lost, now or as soon as something else fails."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one check found."""

    part: str
    """`configuration`, `redis` or `kubernetes`."""
    check: str
    """One word, or a few with hyphens."""
    where: str
    """The server, the namespace or the key of the configuration that it is about."""
    grade: Grade
    found: str
    """What is so, for people: no capital, no full stop."""
    remedy: str = ""
    """What to do; empty where nothing has to be done."""
    seen: bool = True
    """False where the check could not be made."""

    @property
    def line(self) -> str:
        """All of it but the grade."""
        return f"{self.where}: {self.found}" + (f"; {self.remedy}" if self.remedy else "")
