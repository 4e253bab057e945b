"""The Redis exporter of a monitoring stack: the metrics of a Redis, as dashboards read them beside the gateway's."""

from __future__ import annotations

from pathlib import Path

from chaos.rig import tools
from chaos.rig.asking import answers
from chaos.rig.ports import free_port
from chaos.rig.processes import Process


class RedisExporter(Process):
    """One exporter; `url` is the base URL that Prometheus scrapes."""

    def __init__(self, folder: Path, *, redis_url: str, name: str = "redis-exporter") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command: list[str | Path] = [
            tools.find("redis-exporter"),
            f"-redis.addr={redis_url}",
            f"-web.listen-address=127.0.0.1:{self.port}",
        ]
        super().__init__(name, command, folder=folder)

    def start(self, *, seconds: float = 30.0) -> None:
        """Starts it and waits until it answers."""
        super().start()
        self.until(lambda: answers(f"{self.url}/metrics"), seconds=seconds)
