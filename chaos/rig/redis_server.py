"""A Redis of a test's own: one process, in memory, on a port that it keeps over restarts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chaos.rig import tools
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

Source = Literal["any", "path", "wheel", "seven"]

_BUS = 10_000
"""How far above a node's port its cluster bus listens; Redis 6.2 knows no other way."""


class RedisServer(Process):
    """`redis-server` without persistence. `url` is for the gateway, `client()` for the test's own questions.

    `options` are directives of redis.conf (`{"maxmemory": "4mb"}`). `source` chooses the program: `path`, `wheel`
    (6.2, as embedded mode uses it), `seven` (Debian's 7.0), or `any`: the one on PATH if there is one. `keep=True`
    persists to the folder, so that data survive a restart. `env` is laid over the test's environment, `port` a reserved
    one of the caller's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "redis",
        source: Source = "any",
        options: Mapping[str, str] | None = None,
        keep: bool = False,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        in_cluster = (options or {}).get("cluster-enabled") == "yes"
        self.port = port or free_port(beside=_BUS if in_cluster else 0)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if keep else "no",
            "appendfsync": "always",
            "loglevel": "notice",
            **(options or {}),
        }
        command: list[str | Path] = [tools.find("redis-server", source)]
        for key, value in settings.items():
            command += [f"--{key}", *(value.split() or [""])]
        super().__init__(name, command, folder=folder, env={**os.environ, **env} if env else None)

    def start(self, *, seconds: float = 30.0) -> None:
        """Starts it and waits until it answers."""
        super().start()
        self.until(self.answers, seconds=seconds)

    def restart(self) -> None:
        """SIGKILL and a fresh start on the same port: without `keep` all data are gone."""
        self.kill()
        self.start()

    def answers(self) -> bool:
        """Whether it answers a PING within half a second."""
        with self.client(timeout=0.5) as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    def client(self, *, timeout: float = 5.0) -> redis.Redis:
        """A blocking client for the test itself, to be closed by it (`with server.client() as r:`)."""
        return blocking_client(self.port, timeout=timeout)

    def clean(self) -> None:
        """As new: no data, no scripts, no limits or statistics of an earlier test."""
        with self.client() as client:
            client.flushall()
            client.script_flush()
            client.config_resetstat()
            client.config_set("maxmemory", 0)


def blocking_client(port: int, *, timeout: float = 5.0) -> redis.Redis:
    """A client of whatever speaks Redis on a port of loopback."""
    return redis.Redis(
        port=port,
        decode_responses=True,
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        # Its own way with errors is to try for seconds: no use to a test that asks whether anybody answers.
        retry=Retry(NoBackoff(), 0),
    )
