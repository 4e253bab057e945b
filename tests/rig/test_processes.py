"""The rig ends what it started, whatever ends the rig."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from chaos.rig.ports import free_port
from chaos.rig.processes import Died, Process
from chaos.rig.waiting import wait_until

_ROOT = Path(__file__).parents[2]


def _gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_ending_a_process_ends_what_it_started_too(tmp_path: Path) -> None:
    process = Process("parent", ["sh", "-c", "sleep 1000 & echo $!; wait"], folder=tmp_path)
    process.start()
    grandchild = int(wait_until(process.log, "the grandchild's pid"))
    process.kill()
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: _gone(grandchild), "the grandchild to end")


def test_a_test_run_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    script = f"""
        import pathlib, time
        from chaos.rig.processes import Process
        process = Process("child", ["sleep", "1000"], folder=pathlib.Path({str(tmp_path)!r}))
        process.start()
        print(process.pid, flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    wait_until(lambda: _gone(child), "the child of the killed run to end")


def test_a_process_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    process = Process("broken", ["sh", "-c", "echo no such luck; exit 3"], folder=tmp_path)
    process.start()
    with pytest.raises(Died, match=r"ended with 3 before it was ready\n.*no such luck"):
        process.until(lambda: False, seconds=10)
    process.kill()


def test_a_process_that_ignores_sigterm_is_killed_in_the_end(tmp_path: Path) -> None:
    process = Process(
        "stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], folder=tmp_path
    )
    process.start()
    wait_until(process.log, "the trap to be set")
    with pytest.raises(TimeoutError, match="stubborn had not ended"):
        process.terminate(seconds=0.3)
    assert not process.alive


def test_ports_are_handed_out_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_a_port_can_be_had_with_one_beside_it() -> None:
    ports = [port for low in (free_port(beside=10_000) for _ in range(50)) for port in (low, low + 10_000)]
    assert len(set(ports)) == 100
