"""Rounds of load against several servers in turns, each round by a load generator in a process of its own.

What is compared are neighbouring rounds: whatever else the machine does hits both. Processor time is disturbed less
than the rate, which depends on who else has the cores.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.rig.processes import Process
from tests.bench.load import hammer

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

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, tuple[Process, int]],
        *,
        connections: int = CONNECTIONS,
        authorization: Mapping[str, str] | None = None,
    ) -> None:
        """`servers`: name → process and port; `authorization`: what the header says to a server, if anything."""
        self._folder = folder
        self._servers = servers
        self._connections = connections
        self._authorization = authorization or {}

    def send_to(self, server: str, bodies: Sequence[bytes]) -> None:
        """What a server gets, round robin."""
        self._file(server).write_bytes(b"\n".join(bodies))

    def measure(self, rounds: int, seconds: float, *, rate: float = 0.0) -> Seen:
        """So many rounds of so many seconds for each server, in turns, the first one taking turns, too.

        `rate`: webhooks a second, 0 for as many as are answered.
        """
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in self._servers}
        for number in range(rounds):
            for name in sorted(self._servers, reverse=bool(number % 2)):
                seen[name].append(self._round(name, seconds, rate))
        return Seen(seen)

    def _round(self, name: str, seconds: float, rate: float) -> dict[str, float]:
        server, port = self._servers[name]
        before = cpu_seconds(server)
        result = hammer(
            port,
            self._file(name),
            self._connections,
            seconds,
            authorization=self._authorization.get(name, ""),
            rate=rate,
        )
        result["cpu_us"] = (cpu_seconds(server) - before) / max(1, result["requests"]) * 1e6
        result["rate"] = result["requests"] / result["seconds"]
        return result

    def _file(self, server: str) -> Path:
        return self._folder / f"bodies-{server}"


def cpu_seconds(*processes: Process) -> float:
    """User and system time that running processes have used."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
