"""What so many replicas need, and what breaks first: a model from measured costs.

Two cores measure what an alert costs (`tests.bench.scaling`), and not what a thousand replicas do. The costs add up by
simple rules, which is all that this is:

* An alert costs its replica and a Redis master processor time, whoever else is there.
* A write costs the API server its own work, and an event for each replica, since each watches all requests. So do the
  events of a write cost each replica their decoding.
* A replica keeps an entry for each open request, and a mark in it for each process that has counted on it.
* A replica that starts lists all of them.
* A replica that does nothing still asks Redis for work and renews its watches.

What the load is made of grows with the replicas (`Load.of`): twice as many are there because there are twice as many
alerts. `python -m tests.bench.model` prints the table of docs/performance.md from the costs recorded in `MEASURED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rich.console import Console
from rich.table import Table

from gateway.state.store import WRITE_SPREAD

SENDERS = 2
"""Processes that count the alerts of one problem, where a balancer goes by connections: Alertmanagers keep theirs."""
SEEN = 600
"""The same where each request goes elsewhere: the alerts of a problem in ten minutes, one a second."""
COUNTS = 1 / WRITE_SPREAD
"""Writes a second that only count, for which requests take turns."""
LONGEST_TURN = 60.0
"""Seconds after which a request is counted on, whoever else waits."""
USABLE = 0.7
"""The share of a core, or of a server's connections, that may be used in the mean: the rest is for peaks."""


@dataclass(frozen=True)
class Costs:
    """Measured. Times in microseconds of a processor, memory and sizes in bytes."""

    gateway_duplicate: float
    gateway_new: float
    redis_duplicate: float
    redis_new: float
    api_write: float
    """The API server and etcd, without watchers."""
    api_event: float
    """The API server, for each watcher of a write."""
    gateway_event: float
    api_listed: float
    """For each object of a list."""
    event: float
    """Bytes of a request on the wire."""
    entry: float
    """Bytes of an open request in the index."""
    mark: float
    """Bytes of a process's mark in it."""
    idle_gateway: float
    """Processor time a second of a replica that has nothing to do."""
    idle_redis: float
    """What Redis spends on it."""


@dataclass(frozen=True)
class Load:
    """A second of it."""

    duplicates: float
    new: float
    counts: float
    """Writes that only count."""
    open: float
    """Requests that are open."""

    @classmethod
    def of(cls, replicas: int) -> Load:
        """Of each replica a thousand alerts a second, one of them new; a request is open for ten minutes.

        All of them fire all the time. Together they write fifty counts a second, and more only where a request would
        wait for its turn for more than a minute (decision 004).
        """
        new = 1.0 * replicas
        counts = max(COUNTS, 600 * new / LONGEST_TURN)
        return cls(duplicates=999.0 * replicas, new=new, counts=counts, open=600 * new)


@dataclass(frozen=True)
class Limits:
    """What there is at the most."""

    redis_masters: int = 16
    """`redis.shards`: what is in one shard is on one master."""
    redis_connections: int = 10_000
    """`maxclients`."""
    pool: int = 32
    """`redis.pool_size`, to each master."""
    api_cores: float = 16.0
    """Of a large control plane."""
    api_bandwidth: float = 1.25e9
    """Bytes a second: ten gigabits."""
    memory: float = 512 * 2**20
    """Bytes of a replica's index."""
    start: float = 60.0
    """Seconds in which the API server has listed for all replicas, if all start at once."""


@dataclass(frozen=True)
class Need:
    """One thing that is needed, and what there is of it."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def used(self) -> float:
        """The share of the limit; above one it is broken."""
        return self.value / self.limit


def needs(costs: Costs, load: Load, replicas: int, limits: Limits | None = None) -> list[Need]:
    """Everything that can break, in the order of the components."""
    has = limits or Limits()
    micro = 1e-6
    writes = load.new + load.counts
    events = writes * replicas
    gateway = (
        (load.duplicates * costs.gateway_duplicate + load.new * costs.gateway_new) / replicas
        + writes * costs.gateway_event
        + costs.idle_gateway
    )
    redis = load.duplicates * costs.redis_duplicate + load.new * costs.redis_new + replicas * costs.idle_redis
    api = writes * costs.api_write + events * costs.api_event
    kept, spread = min(SENDERS, replicas), min(SEEN, replicas)
    return [
        Need("core of a replica", gateway * micro, USABLE, "cores"),
        Need("index of a replica", load.open * (costs.entry + kept * costs.mark), has.memory, "bytes"),
        Need(
            "index of a replica, if requests are spread",
            load.open * (costs.entry + spread * costs.mark),
            has.memory,
            "bytes",
        ),
        Need("Redis masters", ceil(redis * micro / USABLE), has.redis_masters, "masters"),
        Need("connections of a master", replicas * has.pool, has.redis_connections * USABLE, "connections"),
        Need("API server and etcd", api * micro, has.api_cores * USABLE, "cores"),
        Need("watch events on the wire", events * costs.event, has.api_bandwidth * USABLE, "bytes/s"),
        Need(
            "API server, all replicas starting at once",
            load.open * costs.api_listed * micro * replicas / has.api_cores,
            has.start,
            "seconds",
        ),
    ]


def breaks_first(found: Sequence[Need]) -> Need:
    """The nearest to its limit, or the farthest beyond it."""
    return max(found, key=lambda need: need.used)


MEASURED = Costs(
    gateway_duplicate=77,
    gateway_new=950,
    redis_duplicate=22,
    redis_new=200,
    api_write=2000,
    api_event=20,
    gateway_event=6,
    api_listed=110,
    event=3100,
    entry=1000,
    mark=24,
    idle_gateway=7500,
    idle_redis=4000,
)
"""Of the machine that docs/performance.md describes; `python -m tests.bench.scaling` measures them."""


def main() -> None:
    """The table of docs/performance.md: what is needed, and its share of what there is."""
    several = (1, 10, 100, 1000)
    columns = [needs(MEASURED, Load.of(replicas), replicas) for replicas in several]
    table = Table("", *(f"{replicas:,}" for replicas in several))
    loads = [Load.of(replicas) for replicas in several]
    table.add_row("alerts a second", *(f"{load.duplicates + load.new:,.0f}" for load in loads))
    table.add_row("writes a second", *(f"{load.new + load.counts:,.0f}" for load in loads))
    table.add_row("open requests", *(f"{load.open:,.0f}" for load in loads))
    for row in zip(*columns, strict=True):
        table.add_row(row[0].what, *(f"{amount(need)} ({need.used:.0%})" for need in row))
    table.add_row("breaks first", *(breaks_first(found).what for found in columns))
    Console(width=180).print(table)


def amount(need: Need) -> str:
    """Its value for people."""
    value, unit = need.value, need.unit
    if unit.startswith("bytes"):
        return f"{value / 2**20:,.0f} MiB{unit.removeprefix('bytes')}"
    return (
        f"{value:,.0f} {unit}" if value >= 10 or unit in ("masters", "connections") else f"{value:.2g} {unit}"
    )


if __name__ == "__main__":
    main()
