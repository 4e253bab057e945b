"""What Redis says of itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import redis

from chaos.alerts import Json
from chaos.rig.redis_server import blocking_client


class RedisInfo:
    """One connection to a Redis on loopback, asked now and then."""

    def __init__(self, port: int) -> None:
        self._client = blocking_client(port, timeout=10.0)

    async def ask(self) -> Json | None:
        """The figures of now; None where it does not answer."""
        with suppress(redis.RedisError):
            return await asyncio.to_thread(self._ask)
        return None

    def version(self) -> str:
        """Of the server. Raises `redis.RedisError`."""
        return str(self._client.info("server")["redis_version"])

    def close(self) -> None:
        self._client.close()

    def _ask(self) -> Json:
        info = self._client.info()
        return {
            "used_memory": info["used_memory"],
            "keys": sum(one["keys"] for name, one in info.items() if name.startswith("db")),
            "clients": info["connected_clients"],
            "commands": info["total_commands_processed"],
            "cpu_seconds": round(info["used_cpu_sys"] + info["used_cpu_user"], 3),
        }
