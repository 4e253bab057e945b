"""Scaling out: one, two and four replicas behind a plain TCP balancer, a Redis Cluster of three masters, a real API.

    python -m tests.bench.scaling [--replicas 1 2 4] [--rounds 5] [--seconds 2] [--keep FILE]

On a machine with few cores everybody shares them, so the rate says little; what an alert costs each component in
processor time says what more cores would bring, and is what the model (`tests.bench.model`) is fed with. Each stage
ends with alerts that are posted until they are taken, and whose counts have to be exact.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.rig import processes
from chaos.rig.balancer import Balancer
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_cluster import RedisCluster
from chaos.rig.waiting import wait_until
from tests.bench import costing
from tests.bench.rounds import Rounds, cpu_seconds
from tests.integration.load import flood
from tests.integration.sight import body, count_of, fires, idle

SHARDS = 16
PROBLEMS, GROUPS = 200, 50
TAKING = 2000
"""Webhooks whose counts are looked at."""
QUIET = 5.0
"""Seconds of which nobody sends anything."""
SETTINGS: dict[str, Any] = {
    # Shared cores make Redis slow now and then; what it does not take in 10 ms would be written at once.
    "redis": {"shards": SHARDS, "timeout": "2s"},
    # Counting takes turns, so many writes a second whatever comes: here few, so that they are no part of an alert.
    "dedup": {"write_interval": "10s"},
}

say = Console(stderr=True).print


class Stage:
    """All of it, started; `groups` are the processes of each component."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self.redis = RedisCluster(folder / "redis", replicas_per_master=0)
        self.cluster = Cluster(folder / "cluster", etcd="recent")
        self.gateways = [
            GatewayProcess(
                folder / f"gateway{number}",
                name=f"gateway{number}",
                redis_url=self.redis.url,
                kubeconfig=self.cluster.kubeconfig,
                settings=SETTINGS,
            )
            for number in range(replicas)
        ]
        self.balancer = Balancer(folder / "balancer", [gateway.port for gateway in self.gateways])
        self.groups: dict[str, list[Process]] = {
            "gateway": list(self.gateways),
            "Redis": list(self.redis.nodes),
            "API": [self.cluster.server, self.cluster.etcd],
        }

    def start(self) -> None:
        self.redis.start()
        self.cluster.start()
        self.cluster.api.install_crd()
        for namespace in ("rounds", "exact"):
            self.cluster.api.create_namespace(namespace)
        for gateway in self.gateways:
            gateway.start(seconds=60)
        self.balancer.start()

    def stop(self) -> None:
        for process in (self.balancer, *self.gateways):
            process.kill()
        self.cluster.stop()
        self.redis.kill()

    def settle(self) -> None:
        wait_until(lambda: idle(*self.gateways), "everything to be confirmed", seconds=120, every=0.2)

    def spent(self) -> dict[str, float]:
        """Processor seconds of each component so far."""
        return {name: cpu_seconds(*several) for name, several in self.groups.items()}

    def writes(self) -> float:
        return sum(
            gateway.metric("gateway_k8s_api_requests_total", verb=verb)
            for gateway in self.gateways
            for verb in ("create", "patch", "delete")
        )

    def redis_calls(self) -> int:
        total = 0
        for node in self.redis.nodes:
            with node.client() as client:
                total += int(client.info("stats")["total_commands_processed"])
        return total


@contextmanager
def staged(replicas: int) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        stage = Stage(Path(name), replicas)
        stack.callback(stage.stop)
        stage.start()
        yield stage


def problem(namespace: str, number: int) -> bytes:
    """A webhook about one of them; their groups are spread over the shards."""
    return body(fires(namespace, f"pod-{number}", name=f"Problem{number % GROUPS}"))


def measure(replicas: int, rounds: int, seconds: float) -> dict[str, Any]:
    """What one number of replicas does. Times of a processor in microseconds an alert, without what idle ones cost."""
    with staged(replicas) as stage, tempfile.TemporaryDirectory() as name:
        meter = Meter(stage)
        found: dict[str, Any] = {"replicas": replicas, "idle": meter.idle()}
        bodies = [problem("rounds", at) for at in range(PROBLEMS)]
        meter.begin()
        asyncio.run(flood([stage.balancer.url], bodies, at_once=32))
        stage.settle()
        found["new"] = meter.end(PROBLEMS)
        load = Rounds(Path(name), {"all": (stage.gateways[0], stage.balancer.port)})
        load.send_to("all", bodies)
        load.measure(1, seconds)  # every replica meets every problem
        stage.settle()
        meter.begin()
        seen = load.measure(rounds, seconds)
        found["duplicates"] = meter.end(seen.requests("all"))
        found["duplicates"] |= {"rate": seen.median("all", "rate"), "errors": seen.errors("all")}
        stage.settle()
        found["exact"] = asyncio.run(exact(stage))
    return found


class Meter:
    """What each component spends between two moments, beyond what it spends on nothing."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._idle = dict.fromkeys(stage.groups, 0.0)
        self._spent = stage.spent()
        self._writes = self._began = 0.0

    def idle(self) -> dict[str, float]:
        """Microseconds a second that a replica costs which has nothing to do, and its calls to Redis."""
        time.sleep(QUIET / 2)  # the start is over
        calls = self._stage.redis_calls()
        self.begin()
        time.sleep(QUIET)
        took, replicas = time.monotonic() - self._began, len(self._stage.gateways)
        self._idle = {name: (spent - self._spent[name]) / took for name, spent in self._stage.spent().items()}
        each = {name: rate / replicas * 1e6 for name, rate in self._idle.items()}
        return {"redis_calls": (self._stage.redis_calls() - calls) / took / replicas, **each}

    def begin(self) -> None:
        self._spent, self._writes, self._began = self._stage.spent(), self._stage.writes(), time.monotonic()

    def end(self, alerts: int) -> dict[str, float]:
        """Microseconds an alert, of so many since `begin`, and writes."""
        took = time.monotonic() - self._began
        spent = self._stage.spent()
        each = {
            name: (spent[name] - self._spent[name] - self._idle[name] * took) / alerts * 1e6 for name in spent
        }
        return {"writes": (self._stage.writes() - self._writes) / alerts, **each}


async def exact(stage: Stage, webhooks: int = TAKING) -> int:
    """Post until all is taken, and compare; how many were. Raises where a count is not exact."""
    pods = 100
    bodies = [problem("exact", at % pods) for at in range(webhooks)]
    books = await flood([stage.balancer.url], bodies, at_once=64)
    await asyncio.to_thread(stage.settle)
    if books.unanswered:
        raise RuntimeError(f"{books.unanswered} webhooks were not answered")
    counts = [count_of(request) for request in stage.cluster.api.requests("exact")]
    if sorted(counts) != [webhooks // pods] * pods:
        raise RuntimeError(f"inexact counts: {sorted(set(counts))}")
    return books.accepted


def report(several: Sequence[dict[str, Any]]) -> None:
    table = Table("replicas", "alerts/s", "gateway", "Redis", "API", "new: gateway", "Redis", "API", "writes")
    for one in several:
        dup, new = one["duplicates"], one["new"]
        table.add_row(
            str(one["replicas"]),
            f"{dup['rate']:,.0f}",
            *(f"{dup[name]:.0f}" for name in ("gateway", "Redis", "API")),
            *(f"{new[name]:,.0f}" for name in ("gateway", "Redis", "API")),
            f"{new['writes']:.2f}",
        )
    table.title = "µs of a processor an alert, one alert a webhook"
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--keep", type=Path, default=Path("results") / "scaling.json")
    options = parser.parse_args()
    found = []
    try:
        for replicas in options.replicas:
            say(f"{replicas} replicas …")
            found.append(measure(replicas, options.rounds, options.seconds))
            say(found[-1])
        say("events and lists …")
        more = costing.measure()
        say(more)
    finally:
        processes.end_everything()
    options.keep.parent.mkdir(exist_ok=True)
    options.keep.write_text(json.dumps({"stages": found, "costs": more}, indent=2))
    report(found)


if __name__ == "__main__":
    sys.exit(main())
