"""What a campaign leaves: JSON a scenario, and one report of all for people (Markdown, HTML) and for CI (JUnit)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from chaos.reports import junit, page, text
from chaos.verdicts import Verdict


class Unreadable(Exception):
    """A folder without results, or with results that are none."""


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 where something was played and all of that passed, else 1."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return 0 if "passed" in outcomes and "failed" not in outcomes else 1


def write(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Writes all reports over some verdicts, and says where."""
    written = {
        "report.json": json.dumps([verdict.to_json() for verdict in verdicts], indent=1) + "\n",
        "report.md": text.render(verdicts),
        "report.html": page.render(verdicts),
        "report.xml": junit.render(verdicts),
    }
    for name, content in written.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in written]


def read(folder: Path) -> list[Verdict]:
    """The verdicts of a folder of results, in the order of the scenarios. Raises `Unreadable`."""
    paths = sorted(folder.glob("*-validation.json"))
    if not paths:
        raise Unreadable(f"{folder}: no *-validation.json in it")
    found = []
    for path in paths:
        try:
            found.append(Verdict.from_json(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Unreadable(f"{path}: {error!r}") from error
    return sorted(found, key=lambda verdict: verdict.number)
