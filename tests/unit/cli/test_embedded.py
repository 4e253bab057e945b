"""What `dev` and `demo` print can be run as it stands, and a taken port is no obstacle."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.ports import free_port
from gateway.cli import embedded
from gateway.config.loading import load
from gateway.config.settings import Settings
from tests.rig.fixtures import require


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a virtual environment in it, and nothing on PATH."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("gateway", "python"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    return tmp_path


@pytest.mark.parametrize(
    "called", [".venv/bin/gateway", "{folder}/.venv/bin/gateway", "{folder}/gateway/__main__.py"]
)
def test_the_program_is_named_as_it_can_be_called_from_here(
    folder: Path, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called.format(folder=folder), "demo"])
    assert embedded.program() == ".venv/bin/gateway"


def test_the_program_on_path_is_just_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder / ".venv" / "bin"))
    monkeypatch.setattr(sys, "argv", [str(folder / ".venv" / "bin" / "gateway")])
    assert embedded.program() == "gateway"


def test_without_a_script_the_module_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".venv" / "bin" / "gateway").unlink()
    monkeypatch.setattr(sys, "argv", [str(folder / "gateway" / "__main__.py")])
    assert embedded.program() == ".venv/bin/python -m gateway"


def test_a_program_elsewhere_is_called_by_its_whole_path(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("a folder") / "gateway"
    monkeypatch.setattr(sys, "argv", [str(elsewhere)])
    assert shlex.split(embedded.program()) == [str(elsewhere)]


def test_a_port_that_is_taken_is_replaced_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        found = embedded.free_port("127.0.0.1", taken, "server.port")
    assert found != taken
    assert f"port {taken} (server.port) is taken; using {found}" in capsys.readouterr().err


def test_a_port_that_is_free_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert embedded.free_port("127.0.0.1", port, "server.port") == port
    assert capsys.readouterr().err == ""


def test_every_next_step_can_be_run_as_it_stands(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/gateway"])
    kubeconfig = tmp_path_factory.mktemp("a folder") / "kubeconfig"
    running = embedded.Embedded(
        "http://127.0.0.1:9000", "http://127.0.0.1:9001/metrics", kubeconfig, asyncio.Event(), Settings()
    )
    embedded.print_next_steps(running)
    steps = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    ours = [step for step in steps if step[0] == ".venv/bin/gateway"]
    assert [step[1] for step in ours] == ["storms", "send", "send", "send", "audit"]
    assert all(step[step.index("--url") + 1] == running.url for step in ours if step[1] != "audit")
    audit = ours[-1]
    assert audit[audit.index("--kubeconfig") + 1] == str(kubeconfig)
    assert steps[0][:3] == ["kubectl", "--kubeconfig", str(kubeconfig)]


COMMAND = [sys.executable, "-c", "import sys; from gateway.cli import main; sys.exit(main())"]


def on_free_ports() -> tuple[str, ...]:
    """Not on those that it has by default: others that run meanwhile may find them free as well."""
    return ("--set", f"server.port={free_port()}", "--set", f"server.metrics_port={free_port()}")


def test_the_demo_shows_its_requests_and_leaves_nothing_behind(tmp_path: Path) -> None:
    require("redis-server")
    done = subprocess.run(
        [*COMMAND, "demo", "--exit", *on_free_ports()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("RemediationRequests\n")[2].splitlines()
    assert table[0].split()[:3] == ["NAMESPACE", "NAME", "SEVERITY"]
    assert any(line.startswith("prod-api ") for line in table)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("configured", "seconds"),
    [
        ({}, (2, 2, 300)),
        ({"hold": "7s"}, (7, 2, 300)),
        ({"hold": "60s", "inactivity": "60s"}, (60, 60, 300)),
        ({"hold": "1s", "max_window": "1500ms"}, (1, 1.5, 1.5)),
        ({"threshold": 5}, (2, 2, 300)),
    ],
)
def test_windows_are_short_as_far_as_nobody_configured_them(
    configured: dict[str, Any], seconds: tuple[float, float, float], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = load(None, {}, [f"storm.{key}={value}" for key, value in configured.items()])
    short = load(
        None,
        {},
        [*embedded.short_windows(wanted), *(f"storm.{key}={value}" for key, value in configured.items())],
    )
    assert (short.storm.hold, short.storm.inactivity, short.storm.max_window) == seconds
    embedded.print_windows(embedded.Embedded("", "", Path(), asyncio.Event(), short))
    shown = capsys.readouterr().out
    assert f"New problems are held for {seconds[0]}s" in shown
    assert ("That is short" in shown) == (seconds[0] <= 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_ends_in_order_by_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    require("redis-server")
    with subprocess.Popen(
        [*COMMAND, "dev", "--set", "log.level=error", *on_free_ports()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        shown = []
        try:
            for line in process.stdout:
                shown.append(line)
                if " audit --sent " in line:
                    process.send_signal(number)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    assert shown[-1] == "Stopping.\n", "".join(shown)
    assert not list(tmp_path.iterdir())
