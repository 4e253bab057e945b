"""Tables are whole in a pipe, and what strangers wrote cannot drive the terminal."""

from __future__ import annotations

import io

import pytest

from gateway.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, rows: list[tuple[object, ...]]) -> str:
    output.table(("name", "count"), rows, stream=stream)
    return stream.getvalue()


def test_a_table_in_a_pipe_is_aligned_and_never_cut() -> None:
    long = "x" * 300
    assert drawn(io.StringIO(), [(long, 7), ("b", 10)]) == (
        f"NAME{' ' * 296}   COUNT\n{long}       7\nb{' ' * 299}      10\n"
    )


def test_an_empty_table_is_its_head() -> None:
    assert drawn(io.StringIO(), []) == "NAME   COUNT\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_control_characters_and_markup_are_shown_and_not_obeyed(stream: io.StringIO) -> None:
    shown = drawn(stream, [("a\x1b[31m\n[bold]", None)])
    assert "a\\x1b[31m\\n[bold]" in shown
    assert "\x1b[31m" not in shown


def test_a_table_that_the_terminal_has_no_room_for_is_not_folded_to_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    output.table([f"a column {n}" for n in range(9)], [["sixteen letters."] * 9], stream=stream)
    assert stream.getvalue().splitlines()[1] == "   ".join(["sixteen letters."] * 9)


def test_progress_says_nothing_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("sending", 3) as advance:
        advance(1, "a note")
    assert capsys.readouterr().err == ""


def test_progress_is_shown_on_a_terminal_and_gone_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with output.progress("sending", 3) as advance:
        advance(1, "a note")
    assert "sending" in terminal.getvalue()


def test_text_of_any_script_stays_as_it_is() -> None:
    assert output.printable("日本 é") == "日本 é"
