"""Looks at everything once a second, and writes a line of `samples.jsonl` each time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chaos.alerts import Json
from chaos.exposition import Page, Reader, Series, value
from chaos.load import machine
from chaos.load.ground import Ground
from chaos.load.redis_info import RedisInfo
from chaos.sight import Target

KEPT = ("gateway_", "process_", "python_gc_")


class Sampler:
    """Samples until it is cancelled. `latest` is the newest sample, None before the first."""

    def __init__(self, ground: Ground, path: Path, *, every: float = 1.0) -> None:
        self.latest: Json | None = None
        self.sender_pids: Sequence[int] = ()
        """The processes that send, once they are there."""
        self._ground = ground
        self._path = path
        self._every = every
        self._readers = [Reader() for _ in ground.targets]
        self._redis = RedisInfo(ground.redis.port) if ground.redis is not None else None

    async def run(self) -> None:
        """Until it is cancelled."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with self._path.open("w", encoding="utf-8") as file:
                due = time.monotonic()
                while True:
                    self.latest = await self._sample(session)
                    file.write(json.dumps(self.latest) + "\n")
                    file.flush()
                    due = max(due + self._every, time.monotonic())
                    await asyncio.sleep(due - time.monotonic())

    async def _sample(self, session: aiohttp.ClientSession) -> Json:
        at = time.time()
        texts = await asyncio.gather(*(page(session, target) for target in self._ground.targets))
        return {
            "at": round(at, 3),
            "gateways": [self._gateway(place, text) for place, text in enumerate(texts)],
            "redis": await self._redis.ask() if self._redis is not None else None,
            "kubernetes": self._kubernetes(),
            "sender": self._sender(),
        }

    def _gateway(self, place: int, text: str | None) -> Json:
        read: Page = {} if text is None else self._readers[place].read(text)
        process = self._ground.gateways[place] if self._ground.gateways else None
        figures = machine.used(process.pid) if process is not None and process.alive else None
        if figures is None:
            figures = {
                "cpu_seconds": _of(read, "process_cpu_seconds_total"),
                "rss_bytes": _of(read, "process_resident_memory_bytes"),
                "fds": _of(read, "process_open_fds"),
                "threads": None,
            }
        return {
            **figures,
            "tasks": _of(read, "gateway_tasks"),
            "connections": _of(read, "gateway_open_connections"),
            "metrics": {_named(series): found for series, found in read.items() if _is_kept(series.name)},
        }

    def _kubernetes(self) -> Json | None:
        cluster = self._ground.cluster
        if cluster is None:
            return None
        server, etcd = machine.used(cluster.server.pid), machine.used(cluster.etcd.pid)
        if server is None or etcd is None:
            return None
        return {
            "cpu_seconds": server["cpu_seconds"],
            "rss_bytes": server["rss_bytes"],
            "etcd_cpu_seconds": etcd["cpu_seconds"],
            "etcd_rss_bytes": etcd["rss_bytes"],
        }

    def _sender(self) -> Json | None:
        figures = [found for pid in self.sender_pids if (found := machine.used(pid)) is not None]
        return {"cpu_seconds": sum(one["cpu_seconds"] for one in figures)} if figures else None


async def page(session: aiohttp.ClientSession, target: Target) -> str | None:
    """A gateway's metrics, None where they cannot be had now."""
    try:
        async with session.get(f"{target.metrics_url}/metrics") as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def _of(read: Page, name: str) -> float | None:
    return value(read, name) if any(series.name == name for series in read) else None


def _is_kept(name: str) -> bool:
    return name.startswith(KEPT) and not name.endswith("_bucket")


def _named(series: Series) -> str:
    """A series as the exposition writes it."""
    labels = ",".join(f'{key}="{found}"' for key, found in series.labels)
    return f"{series.name}{{{labels}}}" if labels else series.name


def quiet(sample: Json, names: Sequence[str]) -> bool:
    """Whether every gateway says 0 of each of these metrics without labels: one that says nothing may be busy."""
    return all(one["metrics"].get(name) == 0 for one in sample["gateways"] for name in names)


def metric(sample: Json | None, name: str) -> float:
    """The sum over all gateways of a metric without labels, 0 where it was not seen."""
    gateways: list[dict[str, Any]] = sample["gateways"] if sample else []
    return sum(float(one["metrics"].get(name, 0.0)) for one in gateways)
