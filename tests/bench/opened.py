"""Intake with fifty thousand open requests in the index, beside intake with a thousand.

Two gateways at one API server get duplicates of a thousand problems each, in turns. What counts is processor time: on
a busy machine the rate says more about who else was there.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos.rig.waiting import wait_until
from tests.bench.figures import Figure, at_least
from tests.bench.rounds import Rounds
from tests.bench.stage import PATIENT, Stage, say, status, watching
from tests.integration.sight import body, fires
from tests.integration.stock import pod, stock

FEW, MANY = 1000, 50_000
AT_LEAST = 0.9
ROUNDS, SECONDS = 40, 0.5
"""Many short rounds: the machine's mood changes within seconds."""
SELDOM = {"dedup": {"write_interval": "30s"}}
"""Counts are written at so many a second, whatever comes; here few are, since the rest is what is measured."""


def measure(stage: Stage) -> Iterator[Figure]:
    """One figure."""
    redis, cluster = stage.redis(), stage.cluster(etcd="recent")
    numbers = {"few": stage.some(FEW, 50), "many": stage.some(MANY, 100)}
    servers = {}
    for name, number in numbers.items():
        say(f"intake with {number:,} open requests …")
        namespace = f"bench-opened-{name}"
        stock(cluster, namespace, number)
        own = {"redis": {**PATIENT["redis"], "prefix": f"{name}:"}}
        gateway = stage.gateway(
            redis, cluster.kubeconfig, own, watching(namespace), SELDOM, name=name, auth={"mode": "none"}
        )
        gateway.start()
        wait_until(lambda gateway=gateway: status(gateway).get("synced"), "all to be listed", seconds=90)
        servers[name] = (gateway, gateway.port)
    rounds = Rounds(stage.folder, servers)
    for name in servers:
        bodies = [body(fires(f"bench-opened-{name}", pod(place))) for place in range(numbers["few"])]
        rounds.send_to(name, bodies)
    seen = rounds.measure(stage.some(ROUNDS, 2), SECONDS)
    yield Figure(
        f"intake with {MANY:,} open requests",
        seen.ratio("few", "many", "cpu_us"),
        f"processor time of a webhook with {FEW:,} open requests / with {MANY:,}",
        limit=at_least(AT_LEAST),
        beside={
            f"{name}, {figure}": seen.median(name, figure)
            for name in servers
            for figure in ("cpu_us", "rate", "p99_ms")
        },
    )
