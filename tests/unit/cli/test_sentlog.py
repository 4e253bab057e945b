"""The log keeps what was sent word for word, and a damaged one is never half believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.output import CommandError
from gateway.cli.sentlog import Attempt, Writer, read

ATTEMPT = Attempt(time="t1", answered="t2", delivery="d", labels={"alertname": "A"})
_texts = st.text(max_size=20)


@given(
    labels=st.dictionaries(_texts, _texts),
    outcome=st.none() | _texts,
    status=st.none() | st.integers(100, 599),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[str, str], outcome: str | None, status: int | None
) -> None:
    path = tmp_path_factory.mktemp("log") / "sent.jsonl"
    attempt = Attempt(time="t1", answered="t2", delivery="d", labels=labels, outcome=outcome, status=status)
    with Writer(path) as writer:
        writer.write([attempt, ATTEMPT])
    assert list(read(path)) == [attempt, ATTEMPT]


def test_unknown_fields_and_blank_lines_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_text('\n{"time":"t1","answered":"t2","delivery":"d","labels":{"alertname":"A"},"ms":3}\n\n')
    assert list(read(path)) == [ATTEMPT]


def test_a_last_line_that_was_cut_off_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sent.jsonl"
    with Writer(path) as writer:
        writer.write([ATTEMPT])
    path.write_bytes(path.read_bytes() + b'{"time":"t3","answ')
    assert list(read(path)) == [ATTEMPT]
    assert "sent.jsonl:2" in capsys.readouterr().err


@pytest.mark.parametrize("line", [b"{}", b"[]", b"nonsense", b'{"time":"t"}', b"\xff"])
def test_any_other_bad_line_is_an_error_with_its_place(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(CommandError, match=r"sent\.jsonl:1"):
        list(read(path))


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        list(read(tmp_path / "sent.jsonl"))
