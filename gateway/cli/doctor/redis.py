"""What `gateway doctor` asks Redis. How it is judged is in `state.examining`, which a running gateway shares.

Everything is asked with the gateway's own client, of every server that has keys of its shards, and nothing is changed:
the script that shows whether scripts may run and write deletes two keys that nobody writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.cli.doctor.timing import limited, measured, overdue
from gateway.config.redis_url import RedisAddress, Topology
from gateway.errors import StoreError
from gateway.resilience.diagnosis import Diagnosis, Grade
from gateway.state import examining
from gateway.state.access import Access
from gateway.state.client import Client
from gateway.state.keys import Keys

if TYPE_CHECKING:
    from gateway.config.settings import Redis

ANSWER: Final = 2.0
"""Seconds that an answer may take: longer than any that is well, so that what is slow is told apart from dead."""
PINGS: Final = 50
LIMIT: Final = 15.0
"""Seconds for one server."""
FINDING: Final = 10.0
"""Seconds for finding the servers."""
SCRIPT: Final = "redis.call('DEL', KEYS[1], KEYS[2]) return redis.call('TIME')"

REMEDIES: Final[Mapping[str, str]] = {
    "auth": "see redis.username_file and redis.password_file, and what ACL GETUSER says of the user",
    "busy": "a script or module of somebody else runs for long; see its slow log",
    "clusterdown": "some slots of the cluster have no master; see CLUSTER NODES",
    "loading": "it is reading its data, and will be ready after that",
    "misconf": "it cannot write to its disk; see its log",
    "moved": "it is a node of a cluster: use redis+cluster://…",
    "noreplicas": "too few replicas follow it (min-replicas-to-write); see INFO replication",
    "oom": "it is full: raise maxmemory, or see who else keeps data there",
    "readonly": "it is a replica: point redis.url at the master, or at the Sentinels (redis+sentinel://…)",
    "timeout": "see whether it hangs (SLOWLOG GET), and whether the network drops packets",
}
"""Kind of a failure → what to do."""
REACH: Final = "see that it runs, that redis.url is right, and that no firewall or TLS setting is in between"


@dataclass(frozen=True, slots=True)
class _Server:
    """One that has keys of the gateway: how to address it, and what it told of itself."""

    shard: int
    where: str
    info: Mapping[str, str]
    """Its section `server`, empty where it may not be asked for."""


async def examine(settings: Redis) -> list[Diagnosis]:
    """Everything about Redis. Raises nothing but for a bug."""
    access = Access.of(settings)
    where = named(access.where)
    keys = Keys(settings.prefix, settings.shards, settings.buffer_prefix)
    client = Client(access, timeout=max(ANSWER, settings.timeout), pool_size=2)
    patient = _Patient(client, keys, access.where, settings.timeout)
    try:
        servers: list[_Server] = []
        late = overdue("redis", "connection", where, FINDING)
        found = await limited(patient.find(servers), late, FINDING)
        for server in servers:
            late = overdue("redis", "everything", server.where, LIMIT)
            found += await limited(patient.examine(server), late, LIMIT)
        return found
    finally:
        await client.close()


def named(where: RedisAddress) -> str:
    """The address for people, without credentials."""
    if where.socket:
        return where.socket
    hosts = ",".join(f"{host}:{port}" for host, port in where.addresses)
    return f"{where.service} by {hosts}" if where.topology is Topology.SENTINELS else hosts


class _Patient:
    """Redis, being asked."""

    def __init__(self, client: Client, keys: Keys, address: RedisAddress, timeout: float) -> None:
        """`timeout` is what the gateway allows a call, in seconds."""
        self._client = client
        self._keys = keys
        self._address = address
        self._timeout = timeout
        self._where = named(address)

    async def find(self, servers: list[_Server]) -> list[Diagnosis]:
        """Find the servers that have the shards, each once; they are added to the list."""
        in_cluster = self._address.topology is Topology.CLUSTER
        known: set[str] = set()
        for shard in range(self._keys.shards if in_cluster else 1):
            key = self._keys.probe(shard)
            try:
                await self._client.command("PING", key=key)
            except StoreError as error:
                remedy = REMEDIES.get(error.kind, REACH)
                where = f"shard {shard} of {self._where}" if in_cluster else self._where
                return [Diagnosis("redis", "connection", where, Grade.WRONG, str(error), remedy)]
            info = await self._info("server", key)
            mark = info.get("run_id", str(shard))
            if mark not in known:
                known.add(mark)
                where = await self._myself(key, shard) if in_cluster else self._where
                servers.append(_Server(shard, where, info))
        said = "answers"
        if in_cluster:
            said = f"answers: {len(known)} of its masters have the {self._keys.shards} shards"
        elif (self._address.topology is Topology.SERVER) and servers[0].info.get("redis_mode") == "cluster":
            partial = "it is a node of a cluster, and answers for some of the keys only"
            return [
                Diagnosis("redis", "connection", self._where, Grade.WRONG, partial, "use redis+cluster://…")
            ]
        found = [Diagnosis("redis", "connection", self._where, Grade.OK, said)]
        if in_cluster and self._keys.shards == 1:
            found.append(
                Diagnosis(
                    "redis",
                    "shards",
                    "redis.shards",
                    Grade.WARNING,
                    "one shard is one node's: the other masters of the cluster have nothing to do",
                    "set redis.shards to 16, for all replicas alike",
                )
            )
        return found

    async def examine(self, server: _Server) -> list[Diagnosis]:
        """Everything about one server."""
        where, key = server.where, self._keys.probe(server.shard)
        failover = self._address.topology is not Topology.SERVER
        replication, memory = await self._info("replication", key), await self._info("memory", key)
        persistence = await self._info("persistence", key)
        return [
            examining.version(server.info, where),
            examining.role(replication, where, failover=failover),
            examining.eviction(memory, where),
            examining.persistence(persistence, await self._save(key), where),
            examining.memory(memory, where),
            *await self._script(server),
            await self._latency(where, key),
        ]

    async def _script(self, server: _Server) -> list[Diagnosis]:
        """Whether scripts run and write, and what its clock says meanwhile."""
        shard, where = server.shard, server.where
        key, buffer = self._keys.probe(shard), f"{self._keys.buffers(shard)}probe"
        asked = time.time()
        try:
            told = await self._client.command("EVAL", SCRIPT, 2, key, buffer, key=key)
        except StoreError as error:
            remedy = REMEDIES.get(error.kind, REACH)
            if error.kind == "auth":
                remedy = (
                    "let the user run EVAL, EVALSHA and what scripts call, on the keys "
                    f"~{self._keys.root(shard)}* and ~{self._keys.buffers(shard)}* (ACL SETUSER)"
                )
            return [Diagnosis("redis", "scripts", where, Grade.WRONG, str(error), remedy)]
        answered = time.time()
        theirs = int(told[0]) + int(told[1]) / 1e6
        return [
            Diagnosis("redis", "scripts", where, Grade.OK, "run, and may write"),
            examining.clock(theirs - (asked + answered) / 2, (answered - asked) / 2, where),
        ]

    async def _latency(self, where: str, key: str) -> Diagnosis:
        try:
            latency = await measured(
                lambda: self._client.command("PING", key=key), times=PINGS, seconds=ANSWER
            )
        except StoreError as error:
            remedy = REMEDIES.get(error.kind, REACH)
            return Diagnosis("redis", "latency", where, Grade.WRONG, str(error), remedy)
        limit = f"redis.timeout is {1000 * self._timeout:g} ms"
        remedy = "bring Redis nearer, or raise redis.timeout"
        if latency.median > self._timeout:
            found = f"{latency}; {limit}: most alerts go to Kubernetes directly"
            return Diagnosis("redis", "latency", where, Grade.WRONG, found, remedy)
        if latency.high > self._timeout:
            found = f"{latency}; {limit}: some alerts go to Kubernetes directly"
            return Diagnosis("redis", "latency", where, Grade.WARNING, found, remedy)
        return Diagnosis("redis", "latency", where, Grade.OK, f"{latency}; {limit}")

    async def _info(self, section: str, key: str) -> dict[str, str]:
        """A section of INFO, empty where it may not be asked for."""
        try:
            return examining.fields(await self._client.command("INFO", section, key=key))
        except StoreError:
            return {}

    async def _save(self, key: str) -> str | None:
        """When snapshots are made, empty for never; None where that cannot be asked, as with most providers."""
        try:
            told = await self._client.command("CONFIG", "GET", "save", key=key)
        except StoreError:
            return None
        return bytes(told[1]).decode() if len(told) == 2 else None

    async def _myself(self, key: str, shard: int) -> str:
        """The address of the node that has the key, as it knows it itself."""
        try:
            told: bytes = await self._client.command("CLUSTER", "NODES", key=key)
        except StoreError:
            return f"the node with shard {shard}"
        for line in told.decode("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 2 and "myself" in words[2].split(","):
                return words[1].partition("@")[0]
        return f"the node with shard {shard}"
