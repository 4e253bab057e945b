"""Which runs of the bench leave figures for the next one to be compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import RESULTS, parsed


@pytest.mark.parametrize(
    ("arguments", "path", "keeps"),
    [
        ([], RESULTS, True),
        (["--only", "creation"], RESULTS, True),
        (["--short"], RESULTS, False),
        (["--short", "--results", "mine.json"], Path("mine.json"), True),
        (["--results", "mine.json"], Path("mine.json"), True),
    ],
)
def test_a_short_run_keeps_its_figures_only_where_it_is_told_to(
    arguments: list[str], path: Path, *, keeps: bool
) -> None:
    assert parsed(arguments)[2:] == (path, keeps)
