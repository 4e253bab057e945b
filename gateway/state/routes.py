"""Which server a call goes to: the one there is, the one that the Sentinels call master, or the one with the slot.

What a route has to find out, it finds out in the background (`searching`), when it is first needed, when a connection
breaks, when an answer shows that something moved, and from time to time. A call that meets a route which knows nothing
yet waits within its own time-out, and is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from redis import exceptions as redis_errors
from redis.asyncio.sentinel import Sentinel
from redis.crc import key_slot

from gateway.config.redis_url import Address, Topology
from gateway.errors import StoreRefused
from gateway.state.access import Access
from gateway.state.pool import Events, Link, Pool
from gateway.state.searching import Search


class Route(Protocol):
    """Finds the connections for a key."""

    async def pool(self, key: str | None) -> Pool:
        """Of the server that has the key; of any one without a key. Raises `StoreRefused`; may wait for ever."""

    def moved(self, answer: Exception) -> Pool | None:
        """Where an answer says that the key is, None where it says nothing of the kind."""

    def refused(self, kind: str) -> None:
        """A server refused a call for a reason that says something about the server."""

    def look_around(self) -> None:
        """To be called every second or so: see whether anything moved that no call noticed."""

    @property
    def pools(self) -> Sequence[Pool]:
        """All that may have open connections."""

    async def close(self) -> None: ...


def route_of(access: Access, *, size: int, reconnected: Callable[[], None]) -> Route:
    """The route to whatever the URL leads to, with at most `size` connections to each server."""
    kinds: dict[Topology, type[_Server | _Sentinels | _Cluster]] = {
        Topology.SERVER: _Server,
        Topology.SENTINELS: _Sentinels,
        Topology.CLUSTER: _Cluster,
    }
    return kinds[access.where.topology](access, size, reconnected)


class _Server:
    """One address, or a socket."""

    def __init__(self, access: Access, size: int, reconnected: Callable[[], None]) -> None:
        address = access.where.addresses[0] if access.where.addresses else None
        self._pool = Pool(
            partial(open_link, access, address), size=size, events=Events(reconnected, lambda: None)
        )
        self.pools = (self._pool,)

    async def pool(self, _key: str | None) -> Pool:
        return self._pool

    def moved(self, _answer: Exception) -> Pool | None:
        return None

    def refused(self, kind: str) -> None:
        if kind == "readonly":
            self._pool.renew()

    def look_around(self) -> None:
        pass

    async def close(self) -> None:
        await self._pool.close()


class _Sentinels:
    """The master that Sentinels agree on. They are asked every second, too: one that lost its office still answers."""

    def __init__(self, access: Access, size: int, reconnected: Callable[[], None]) -> None:
        self._access = access
        self._size = size
        self._sentinel: Any = Sentinel(access.where.addresses, sentinel_kwargs=access.sentinel_options())  # type: ignore[no-untyped-call]
        self._search = Search(self._look)
        self._events = Events(reconnected, self._search.start)
        self._master: Address | None = None
        self._pool: Pool | None = None
        self._left: list[Pool] = []

    async def pool(self, _key: str | None) -> Pool:
        if self._pool is None:
            await self._search.found()
        if self._pool is None:
            raise StoreRefused("the Sentinels name no master", kind="connection")
        return self._pool

    def moved(self, _answer: Exception) -> Pool | None:
        return None

    def refused(self, kind: str) -> None:
        if kind in {"readonly", "masterdown"}:
            if self._pool is not None:
                self._pool.renew()
            self._search.start()

    def look_around(self) -> None:
        self._search.start()

    @property
    def pools(self) -> Sequence[Pool]:
        return self._left if self._pool is None else (self._pool, *self._left)

    async def close(self) -> None:
        await self._search.stop()
        for pool in self.pools:
            await pool.close()
        await self._sentinel.aclose()

    async def _look(self) -> None:
        host, port = await self._sentinel.discover_master(self._access.where.service)
        self._left = [pool for pool in self._left if pool.in_use]
        if (host, port) == self._master:
            return
        before, self._master = self._pool, (host, port)
        self._pool = Pool(
            partial(open_link, self._access, self._master, master=True),
            size=self._size,
            events=self._events,
            replaces=before is not None,
        )
        if before is not None:
            self._left.append(before)
            await before.close()


class _Cluster:
    """The masters of a cluster by their slots, as its nodes tell."""

    def __init__(self, access: Access, size: int, reconnected: Callable[[], None]) -> None:
        self._access = access
        self._size = size
        self._search = Search(self._look)
        self._events = Events(reconnected, self._search.start)
        self._slots: dict[int, Address] = {}
        self._nodes: list[Address] = list(access.where.addresses)
        self._pools: dict[Address, Pool] = {}
        self._left: list[Pool] = []
        self._settled = False

    async def pool(self, key: str | None) -> Pool:
        if not self._slots:
            await self._search.found()
        if key is None:
            address = next(iter(self._slots.values()), None)
        else:
            address = self._slots.get(key_slot(key.encode()))
            if address is None:
                await self._search.found()
                address = self._slots.get(key_slot(key.encode()))
        if address is None:
            raise StoreRefused("no node of the cluster has the key's slot", kind="clusterdown")
        return self._at(address)

    def moved(self, answer: Exception) -> Pool | None:
        if not isinstance(answer, redis_errors.AskError):  # a MovedError is one
            return None
        address = (str(answer.host), int(answer.port))
        if not address[0]:
            return None
        if isinstance(answer, redis_errors.MovedError):
            self._slots[int(answer.slot_id)] = address
            self._search.start()
        return self._at(address)

    def refused(self, kind: str) -> None:
        if kind in {"readonly", "masterdown", "clusterdown", "moved"}:
            self._search.start()

    def look_around(self) -> None:
        if not self._slots:
            self._search.start()

    @property
    def pools(self) -> Sequence[Pool]:
        return (*self._pools.values(), *self._left)

    async def close(self) -> None:
        await self._search.stop()
        for pool in self.pools:
            await pool.close()

    def _at(self, address: Address) -> Pool:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(
                partial(open_link, self._access, address),
                size=self._size,
                events=self._events,
                replaces=self._settled,
            )
        return pool

    async def _look(self) -> None:
        """Ask the nodes in turn, in any order, until one tells where slots are."""
        failure: Exception = StoreRefused("the cluster has no nodes", kind="connection")
        nodes = list(dict.fromkeys((*self._nodes, *self._access.where.addresses)))
        random.shuffle(nodes)
        for node in nodes:
            try:
                told = await _ask(self._access, node, "CLUSTER", "SLOTS")
            except (redis_errors.RedisError, OSError) as error:
                failure = error
                continue
            slots, known = _slots(told, node)
            if slots:
                await self._settle(slots, known)
                return
        raise failure

    async def _settle(self, slots: dict[int, Address], nodes: list[Address]) -> None:
        self._slots, self._nodes = slots, nodes
        masters = set(slots.values())
        for address in masters:
            self._at(address)
        self._settled = True
        gone = [address for address in self._pools if address not in masters]
        self._left = [pool for pool in self._left if pool.in_use]
        for address in gone:
            pool = self._pools.pop(address)
            self._left.append(pool)
            await pool.close()


def _slots(told: Any, asked: Address) -> tuple[dict[int, Address], list[Address]]:
    """The master of each slot, and every node, out of the answer to CLUSTER SLOTS. A node may not know its own host."""
    slots: dict[int, Address] = {}
    nodes: list[Address] = []
    for first, last, *holders in told:
        addresses = [
            (holder[0].decode() if holder[0] else asked[0], int(holder[1])) for holder in holders if holder
        ]
        nodes += addresses
        for slot in range(int(first), int(last) + 1):
            slots[slot] = addresses[0]
    return slots, list(dict.fromkeys(nodes))


async def open_link(access: Access, address: Address | None, *, master: bool = False) -> Link:
    """A connection that is logged in and ready, and knows its server's version.

    `master`: a replica is refused; a Sentinel may name one that was master a moment ago.
    """
    connection = access.connection(address)
    link = Link(connection, 0)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        link.version = await _version(link)
        if master and await _role(link) == b"slave":
            raise StoreRefused("the server that the Sentinels name is a replica", kind="readonly")
    except BaseException:
        await link.close()
        raise
    return link


async def _version(link: Link) -> int:
    try:
        told: bytes = await link.ask("INFO", "server")
    except redis_errors.NoPermissionError:
        return 0
    _, _, rest = told.partition(b"redis_version:")
    major = rest.partition(b".")[0]
    return int(major) if major.isdigit() else 0


async def _role(link: Link) -> bytes:
    try:
        told = await link.ask("ROLE")
    except redis_errors.NoPermissionError:
        return b""
    return bytes(told[0])


async def _ask(access: Access, address: Address, *command: str) -> Any:
    """One question on a connection of its own."""
    connection = access.connection(address)
    link = Link(connection, 0)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        return await link.ask(*command)
    finally:
        await link.close()
