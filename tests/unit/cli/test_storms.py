"""`gateway storms`: what is open is shown once to scripts and pipes, and as it changes to people."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from chaos.rig.ports import free_port
from gateway.cli import main
from gateway.cli.storms import span
from tests.unit.cli.fakes import FakeGateway, window

COMMAND = [sys.executable, "-c", "import sys; from gateway.cli import main; sys.exit(main())"]


def test_the_open_windows_are_a_table(fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    storming = window(
        2, group="prod/Down", state="storming", members=40, dueAt="2026-01-31T09:02:05Z", dueIn=0.4
    )
    fake_gateway.looks = [(200, {"windows": [storming, window()]})]
    assert main(["storms", "--url", fake_gateway.url]) == 0
    head, *rows, total = capsys.readouterr().out.splitlines()
    assert head.split("   ")[0] == "GROUP"
    assert [row.split() for row in rows] == [
        ["prod/Down", "storming", "40/3", "2m04s", "ago", "0s", "2f2e3d4c5b-1"],
        ["prod-api/PodOOMKilled", "holding", "2/3", "20s", "ago", "41s", "1f2e3d4c5b-1"],
    ]
    assert total == "2 windows open, 42 problems held."


def test_no_window_is_said(fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storms", "--url", fake_gateway.url]) == 0
    assert capsys.readouterr().out == "No window is open.\n"


def test_scripts_get_what_the_gateway_told(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"windows": [window(), window(2, dueIn=-0.2, spilled=3)]}
    fake_gateway.looks = [(200, told)]
    assert main(["storms", "--url", fake_gateway.url, "--token", "secret", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert fake_gateway.asked[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, {"status": 503, "detail": "Redis does not answer"}), "503 Redis does not answer"),
        ((401, {"detail": "no token"}), "GATEWAY_TOKEN"),
        ((404, {}), "404"),
        ((200, ["no windows"]), "does not answer as a gateway does"),
        ((0, None), "no answer from"),
    ],
)
def test_a_gateway_that_does_not_tell_is_code_3(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str], answer: tuple[int, object], said: str
) -> None:
    fake_gateway.looks = [answer]
    assert main(["storms", "--url", fake_gateway.url, "--once"]) == 3
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_a_gateway_that_is_not_there_is_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storms", "--url", f"http://127.0.0.1:{free_port()}"]) == 3
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3661, "61m01s")]
)
def test_times_are_in_whole_seconds(seconds: float, text: str) -> None:
    assert span(seconds) == text


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self._end, other = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=other, stdout=other, stderr=other, env=environment
        )
        os.close(other)
        self.shown = ""

    def until(self, text: str, seconds: float = 20.0) -> None:
        """Read until it shows `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._end], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._end, 65536).decode(errors="replace")
                except OSError:  # the command has ended
                    assert text in self.shown, self.shown
                    return

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


def test_on_a_terminal_it_is_redrawn_until_ctrl_c(fake_gateway: FakeGateway) -> None:
    fake_gateway.looks = [
        (200, {"windows": [window()]}),
        (200, {"windows": [window(state="storming", members=17)]}),
        (503, {"detail": "Redis does not answer"}),
        (200, {"windows": []}),
    ]
    terminal = Terminal("storms", "--url", fake_gateway.url)
    try:
        for text in ("2/3", "17/3", "Seen last; now:", "Redis does not answer", "No window is open."):
            terminal.until(text)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(timeout=20) == 0
    finally:
        terminal.close()
    assert "Traceback" not in terminal.shown


def test_once_is_once_on_a_terminal_too(fake_gateway: FakeGateway) -> None:
    terminal = Terminal("storms", "--url", fake_gateway.url, "--once")
    try:
        terminal.until("No window is open.")
        assert terminal.process.wait(timeout=20) == 0
    finally:
        terminal.close()
    assert len(fake_gateway.asked) == 1
