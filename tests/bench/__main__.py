"""`make bench`: what the gateway does, beside what could be done at best.

*Throughput*: duplicates of 1000 open problems, at 1, 10, 50 and 500 alerts a webhook, posted to the gateway, which
checks bearer tokens, counts and logs as delivered, and to a bare handler (`bare.py`) in turns. The figure is the median
of the ratios of neighbouring rounds, so that whatever else the machine does hits both. Redis and the load generator
share its cores. So does the Kubernetes API: the embedded one, because a real kube-apiserver on the same two cores takes
most of one for itself, and the figure would be its own.

*Writes*: a burst of 20,000 duplicates over 100 problems, on a real kube-apiserver: Kubernetes writes a duplicate.

*Storms*: 10 to 1000 alerts of one group in one aggregated request, beside a request for each (`storms.py`).

*Access*: the rate of a gateway with bearer tokens, and one with signed tokens, beside one without (`access.py`).

Each figure has a limit; the exit code is 1 where one is missed. The results are kept in `results/bench.json` and
compared with those of the last run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
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
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.ports import free_port
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench import access, storms
from tests.bench.load import HEADERS, PATH, TOKEN, alert, idle, writes

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "bench.json"
PROBLEMS = 1000
RATIO_AT_LEAST = {1: 0.7, 10: 0.7, 50: 0.6, 500: 0.6}
KINDS = ("same", "changing")
WRITES_AT_MOST = 0.03
PARTS = ("throughput", "writes", "storms", "access")
CONNECTIONS = 128
CHANGING = 40_000

say = Console(stderr=True).print


def bodies(size: int, *, problems: int = PROBLEMS, count: int = 0, changing: bool = False) -> list[bytes]:
    """Webhooks of `size` alerts that go round the problems."""
    made = []
    # What changes has to be more than the gateway remembers, or it would be the same again.
    for number in range(count or (CHANGING if changing else 2 * problems) // size):
        alerts = [
            alert((number * size + offset) % problems, turn=number if changing else None)
            for offset in range(size)
        ]
        made.append(
            json.dumps({"version": "4", "status": "firing", "receiver": "gateway", "alerts": alerts}).encode()
        )
    return made


class Throughput:
    """Rounds of load against the gateway and the bare handler."""

    def __init__(self, folder: Path, servers: dict[str, tuple[Process, int]], seconds: float) -> None:
        """`servers`: name → process and port."""
        self._folder = folder
        self._servers = servers
        self._seconds = seconds

    def measure(self, size: int, rounds: int, *, changing: bool = False) -> dict[str, Any]:
        """The ratio at so many alerts a webhook."""
        file = self._folder / f"bodies-{size}"
        file.write_bytes(b"\n".join(bodies(size, changing=changing)))
        seen: dict[str, list[dict[str, float]]] = {"gateway": [], "bare": []}
        for number in range(rounds):
            for name in ("bare", "gateway") if number % 2 else ("gateway", "bare"):
                seen[name].append(self._round(name, file))
        rates = {
            name: [one["requests"] / one["seconds"] for one in several] for name, several in seen.items()
        }
        ratios = [ours / theirs for ours, theirs in zip(rates["gateway"], rates["bare"], strict=True)]
        errors = sum(one["errors"] for several in seen.values() for one in several)
        if errors:
            raise RuntimeError(f"{errors} requests failed under load")
        return {
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "webhooks_per_second": statistics.median(rates["gateway"]),
            "alerts_per_second": statistics.median(rates["gateway"]) * size,
            "bare_webhooks_per_second": statistics.median(rates["bare"]),
            "cpu_ratio": statistics.median(
                theirs["cpu_us"] / ours["cpu_us"]
                for ours, theirs in zip(seen["gateway"], seen["bare"], strict=True)
            ),
            "cpu_us": statistics.median(one["cpu_us"] for one in seen["gateway"]),
            "p50_ms": statistics.median(one["p50_ms"] for one in seen["gateway"]),
            "p99_ms": statistics.median(one["p99_ms"] for one in seen["gateway"]),
        }

    def _round(self, name: str, file: Path) -> dict[str, float]:
        server, port = self._servers[name]
        command = [sys.executable, "-m", "tests.bench.client", "127.0.0.1", str(port), str(file)]
        command += [str(CONNECTIONS), str(self._seconds), f"Bearer {TOKEN}"]
        before = cpu_seconds(server.pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        result: dict[str, float] = json.loads(done.stdout)
        result["cpu_us"] = (cpu_seconds(server.pid) - before) / result["requests"] * 1e6
        return result


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def throughput_of(folder: Path, seconds: float) -> Iterator[Throughput]:
    """Redis, the embedded API, a gateway with 1000 open requests, and the bare handler."""
    redis = RedisServer(folder / "redis", name="redis")
    kubeconfig = folder / "kubeconfig"
    here = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY__")}
    python = [sys.executable, "-m"]
    api = Process(
        "api", [*python, "tests.bench.embedded", str(kubeconfig)], folder=folder / "api", env=here, cwd=ROOT
    )
    bare_port = free_port()
    bare = Process(
        "bare", [*python, "tests.bench.bare", str(bare_port)], folder=folder / "bare", env=here, cwd=ROOT
    )
    tokens = folder / "tokens"
    tokens.write_text(f"bench:{TOKEN}\n")
    gateway = GatewayProcess(
        folder / "gateway",
        name="gateway",
        redis_url=redis.url,
        kubeconfig=kubeconfig,
        settings={"auth": {"mode": "bearer", "tokens_file": str(tokens)}},
    )
    try:
        redis.start()
        api.start()
        bare.start()
        wait_until(kubeconfig.exists, "the embedded API", seconds=20)
        gateway.start()
        open_problems(gateway, PROBLEMS)
        yield Throughput(folder, {"gateway": (gateway, gateway.port), "bare": (bare, bare_port)}, seconds)
    finally:
        for process in (gateway, bare, api, redis):
            process.kill()


def open_problems(gateway: GatewayProcess, problems: int) -> None:
    """Fire each once, and wait until each is confirmed."""
    for body in bodies(50, problems=problems, count=problems // 50):
        status, answer = gateway.post(PATH, body, headers=HEADERS)
        if status not in (201, 202):
            raise RuntimeError(f"the gateway answered {status}: {answer[:200]!r}")
    wait_until(lambda: idle(gateway), "all problems to be confirmed", seconds=120, every=0.2)


def writes_per_duplicate(folder: Path) -> dict[str, Any]:
    """20,000 duplicates over 100 problems as fast as they can be posted, on a real API server."""
    redis = RedisServer(folder / "redis2", name="redis")
    cluster = Cluster(folder / "cluster", name="cluster")
    gateway: GatewayProcess | None = None
    try:
        redis.start()
        cluster.start()
        cluster.api.install_crd()
        cluster.api.create_namespace("bench")
        gateway = GatewayProcess(
            folder / "gateway2", name="gateway", redis_url=redis.url, kubeconfig=cluster.kubeconfig
        )
        gateway.start()
        open_problems(gateway, 100)
        before = writes(gateway)
        began = time.monotonic()
        for body in bodies(50, problems=100, count=400):
            status, _ = gateway.post(PATH, body)
            if status != 202:
                raise RuntimeError(f"the gateway answered {status}")
        took = time.monotonic() - began
        wait_until(
            lambda: gateway is not None and idle(gateway), "all counts to be written", seconds=120, every=0.2
        )
        made = writes(gateway) - before
        counts = [r["spec"]["deduplication"]["occurrenceCount"] for r in cluster.api.requests("bench")]
        if sorted(counts) != [201] * 100:
            raise RuntimeError(f"inexact counts: {sorted(set(counts))}")
        return {"writes": made, "duplicates": 20_000, "per_duplicate": made / 20_000, "seconds": took}
    finally:
        if gateway is not None:
            gateway.kill()
        cluster.stop()
        redis.kill()


def report(found: dict[str, Any], last: dict[str, Any]) -> bool:
    """Print the figures beside their limits and the last run's; whether all limits hold."""
    table = Table("figure", "value", "limit", "last run", "", title="make bench")
    good = True

    def row(name: str, value: float, limit: str, holds: bool | None, before: Any) -> None:
        nonlocal good
        good = good and holds is not False
        verdict = "" if holds is None else "ok" if holds else "MISSED"
        table.add_row(name, f"{value:.3g}", limit, f"{before:.3g}" if before is not None else "-", verdict)

    for size, limit in RATIO_AT_LEAST.items():
        for kind in KINDS:
            key = f"{kind}-{size}"
            one = found["throughput"].get(key)
            if one is None:
                continue
            before = last.get("throughput", {}).get(key, {}).get("ratio")
            name = f"{size} alerts a webhook, {'byte for byte as before' if kind == 'same' else 'changed annotation'}"
            held = one["ratio"] >= limit if kind == "same" else None
            row(
                f"{name}: gateway / bare",
                one["ratio"],
                f">= {limit}" if held is not None else "",
                held,
                before,
            )
            row("   alerts a second", one["alerts_per_second"], "", None, None)
            row("   the same in processor time", one["cpu_ratio"], "", None, None)
    if "writes" in found:
        value = found["writes"]["per_duplicate"]
        before = last.get("writes", {}).get("per_duplicate")
        row("Kubernetes writes a duplicate", value, f"<= {WRITES_AT_MOST}", value <= WRITES_AT_MOST, before)
    for size, one in found.get("storms", {}).items():
        limited = int(size) >= storms.FROM
        before = last.get("storms", {}).get(size, {}).get("saved")
        row(
            f"storm of {size}: Kubernetes writes saved ({one['held']:.0f} instead of {one['alone']:.0f})",
            one["saved"],
            f">= {storms.SAVED_AT_LEAST}" if limited else "",
            one["saved"] >= storms.SAVED_AT_LEAST if limited else None,
            before,
        )
        row("   request complete, ms after the end (or before)", one["after_end_ms"], "", None, None)
    for mode, one in found.get("access", {}).items():
        before = last.get("access", {}).get(mode, {}).get("ratio")
        holds = one["ratio"] >= access.AT_LEAST
        row(f"auth.mode {mode}: rate beside none", one["ratio"], f">= {access.AT_LEAST}", holds, before)
    Console().print(table)
    return good


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    """Measure, keep and compare. Returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each size (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds a round (default 4)")
    parser.add_argument("--only", choices=PARTS, help="measure only this")
    parser.add_argument(
        "--sizes", type=_sizes, default=list(RATIO_AT_LEAST), help="alerts a webhook, like 1,10 (default all)"
    )
    parser.add_argument("--kind", choices=KINDS, help="only alerts as before, or only changed ones")
    options = parser.parse_args()
    wanted = [options.only] if options.only else PARTS
    found: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count(), "throughput": {}}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if "throughput" in wanted:
                with throughput_of(folder, options.seconds) as throughput:
                    for kind in [options.kind] if options.kind else KINDS:
                        for size in options.sizes:
                            say(f"{size} alerts a webhook, {kind} …")
                            measured = throughput.measure(size, options.rounds, changing=kind == "changing")
                            found["throughput"][f"{kind}-{size}"] = measured
            if "writes" in wanted:
                say("Kubernetes writes a duplicate …")
                found["writes"] = writes_per_duplicate(folder)
            if "storms" in wanted:
                say("storms, held and not …")
                found["storms"] = storms.measure(folder)
            if "access" in wanted:
                say("authentication, with and without …")
                sent = folder / "bodies-access"
                sent.write_bytes(b"\n".join(bodies(1)))
                found["access"] = access.measure(folder, sent, bodies(50, count=PROBLEMS // 50), options)
    finally:
        processes.end_everything()
    last = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    good = report(found, last)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
