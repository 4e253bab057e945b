"""Fifty thousand open requests: how much memory they take, how long a start takes, and what they cost each alert.

Two gateways at one API server are compared in turns, so that whatever else the machine does hits both: one follows a
namespace with a thousand open requests, the other one with fifty thousand. Each gets duplicates of a thousand of its
own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench.rounds import CONNECTIONS, Rounds, Seen
from tests.integration.lengths import FULL
from tests.integration.sight import body, fires, settled, status_of
from tests.integration.stock import pod, stock
from tests.rig.fixtures import StartCluster, StartGateway

FEW, MANY = 1_000, 50_000
MOST_MEMORY = 120 * 2**20
MOST_SECONDS = 20.0
ROUNDS, SECONDS = (40, 0.5) if FULL else (8, 0.5)
AT_LEAST = 0.9 if FULL else 0.7
"""Of the thousand's processor time an alert. Few rounds on a busy machine scatter by a tenth and more."""


@dataclass
class Started:
    gateway: GatewayProcess
    seconds: float
    """From the start of the process until all is listed and watched."""
    memory: int
    """Resident bytes then."""


async def test_fifty_thousand_open_requests_take_little_memory_start_soon_and_slow_no_alert(
    start_gateway: StartGateway, redis_server: RedisServer, start_cluster: StartCluster, tmp_path: Path
) -> None:
    plane = start_cluster(etcd="recent")
    stock(plane, "few", FEW)
    stock(plane, "many", MANY)
    few, many = (
        started(start_gateway, redis_server, plane, name, number)
        for name, number in (("few", FEW), ("many", MANY))
    )
    index = many.memory - few.memory
    lateness = many.gateway.metric("gateway_event_loop_lag_seconds")
    rounds = Rounds(tmp_path, {one.gateway.name: (one.gateway, one.gateway.port) for one in (few, many)})
    for name in ("few", "many"):
        rounds.send_to(name, [body(fires(name, pod(place))) for place in range(FEW)])
    seen = rounds.measure(ROUNDS, SECONDS)
    await settled(few.gateway, many.gateway, seconds=90)
    cost, rate = seen.ratio("few", "many", "cpu_us"), seen.ratio("many", "few", "rate")
    grown = resident(many.gateway.pid) - many.memory
    print(told(few, many, index, lateness, seen, cost, rate, grown), end="")

    assert index < MOST_MEMORY
    assert many.seconds < MOST_SECONDS
    assert cost >= AT_LEAST
    assert grown < MOST_MEMORY / 2
    for name, gateway in (("few", few.gateway), ("many", many.gateway)):
        assert seen.errors(name) == 0
        assert status_of(gateway)["synced"]
    # What was under way at the end of a round was counted, too, and nobody read the answer.
    unread = sum(counts_of_stock(plane, "few")) - 21 * FEW - seen.requests("few")
    assert 0 <= unread <= ROUNDS * CONNECTIONS


def started(start: StartGateway, redis: RedisServer, plane: Cluster, namespace: str, number: int) -> Started:
    """A gateway that follows one namespace, once it knows all of its requests."""
    began = time.monotonic()
    settings = {
        "redis": {"prefix": f"{namespace}:", "timeout": "250ms"},
        "kubernetes": {"namespaces": [namespace]},
        # What counts is the way of an alert, and not how many patches fall into a round.
        "dedup": {"write_interval": "10s"},
    }
    gateway = start(name=namespace, redis=redis, cluster=plane, settings=settings)

    def listed() -> bool:
        status = status_of(gateway)
        return bool(status["synced"] and status["requests"] == number)

    wait_until(listed, f"all requests of {namespace} to be known", seconds=90, every=0.1)
    seconds = time.monotonic() - began
    return Started(gateway, seconds, resident(gateway.pid))


def counts_of_stock(plane: Cluster, namespace: str) -> list[int]:
    return [r["spec"]["deduplication"]["occurrenceCount"] for r in plane.api.requests(namespace)]


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no VmRSS")


def told(
    few: Started, many: Started, index: int, lateness: float, seen: Seen, cost: float, rate: float, grown: int
) -> str:
    """The figures, for docs/performance.md."""
    return (
        f"{MANY} open requests: {many.memory / 2**20:.0f} MiB resident, {index / 2**20:.0f} more than with {FEW}"
        f" (and {grown / 2**20:.0f} more under load); listed {many.seconds:.1f} s after the start ({few.seconds:.1f} s"
        f" with {FEW}), the event loop {lateness * 1000:.0f} ms late at the most; intake: {cost:.2f} in processor time,"
        f" {rate:.2f} in rate; p99 {seen.median('many', 'p99_ms'):.1f} ms beside {seen.median('few', 'p99_ms'):.1f} ms"
    )
