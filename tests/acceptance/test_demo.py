"""`gateway demo` as a newcomer meets it: what it shows is true, and what it says to try works as it is printed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chaos.rig import tools
from chaos.rig.ports import free_port
from chaos.rig.processes import Process
from chaos.rig.waiting import wait_until
from tests.integration.commands import COMMAND, OK, ROOT, environment, gateway
from tests.rig.fixtures import require

INTERRUPTED = 130
LAST_STEP = "gateway audit "
WINDOWS = ("--set", "storm.hold=8s", "--set", "storm.inactivity=8s")
"""Longer than the usual 2 s: a reader types the next command while a window is open, and it may take seconds."""
SUMMARY = re.compile(
    r"(\d+) alerts fired, and 2 said .* The (\d+) requests hold (\d+) occurrences: .* once\."
)


def on_free_ports() -> tuple[str, ...]:
    return ("--set", f"server.port={free_port()}", "--set", f"server.metrics_port={free_port()}")


class Demo:
    """A demo that stays up, as one terminal shows it; the reader's other terminal is `run`."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        # The reader has kubectl on the PATH.
        path = os.pathsep.join([str(tools.find("kubectl").parent), os.environ["PATH"]])
        self.environment = environment() | {"TMPDIR": str(self.temporary), "PATH": path}
        self.process = Process(
            "demo",
            [*COMMAND, "demo", *on_free_ports(), *WINDOWS],
            folder=folder,
            env=self.environment,
            cwd=ROOT,
        )

    def printed(self) -> str:
        return self.process.log()

    def commands(self) -> list[str]:
        """What it says to try, line by line."""
        tried = self.printed().partition("Try next")[2]
        return [line.strip() for line in tried.splitlines() if line.startswith("    ")]

    def addresses(self) -> dict[str, str]:
        return dict(re.findall(r"^  (\w+) +(\S+)(?: \(a page\).*)?$", self.printed(), re.MULTILINE))

    def run(self, command: str) -> str:
        """Type a command into a shell in the same folder; it has half a minute, and must end well."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=ROOT,
            env=self.environment,
        )
        assert done.returncode == OK, (command, done.stdout, done.stderr)
        return done.stdout

    def offspring(self) -> set[int]:
        """Itself, and the processes that it started."""
        found = {self.process.pid}
        for listing in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                found |= {int(pid) for pid in listing.read_text().split()}
        return found

    def interrupt(self) -> int:
        """Ctrl-C; returns the exit code, and ends nothing that the demo should have ended itself."""
        self.process.signal(signal.SIGINT)
        wait_until(lambda: not self.process.alive, "the demo to end", seconds=20)
        assert self.process.returncode is not None
        return self.process.returncode

    def left_behind(self, offspring: set[int]) -> list[str]:
        """What should have gone with it: files, processes, listeners."""
        left = [str(path) for path in self.temporary.iterdir()]
        left += [f"process {pid}" for pid in offspring if Path(f"/proc/{pid}").exists()]
        for what, address in self.addresses().items():
            where = urlsplit(address)
            if where.port:
                with socket.socket() as probe:
                    if probe.connect_ex((where.hostname or "", where.port)) == 0:
                        left.append(f"{what}: somebody listens at {address}")
        return left


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    require("redis-server")
    require("kubectl")
    demo = Demo(tmp_path)
    demo.process.start()
    yield demo
    demo.process.kill()


def test_the_demo_shows_requests_whose_counts_add_up_and_ends(tmp_path: Path) -> None:
    require("redis-server")
    for _ in range(3):  # a machine that was busy in between says nothing of the demo
        began = time.monotonic()
        done = gateway("demo", "--exit", *on_free_ports(), folder=tmp_path, seconds=80)
        took = time.monotonic() - began
        if took < 20:
            break

    assert done.returncode == OK, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "RemediationRequests" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if " rr-" in line]
    assert len(rows) >= 3
    assert {row[6] for row in rows} == {"open", "resolved"}
    summary = SUMMARY.search(done.stdout)
    assert summary, done.stdout
    fired, requests, held = map(int, summary.groups())
    assert requests == len(rows)
    assert fired == held == sum(int(row[5]) for row in rows) > len(rows)
    assert took < 20


def test_the_demo_shows_a_storm_of_forty_become_one_request(tmp_path: Path) -> None:
    require("redis-server")
    done = gateway("demo", "--exit", *on_free_ports(), folder=tmp_path, seconds=120)
    assert done.returncode == OK, done.stdout + done.stderr
    told = re.findall(r"^ +(\d+\.\d) s  (.*)$", done.stdout, re.MULTILINE)
    times, texts = [float(seconds) for seconds, _ in told], [text for _, text in told]
    assert times == sorted(times)
    for text, said in zip(
        texts, ("a window opens", "a storm", "40 alerts taken, 40 of them held", "one request"), strict=True
    ):
        assert said in text
    assert "40 problems, 40 occurrences" in texts[-1]
    assert times[-1] > 3.5  # two seconds of alerts, and it waits for more before it closes
    storms = [line.split() for line in done.stdout.splitlines() if "-storm-" in line]
    assert [(row[0], row[4], row[5], row[6]) for row in storms] == [("prod-checkout", "40", "40", "open")]
    assert done.stdout.count("rr-kubepodnotready-") == 1


def test_the_demo_says_so_where_the_storm_is_configured_away(tmp_path: Path) -> None:
    require("redis-server")
    immediate = """storm.rules=[{matchers: ['alertname!=""'], mode: immediate}]"""
    done = gateway("demo", "--exit", *on_free_ports(), "--set", immediate, folder=tmp_path, seconds=120)
    assert done.returncode == OK, done.stdout + done.stderr
    assert "each problem has a request of its own" in done.stdout
    assert done.stdout.count(" rr-kubepodnotready-") == 40
    assert SUMMARY.search(done.stdout)


def test_everything_that_the_demo_says_to_try_works_as_printed_and_ctrl_c_ends_all_of_it(demo: Demo) -> None:
    demo.process.until(lambda: LAST_STEP in demo.printed(), seconds=40)
    addresses = demo.addresses()
    assert set(addresses) == {"webhooks", "status", "API", "readiness", "metrics", "kubeconfig"}
    listing, status, windows, storm, same, many, audit = demo.commands()

    shown = demo.run(listing)
    assert "OCCURRENCES" in shown.splitlines()[0]
    for request in re.findall(r"\brr-[\w-]+", demo.printed()):
        assert request in shown
    assert json.loads(demo.run(status))["unconfirmed"] == 0
    assert "No window is open." in demo.run(windows)
    assert "buffered" in demo.run(storm)
    assert "prod-api/PodOOMKilled" in demo.run(windows)
    thirty = re.compile(r"podoomkilled-storm\S+ +PodOOMKilled .* 30 +30 ")
    wait_until(
        lambda: thirty.search(demo.run(listing)), "the thirty to be one request", seconds=40, every=0.5
    )
    assert "buffered" in demo.run(same)
    ten = re.compile(r"highlatency\S+ +HighLatency .* 10 ")
    wait_until(lambda: ten.search(demo.run(listing)), "the ten to be counted", seconds=40, every=0.5)
    assert "500 alerts in 50 webhooks" in demo.run(many)
    assert "Everything adds up: 500 accepted, 500 counted, 20 fingerprints." in demo.run(audit)
    assert "ready" in demo.run(f"curl -sf {addresses['readiness']}")
    assert "<title>Alert gateway: API</title>" in demo.run(f"curl -sf {addresses['API']}")
    assert "gateway_alerts_received_total" in demo.run(f"curl -sf {addresses['metrics']}")

    offspring = demo.offspring()
    assert len(offspring) > 1  # Redis is one of them
    assert demo.interrupt() == OK
    assert demo.printed().endswith("Stopping.\n")
    assert "Traceback" not in demo.printed()
    wait_until(lambda: not demo.left_behind(offspring), "everything to be gone", seconds=20)


def test_ctrl_c_while_the_demo_starts_leaves_nothing_behind_either(demo: Demo) -> None:
    demo.process.until(lambda: "Starting" in demo.printed(), seconds=20)
    demo.process.until(lambda: len(demo.offspring()) > 1, seconds=20)
    offspring = demo.offspring()
    assert demo.interrupt() == INTERRUPTED
    assert "Traceback" not in demo.printed()
    wait_until(lambda: not demo.left_behind(offspring), "everything to be gone", seconds=20)
