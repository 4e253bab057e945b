"""`python -m tests.bench.capacity`: what an alert, a window and a quiet minute cost, for docs/operations/capacity.md.

Memory of Redis (`used_memory`) and resident memory of the gateway before and after so many alerts of realistic size;
calls to the Kubernetes API as the gateway counts them. The API is the embedded one: calls and bytes are counted, no
time is measured.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.rig import processes
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench.load import PATH, alert, idle, writes

ROOT = Path(__file__).parents[2]
ALERTS = 2000
GROUPS = 200
MEMBERS = 20
IN_A_WEBHOOK = 50
QUIET = 30.0
"""Seconds of a gateway to which nobody sends anything."""
LONG = {"hold": "10m", "inactivity": "10m", "max_window": "10m"}
READS = ("get", "list", "watch")


class Stage:
    """Redis, the embedded API and one gateway."""

    def __init__(self, folder: Path, storm: dict[str, Any] | None) -> None:
        here = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY__")}
        kubeconfig = folder / "kubeconfig"
        self.redis = RedisServer(folder / "redis", name="redis")
        self.api = Process(
            "api",
            [sys.executable, "-m", "tests.bench.embedded", str(kubeconfig)],
            folder=folder / "api",
            env=here,
            cwd=ROOT,
        )
        self.gateway = GatewayProcess(
            folder / "gateway",
            redis_url=self.redis.url,
            kubeconfig=kubeconfig,
            settings={"redis": {"timeout": "250ms"}, **({"storm": storm} if storm else {})},
        )
        self.redis.start()
        self.api.start()
        wait_until(kubeconfig.exists, "the embedded API", seconds=20)
        self.gateway.start()

    def used(self) -> int:
        """Bytes that Redis uses."""
        with self.redis.client() as client:
            return int(client.info("memory")["used_memory"])

    def resident(self) -> int:
        """Bytes that the gateway has resident."""
        return int(self.gateway.metric("process_resident_memory_bytes"))

    def reads(self) -> float:
        return sum(self.gateway.metric("gateway_k8s_api_requests_total", verb=verb) for verb in READS)

    def send(self, alerts: list[dict[str, Any]]) -> None:
        for start in range(0, len(alerts), IN_A_WEBHOOK):
            part = alerts[start : start + IN_A_WEBHOOK]
            body = json.dumps({"version": "4", "status": "firing", "receiver": "gateway", "alerts": part})
            status, answer = self.gateway.post(PATH, body.encode())
            if status not in (201, 202):
                raise RuntimeError(f"the gateway answered {status}: {answer[:200]!r}")

    def settle(self) -> None:
        wait_until(lambda: idle(self.gateway), "everything to be confirmed", seconds=120, every=0.2)

    def end(self) -> None:
        for process in (self.gateway, self.api, self.redis):
            process.kill()


@contextmanager
def stage(storm: dict[str, Any] | None = None) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as name:
        made = Stage(Path(name), storm)
        try:
            yield made
        finally:
            made.end()


def open_alerts() -> dict[str, float]:
    """Of each open alert: bytes in Redis and in the gateway, and calls to the API; then without Kubernetes."""
    with stage() as here:
        here.send([alert(0)])
        here.settle()
        redis, resident, written = here.used(), here.resident(), writes(here.gateway)
        here.send([alert(number) for number in range(1, ALERTS + 1)])
        here.settle()
        found = {
            "Redis, bytes an open alert that is written": (here.used() - redis) / ALERTS,
            "gateway, resident bytes an open request": (here.resident() - resident) / ALERTS,
            "API writes a new alert": (writes(here.gateway) - written) / ALERTS,
        }
        began, reads, written = time.monotonic(), here.reads(), writes(here.gateway)
        time.sleep(QUIET)
        minutes = (time.monotonic() - began) / 60
        found["API reads a minute, nothing to do"] = (here.reads() - reads) / minutes
        found["API writes a minute, nothing to do"] = (writes(here.gateway) - written) / minutes
        here.api.kill()
        redis = here.used()
        few = ALERTS // 4
        here.send([alert(number) for number in range(ALERTS + 1, ALERTS + 1 + few)])
        found["Redis, bytes an alert that waits to be written"] = (here.used() - redis) / few
    return found


def without_redis() -> dict[str, float]:
    """Calls to the API of a new alert and of a duplicate while Redis is away."""
    with stage() as here:
        here.redis.kill()
        few = ALERTS // 20
        wait_until(
            lambda: here.gateway.metric("gateway_circuit_breaker_state", component="redis") > 0,
            "the breaker to open",
            seconds=20,
        )
        reads, written = here.reads(), writes(here.gateway)
        for number in range(few):
            here.send([alert(number)])
        found = {
            "API reads a new alert without Redis": (here.reads() - reads) / few,
            "API writes a new alert without Redis": (writes(here.gateway) - written) / few,
        }
        written = writes(here.gateway)
        for number in range(few):
            here.send([alert(number)])
        found["API writes a duplicate without Redis, one at a time"] = (writes(here.gateway) - written) / few
    return found


def windows() -> dict[str, float]:
    """Bytes of Redis of a window and of a member, from windows with one member and with many."""
    with stage(LONG) as here:
        here.send([grouped(0, 0)])
        empty = here.used()
        here.send([grouped(group, 0) for group in range(1, GROUPS + 1)])
        single = here.used()
        here.send([grouped(group, member) for group in range(1, GROUPS + 1) for member in range(1, MEMBERS)])
        full = here.used()
    member = (full - single) / (GROUPS * (MEMBERS - 1))
    return {
        "Redis, bytes a member of a window": member,
        "Redis, bytes a window beside its members": (single - empty) / GROUPS - member,
    }


def grouped(group: int, member: int) -> dict[str, Any]:
    one = alert(group * 1000 + member)
    one["labels"]["alertname"] = f"HighLatency{group:04d}"
    return one


def main() -> None:
    table = Table("figure", "value", title=f"capacity ({os.cpu_count()} cores)")
    try:
        for measure in (open_alerts, without_redis, windows):
            for name, value in measure().items():
                table.add_row(name, f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}")
    finally:
        processes.end_everything()
    Console().print(table)


if __name__ == "__main__":
    main()
