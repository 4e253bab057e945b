"""A Redis with replicas, and Sentinels that promote one when the master is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import redis

from chaos.rig import tools
from chaos.rig.ports import free_port
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer, Source, blocking_client
from chaos.rig.waiting import wait_until

_REPLICATION = {
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}
"""A replica is in step at once, not after the five seconds that others may still come in."""


class SentinelProcess(Process):
    """One Sentinel, which writes what it learns to its own configuration. `address` is its host and port."""

    def __init__(self, folder: Path, *, name: str, source: Source, directives: list[str]) -> None:
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self._config = folder / f"{name}.conf"
        self._directives = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", *directives]
        program = tools.find("redis-server", source)
        super().__init__(name, [program, self._config, "--sentinel"], folder=folder)

    def start(self, *, seconds: float = 30.0) -> None:
        """Starts it, after a kill with what it knew, and waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._config.exists():
            self._config.write_text("\n".join(self._directives) + "\n")
        super().start()
        self.until(self.answers, seconds=seconds)

    def answers(self) -> bool:
        """Whether it answers a PING within half a second."""
        with self.client(timeout=0.5) as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    def client(self, *, timeout: float = 5.0) -> redis.Redis:
        """A blocking client for the test itself, to be closed by it."""
        return blocking_client(self.port, timeout=timeout)


class SentinelGroup:
    """A master, its replicas and their Sentinels. `url` is the gateway's; it stays right over failovers.

    `servers` and `sentinels` are the processes, to kill, pause and start again; a master that comes back becomes a
    replica. `down_after_ms` and `failover_timeout_ms` are Sentinel's: with 1000 and 2000 another master is there
    some two to three seconds after the loss, and a machine that is busy for half a second causes no failover.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        down_after_ms: int = 1000,
        failover_timeout_ms: int = 2000,
        master_name: str = "mymaster",
        source: Source = "any",
        options: Mapping[str, str] | None = None,
        name: str = "sentinel",
    ) -> None:
        self.master_name = master_name
        first = free_port()
        self.servers = [
            RedisServer(
                folder / f"redis{number}",
                name=f"{name}-redis{number}",
                source=source,
                port=None if number else first,
                options={
                    **_REPLICATION,
                    **({"replicaof": f"127.0.0.1 {first}"} if number else {}),
                    **(options or {}),
                },
            )
            for number in range(1 + replicas)
        ]
        directives = [
            f"sentinel monitor {master_name} 127.0.0.1 {first} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {master_name} {down_after_ms}",
            f"sentinel failover-timeout {master_name} {failover_timeout_ms}",
        ]
        self.sentinels = [
            SentinelProcess(
                folder / f"sentinel{number}",
                name=f"{name}-sentinel{number}",
                source=source,
                directives=directives,
            )
            for number in range(sentinels)
        ]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Of the Sentinels."""
        return [sentinel.address for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"redis+sentinel://{hosts}/{self.master_name}"

    def start(self, *, seconds: float = 60.0) -> None:
        """Starts everything and waits until replicas are in step and every Sentinel knows of all of them."""
        for server in self.servers:
            server.start()
        wait_until(lambda: self.replicas_in_step() == len(self.servers) - 1, "the replicas", seconds=seconds)
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(self._all_know_all, "the Sentinels to know each other", seconds=seconds)

    def current_master(self) -> tuple[str, int]:
        """The master's address as the first Sentinel that answers tells it; raises `RuntimeError` if none does."""
        # One that is paused is passed by soon, unless all of them are slow.
        for timeout in (0.5, 5.0):
            for sentinel in self.sentinels:
                with sentinel.client(timeout=timeout) as client, contextlib.suppress(redis.RedisError):
                    told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)
                    return str(told[0]), int(told[1])
        raise RuntimeError("no Sentinel answers")

    def master(self) -> RedisServer:
        """The server that the Sentinels call master; after a loss it is the lost one until they have agreed."""
        _, port = self.current_master()
        return next(server for server in self.servers if server.port == port)

    def kill_master(self) -> RedisServer:
        """SIGKILL to the master, which is returned; another is promoted later (`wait_for_failover`)."""
        master = self.master()
        master.kill()
        return master

    def wait_for_failover(self, lost: RedisServer, *, seconds: float = 60.0) -> RedisServer:
        """Waits until another server than `lost` is master for every living Sentinel and for itself; returns it."""

        def promoted() -> RedisServer | None:
            told = {self._told_by(sentinel) for sentinel in self.sentinels if sentinel.alive}
            if len(told) != 1 or lost.port in told:
                return None
            (port,) = told
            server = next((one for one in self.servers if one.port == port), None)
            return server if server is not None and _role(server) == "master" else None

        found = wait_until(promoted, f"another master than {lost.name}", seconds=seconds)
        assert found is not None
        return found

    def replicas_in_step(self) -> int:
        """How many replicas follow the first server that is a living master, and have all that it had before."""
        told = {server.port: _replication(server) for server in self.servers}
        master = next((port for port, one in told.items() if one.get("role") == "master"), 0)
        if not master:
            return 0
        # The master calls one online that still reads what it was sent; that one alone knows when it has done so.
        following = sum(
            one.get("role") == "slave" and one["master_port"] == master and one["master_link_status"] == "up"
            for one in told.values()
        )
        online = sum(
            told[master][f"slave{n}"]["state"] == "online" for n in range(told[master]["connected_slaves"])
        )
        return int(min(following, online))

    def kill(self) -> None:
        """Ends all of it, Sentinels first."""
        for process in [*self.sentinels, *self.servers]:
            process.kill()

    def _told_by(self, sentinel: SentinelProcess) -> int:
        with sentinel.client(timeout=0.5) as client, contextlib.suppress(redis.RedisError):
            told = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name)
            return int(told[1])
        return 0

    def _all_know_all(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                told = _pairs(client.execute_command("SENTINEL", "MASTER", self.master_name))
                replicas = client.execute_command("SENTINEL", "REPLICAS", self.master_name)
            others, slaves = int(told["num-other-sentinels"]), int(told["num-slaves"])
            if (others, slaves) != (len(self.sentinels) - 1, len(self.servers) - 1):
                return False
            # One that it has not heard yet is none that it would promote.
            if any(
                one["master-link-status"] != "ok" or one["flags"] != "slave" for one in map(_pairs, replicas)
            ):
                return False
        return True


def _pairs(told: Any) -> dict[str, str]:
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))


def _role(server: RedisServer) -> str:
    return str(_replication(server).get("role", ""))


def _replication(server: RedisServer) -> dict[str, Any]:
    """What a server says of it; empty where it says nothing."""
    with server.client(timeout=0.5) as client, contextlib.suppress(redis.RedisError):
        return cast("dict[str, Any]", client.info("replication"))
    return {}
