"""A Redis Cluster on loopback: masters with replicas, slots that move, masters that are lost. Without redis-cli."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import redis

from chaos.rig.redis_server import RedisServer, Source
from chaos.rig.waiting import wait_until

SLOTS = 16384


@dataclass(frozen=True)
class NodeView:
    """What one node knows about a node."""

    id: str
    port: int
    flags: frozenset[str]
    master_id: str
    """Of a replica's master; `-` for a master."""
    linked: bool
    slots: frozenset[int]


class RedisCluster:
    """`masters` masters with equal shares of the slots, each with replicas. `url` is the gateway's.

    `nodes` are the processes, masters first, to kill, pause and start again; a master that comes back becomes a
    replica. A lost master is replaced some two to three times `node_timeout_ms` after the loss.
    """

    def __init__(
        self,
        folder: Path,
        *,
        masters: int = 3,
        replicas_per_master: int = 1,
        node_timeout_ms: int = 1000,
        source: Source = "any",
        options: Mapping[str, str] | None = None,
        name: str = "redis-cluster",
    ) -> None:
        """Redis needs three masters at least to replace a lost one."""
        self._masters = masters
        self.nodes = [
            RedisServer(
                folder / f"node{number}",
                name=f"{name}-node{number}",
                source=source,
                options={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": str(node_timeout_ms),
                    "cluster-replica-validity-factor": "0",
                    "repl-diskless-sync": "yes",
                    "repl-diskless-sync-delay": "0",
                    "repl-ping-replica-period": "1",
                    **(options or {}),
                },
            )
            for number in range(masters * (1 + replicas_per_master))
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self, *, seconds: float = 60.0) -> None:
        """Starts the nodes, makes a cluster of them and waits until each of them knows it, replicas in step."""
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            # Epochs that differ from the start: nothing to settle between masters that think they are equal.
            _ask(node, "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                _ask(node, "MEET", "127.0.0.1", first.port)
        for number, master in enumerate(self.nodes[: self._masters]):
            share = range(number * SLOTS // self._masters, (number + 1) * SLOTS // self._masters)
            _ask(master, "ADDSLOTS", *share)
        wait_until(self._all_have_met, "the nodes to know each other", seconds=seconds)
        for number, replica in enumerate(self.nodes[self._masters :]):
            _ask(replica, "REPLICATE", self.id_of(self.nodes[number % self._masters]))
        wait_until(self.settled, "the cluster to be whole", seconds=seconds)

    def settled(self) -> bool:
        """Whether every living node sees the same whole cluster, with the replicas that live in step."""
        living = [node for node in self.nodes if node.alive]
        with contextlib.suppress(redis.RedisError):
            views = [self.view(node) for node in living]
            owners = {tuple(sorted((node.id, node.slots) for node in view if node.slots)) for view in views}
            return len(owners) == 1 and all(self._is_well(node) for node in living)
        return False

    def view(self, node: RedisServer | None = None) -> list[NodeView]:
        """What a node, else the first that lives, knows about all nodes, itself included."""
        text = cast("str", _ask(node or self._living(), "NODES"))
        return [_parsed(line) for line in text.splitlines()]

    def id_of(self, node: RedisServer) -> str:
        """A node's name in the cluster."""
        return str(_ask(node, "MYID"))

    def slot_of(self, key: str) -> int:
        """The slot of a key, hash tags and all."""
        return int(str(_ask(self._living(), "KEYSLOT", key)))

    def master_of(self, slot: int) -> RedisServer:
        """The node that owns a slot, as the first that lives sees it."""
        return self._node(next(node.port for node in self.view() if slot in node.slots))

    def replicas_of(self, master: RedisServer) -> list[RedisServer]:
        """The nodes that follow a master, as the first that lives sees it."""
        view = self.view()
        wanted = next(node.id for node in view if node.port == master.port)
        return [self._node(node.port) for node in view if node.master_id == wanted]

    def kill_master(self, slot: int = 0) -> RedisServer:
        """SIGKILL to the master of a slot, which is returned; a replica is promoted later (`wait_for_failover`)."""
        master = self.master_of(slot)
        master.kill()
        return master

    def wait_for_failover(self, lost: RedisServer, *, seconds: float = 60.0) -> None:
        """Waits until `lost` owns no slot for any living node and all slots are served again."""

        def replaced() -> bool:
            living = [node for node in self.nodes if node.alive]
            with contextlib.suppress(redis.RedisError):
                seen = [one for node in living for one in self.view(node) if one.port == lost.port]
                return not any(one.slots for one in seen) and self.settled()
            return False

        wait_until(replaced, f"a replica in the place of {lost.name}", seconds=seconds)

    def migrate_slot(self, slot: int, target: RedisServer) -> None:
        """Moves a slot with its keys to another master, as redis-cli does; all nodes know it on return."""
        source = self.master_of(slot)
        self.begin_migration(slot, target)
        self.move_keys(slot, target)
        self.finish_migration(slot, source, target)

    def begin_migration(self, slot: int, target: RedisServer) -> None:
        """From here on the owner answers ASK for keys of the slot that it does not have."""
        source = self.master_of(slot)
        _ask(target, "SETSLOT", slot, "IMPORTING", self.id_of(source))
        _ask(source, "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot: int, target: RedisServer, *, most: int | None = None) -> int:
        """Moves keys of a migrating slot, all or so many at most, and returns how many."""
        moved = 0
        source = self.master_of(slot)
        with source.client() as client:
            while most is None or moved < most:
                batch = 100 if most is None else min(100, most - moved)
                keys = cast("list[str]", client.execute_command("CLUSTER GETKEYSINSLOT", slot, batch))
                if not keys:
                    break
                client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                moved += len(keys)
        return moved

    def finish_migration(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Gives the emptied slot to its new owner; all nodes know it on return."""
        to = self.id_of(target)
        # The target first: it takes a new epoch, with which it wins wherever the two are compared.
        for node in [target, source, *self._other_masters(source, target)]:
            _ask(node, "SETSLOT", slot, "NODE", to)
        wait_until(
            lambda: all(self._owner_seen_by(node, slot) == target.port for node in self.nodes if node.alive),
            f"slot {slot} to be seen at its new place",
        )

    def kill(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.kill()

    def _living(self) -> RedisServer:
        for node in self.nodes:
            if node.alive and node.answers():
                return node
        raise RuntimeError("no node of the cluster answers")

    def _node(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)

    def _other_masters(self, *but: RedisServer) -> Iterable[RedisServer]:
        ports = {node.port for node in self.view() if "master" in node.flags and "fail" not in node.flags}
        return [node for node in self.nodes if node.port in ports and node not in but and node.alive]

    def _owner_seen_by(self, node: RedisServer, slot: int) -> int:
        return next((one.port for one in self.view(node) if slot in one.slots), 0)

    def _all_have_met(self) -> bool:
        return all(
            len(view) == len(self.nodes)
            and all(one.linked and not one.flags & {"handshake", "noaddr"} for one in view)
            and sum(len(one.slots) for one in view) == SLOTS
            for view in map(self.view, self.nodes)
        )

    def _is_well(self, node: RedisServer) -> bool:
        """Whether a node serves: the cluster is whole for it, and if it is a replica, it follows."""
        with node.client() as client:
            state = client.execute_command("CLUSTER INFO")
            told = client.info("replication")
        whole = "cluster_state:ok" in state if isinstance(state, str) else state["cluster_state"] == "ok"
        return whole and (told["role"] == "master" or told["master_link_status"] == "up")


def _ask(node: RedisServer, command: str, *arguments: object) -> object:
    """One CLUSTER command, its answer as Redis words it."""
    with node.client() as client:
        # In two words: the library knows replies by whole commands, and would take them apart its own way.
        return client.execute_command("CLUSTER", command, *arguments)


def _parsed(line: str) -> NodeView:
    """A line of CLUSTER NODES."""
    node_id, address, flags, master_id, _, _, _, link, *ranges = line.split()
    slots: set[int] = set()
    for part in ranges:
        if not part.startswith("["):  # that is a slot on its way, which also stands among its owner's
            low, _, high = part.partition("-")
            slots.update(range(int(low), int(high or low) + 1))
    return NodeView(
        id=node_id,
        port=int(address.partition("@")[0].rpartition(":")[2] or 0),
        flags=frozenset(flags.split(",")),
        master_id=master_id,
        linked=link == "connected",
        slots=frozenset(slots),
    )
