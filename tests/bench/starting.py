"""From the start of a gateway until it is ready and knows so many open requests in the cluster.

`/readyz` alone would not do: it is 200 as soon as alerts can be made durable, and the list comes after that.

Beside it: the start of the bare handler, which loads the same web server and decoder, and the time in which a client
only reads the same list, page by page, and keeps nothing (`lister.py`).

The open requests are written into etcd as the API server stores them; that takes seconds where creating them would
take minutes, and the API server lists them like any others.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, suppress

from chaos.rig.api import GROUP_PATH
from chaos.rig.cluster import Cluster
from chaos.rig.waiting import wait_until
from tests.bench.figures import Figure, at_most
from tests.bench.load import run
from tests.bench.stage import Stage, resident, say, status
from tests.integration.stock import stock

SECONDS_AT_MOST = 20.0
INDEX_AT_MOST = 120.0
"""MiB."""
FEW, MANY = 1000, 50_000
TIMES = 3
"""Starts of which the quickest counts: everything that delays one is the machine's."""


def measure(stage: Stage) -> Iterator[Figure]:
    """Without, with a few, and with many open requests."""
    cluster = stage.cluster(etcd="recent")
    bare = min(start_of_bare(stage) for _ in range(stage.some(TIMES, 1)))
    empty = 0
    for number, more in ((0, 0), (FEW, stage.some(FEW, 50)), (MANY, stage.some(MANY - FEW, 100))):
        say(f"start with {number:,} open requests …")
        if more:
            stock(cluster, f"bench-stock-{number}", more)
        starts = [start(stage, cluster) for _ in range(stage.some(TIMES, 1))]
        seconds, size = min(one for one, _ in starts), min(one for _, one in starts)
        listed = run("lister", str(cluster.kubeconfig), f"{GROUP_PATH}/remediationrequests")
        yield Figure(
            f"start with {number:,} open requests",
            seconds / (bare + listed["seconds"]),
            "seconds until ready / seconds until the bare handler answers and a client has read the list",
            beside={
                "seconds": seconds,
                "bare handler, seconds": bare,
                "reading the list, seconds": listed["seconds"],
            },
        )
        empty = empty or size
        if number == MANY:
            yield Figure(
                f"seconds to ready with {MANY:,} open requests",
                seconds,
                "from the start of the process",
                unit="s",
                limit=at_most(SECONDS_AT_MOST),
            )
            yield Figure(
                f"index of {MANY:,} open requests",
                (size - empty) / 2**20,
                "resident memory when ready, beyond that of a gateway without any request",
                unit="MiB",
                limit=at_most(INDEX_AT_MOST),
            )


def start(stage: Stage, cluster: Cluster) -> tuple[float, int]:
    """Seconds until a gateway is ready and has listed everything, and its resident bytes then."""
    gateway = stage.gateway(stage.redis(), cluster.kubeconfig)
    began = time.monotonic()
    gateway.start(wait="no")
    gateway.until(lambda: gateway.ready() and status(gateway).get("synced"), seconds=120)
    took, size = time.monotonic() - began, resident(gateway)
    gateway.kill()
    return took, size


def start_of_bare(stage: Stage) -> float:
    """Seconds until the bare handler answers."""
    began = time.monotonic()
    process, port = stage.bare()
    wait_until(lambda: answers(port), "the bare handler", seconds=20, every=0.01)
    took = time.monotonic() - began
    process.kill()
    return took


def answers(port: int) -> bool:
    """Whether anything at all is answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        with suppress(OSError):
            connection.request("GET", "/")
            return bool(connection.getresponse().status)
        return False
