"""Rounds of load against several servers in turns, each round by a load generator in a process of its own.

What is compared are neighbouring rounds: whatever else the machine does hits both. Processor time is disturbed less
than the rate, which depends on who else has the cores.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.rig.processes import Process

ROOT = Path(__file__).parents[2]
CONNECTIONS = 64


class Seen:
    """What each round showed, by server."""

    def __init__(self, rounds: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
        """`rounds`: server → for each round what `tests.bench.client` told, and `rate` and `cpu_us` a webhook."""
        self._rounds = rounds

    def ratio(self, above: str, below: str, figure: str) -> float:
        """The median over the rounds of one server's figure through the other's."""
        pairs = zip(self._rounds[above], self._rounds[below], strict=True)
        return statistics.median(one[figure] / other[figure] for one, other in pairs)

    def median(self, server: str, figure: str) -> float:
        return statistics.median(one[figure] for one in self._rounds[server])

    def requests(self, server: str) -> int:
        """How many were answered."""
        return int(sum(one["requests"] for one in self._rounds[server]))

    def errors(self, server: str) -> int:
        """How many were answered with anything but 2xx, or not at all."""
        return int(sum(one["errors"] for one in self._rounds[server]))


class Rounds:
    """The load, and whom it goes to."""

    def __init__(self, folder: Path, servers: Mapping[str, tuple[Process, int]]) -> None:
        """`servers`: name → process and port."""
        self._folder = folder
        self._servers = servers

    def send_to(self, server: str, bodies: Sequence[bytes]) -> None:
        """What a server gets, round robin."""
        self._file(server).write_bytes(b"\n".join(bodies))

    def measure(self, rounds: int, seconds: float) -> Seen:
        """So many rounds of so many seconds for each server, in turns, the first one taking turns, too."""
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in self._servers}
        for number in range(rounds):
            for name in sorted(self._servers, reverse=bool(number % 2)):
                seen[name].append(self._round(name, seconds))
        return Seen(seen)

    def _round(self, name: str, seconds: float) -> dict[str, float]:
        server, port = self._servers[name]
        command = [sys.executable, "-m", "tests.bench.client", "127.0.0.1", str(port), str(self._file(name))]
        command += [str(CONNECTIONS), str(seconds)]
        before = cpu_seconds(server.pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        result: dict[str, float] = json.loads(done.stdout)
        result["cpu_us"] = (cpu_seconds(server.pid) - before) / max(1, result["requests"]) * 1e6
        result["rate"] = result["requests"] / result["seconds"]
        return result

    def _file(self, server: str) -> Path:
        return self._folder / f"bodies-{server}"


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
