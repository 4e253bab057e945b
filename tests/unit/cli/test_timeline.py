"""Recordings become one timeline: in order, over runs and files, with what was left out left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.timeline import Selection, cues, survey
from gateway.recording.lines import Entry, Header, encode

Run = tuple[str, Sequence[tuple[float, int | None]]]
"""(time of day when it started, (offset, status) of its webhooks)."""


def recording(path: Path, *runs: Run) -> Path:
    lines = []
    for began, webhooks in runs:
        lines.append(encode(Header(recording=1, started_at=f"2026-01-31T{began}Z")))
        lines += [
            encode(Entry(offset=offset, time="2026-01-31T09:00:01.5Z", status=status, body=b"%.3f" % offset))
            for offset, status in webhooks
        ]
    path.write_bytes(b"".join(lines))
    return path


def played(selection: Selection) -> list[tuple[float, bytes]]:
    return [(round(cue.at, 3), cue.entry.body) for cue in cues(selection, pytest.fail)]


def taken(*offsets: float) -> list[tuple[float, int | None]]:
    return [(offset, 202) for offset in offsets]


def test_time_counts_from_the_first_webhook(tmp_path: Path) -> None:
    path = recording(tmp_path / "r", ("09:00:00", taken(5, 6.5)))
    assert played(Selection([path])) == [(0, b"5.000"), (1.5, b"6.500")]
    extent = survey(Selection([path]), pytest.fail)
    assert (extent.webhooks, extent.seconds) == (2, 1.5)
    assert extent.first is not None
    assert extent.first.isoformat() == "2026-01-31T09:00:01.500000+00:00"


@given(st.lists(st.integers(0, 59_000).map(lambda n: n / 1000), min_size=1, max_size=30))
def test_what_was_answered_late_is_put_back_to_where_it_came(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[float]
) -> None:
    path = recording(tmp_path_factory.mktemp("r") / "r", ("09:00:00", taken(*offsets)))
    assert [body for _, body in played(Selection([path]))] == [b"%.3f" % offset for offset in sorted(offsets)]


def test_runs_and_files_are_laid_out_by_their_starts(tmp_path: Path) -> None:
    older = recording(tmp_path / "1", ("09:00:00", taken(1)), ("09:10:00", taken(2)))
    newer = recording(tmp_path / "2", ("09:10:00", taken(300)), ("09:20:00", taken(0)))
    assert [at for at, _ in played(Selection([older, newer]))] == [0, 601, 899, 1199]


def test_a_clock_that_was_set_back_never_makes_time_run_back(tmp_path: Path) -> None:
    path = recording(tmp_path / "r", ("09:00:00", taken(1, 200)), ("08:00:00", taken(1, 500)))
    times = [at for at, _ in played(Selection([path]))]
    assert times == sorted(times)
    assert len(times) == 4


def test_long_pauses_can_be_cut(tmp_path: Path) -> None:
    path = recording(tmp_path / "r", ("09:00:00", taken(0, 1, 3601, 3602)))
    assert [at for at, _ in played(Selection([path], max_gap=10))] == [0, 1, 11, 12]


def test_the_first_n_and_only_what_was_accepted(tmp_path: Path) -> None:
    webhooks = [(0.0, 503), (1.0, 202), (2.0, 499), (3.0, None), (4.0, 201), (5.0, 202)]
    path = recording(tmp_path / "r", ("09:00:00", webhooks))
    selection = Selection([path], limit=2, accepted_only=True)
    assert played(selection) == [(0, b"1.000"), (3, b"4.000")]
    assert len(played(Selection([path], limit=5))) == 5
    assert survey(Selection([path], limit=0), pytest.fail).first is None
