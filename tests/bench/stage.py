"""What the figures are measured on: real processes on loopback, ended with the stage."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console

from chaos.rig.cluster import FALLBACK_NAMESPACE, Cluster, Etcd
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.ports import free_port
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from tests.bench.load import HEADERS, TOKEN

ROOT = Path(__file__).parents[2]
PATIENT = {"redis": {"timeout": "2s"}}
"""On a busy machine a call takes more than 10 ms now and then, and what Redis does not take in time is written to
Kubernetes at once: settings for figures that are to be those of a Redis that answers."""


def watching(namespace: str) -> dict[str, Any]:
    """Settings of a gateway that takes no part in what happens in other namespaces."""
    return {"kubernetes": {"namespaces": [namespace, FALLBACK_NAMESPACE]}}


say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how much."""

    rounds: int = 5
    seconds: float = 4.0
    """Of a round."""
    sizes: Sequence[int] = (1, 10, 50, 500)
    """Alerts a webhook."""
    kinds: Sequence[str] = ("same", "changing")
    """Alerts as before, or changed ones."""
    short: bool = False
    """Every figure, but so little of each that only those that count something mean anything."""


@dataclass
class Stage:
    """Starts things, each with a folder of its own, and ends them all at its end."""

    folder: Path
    options: Options
    shared: ExitStack
    """What outlives the stage, for the other stages of a short run."""
    clusters: list[Cluster]
    """The one that a short run has for all stages, once it is there."""
    prefix: str
    """Of the names of folders."""
    _own: ExitStack = field(default_factory=ExitStack)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()

    def some(self, many: int, few: int) -> int:
        """`few` in a short run."""
        return few if self.options.short else many

    def redis(self) -> RedisServer:
        """An empty one, which answers."""
        redis = RedisServer(self._place("redis"), name="redis")
        self._own.callback(redis.kill)
        redis.start()
        return redis

    def cluster(self, *namespaces: str, etcd: Etcd = "recent") -> Cluster:
        """A real API server with the CRD and these namespaces: an empty one, but in a short run always the same.

        `etcd`: with a recent one, lists come from the API server's cache, as in clusters of today.
        """
        if self.clusters:
            cluster = self.clusters[0]
        else:
            cluster = Cluster(self._place("cluster"), name="cluster", etcd=etcd)
            (self.shared if self.options.short else self._own).callback(cluster.stop)
            cluster.start()
            cluster.api.install_crd()
            if self.options.short:
                self.clusters.append(cluster)
        for namespace in namespaces:
            cluster.api.create_namespace(namespace)
            if self.options.short:
                self._own.callback(cluster.api.remove_namespace, namespace)
        return cluster

    def embedded(self) -> tuple[Process, Path]:
        """The embedded Kubernetes API, and its kubeconfig."""
        place = self._place("api")
        kubeconfig = place / "kubeconfig"
        process = self.program("embedded", str(kubeconfig), folder=place)
        wait_until(kubeconfig.exists, "the embedded API", seconds=20)
        return process, kubeconfig

    def bare(self) -> tuple[Process, int]:
        """The bare handler, and its port."""
        port = free_port()
        return self.program("bare", str(port)), port

    def program(self, module: str, *arguments: str, folder: Path | None = None) -> Process:
        """A module of the bench as a process, started."""
        command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
        process = Process(module, command, folder=folder or self._place(module), env=environment(), cwd=ROOT)
        self._own.callback(process.kill)
        process.start()
        return process

    def gateway(
        self,
        redis: RedisServer,
        kubeconfig: Path,
        *settings: Mapping[str, Any],
        name: str = "gateway",
        auth: Mapping[str, Any] | None = None,
    ) -> GatewayProcess:
        """A gateway that asks for bearer tokens, unless `auth` says otherwise; not started yet."""
        place = self._place(name)
        place.mkdir(parents=True)
        tokens = place / "tokens"
        tokens.write_text(f"bench:{TOKEN}\n")
        gateway = GatewayProcess(
            place,
            name=name,
            redis_url=redis.url,
            kubeconfig=kubeconfig,
            settings={
                "auth": {"mode": "bearer", "tokens_file": str(tokens)} if auth is None else auth,
                **{key: value for group in settings for key, value in group.items()},
            },
        )
        self._own.callback(gateway.kill)
        return gateway

    def file(self, name: str, lines: Sequence[bytes]) -> Path:
        """A file with one document a line, for the programs of the bench."""
        place = self._place(name)
        place.write_bytes(b"\n".join(lines))
        return place

    def _place(self, name: str) -> Path:
        return self.folder / f"{self.prefix}-{name}-{next(self._numbers)}"


def environment() -> dict[str, str]:
    """Ours, without what would configure a gateway."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY__")}


def status(gateway: GatewayProcess) -> dict[str, Any]:
    """What it tells of its work; empty where it does not answer."""
    code, body = gateway.call("GET", "/v1/status", headers=HEADERS)
    found: dict[str, Any] = json.loads(body) if code == 200 else {}
    return found


def idle(gateway: GatewayProcess) -> bool:
    """Nothing is unconfirmed or queued."""
    found = status(gateway)
    return bool(found) and not found["unconfirmed"] and not found["queue"]["depth"]


def settle(
    gateway: GatewayProcess, what: str = "everything to be confirmed", *, seconds: float = 120
) -> None:
    """Wait until it has nothing left to do."""
    wait_until(lambda: idle(gateway), what, seconds=seconds, every=0.1)


def writes(gateway: GatewayProcess) -> float:
    """How many writes it has sent, conflicts included."""
    return calls(gateway, "create", "patch", "delete")


def reads(gateway: GatewayProcess) -> float:
    """How often it has read from the API; a watch counts once."""
    return calls(gateway, "get", "list", "watch")


def calls(gateway: GatewayProcess, *verbs: str) -> float:
    """How many calls of these verbs it has made to the Kubernetes API."""
    return sum(gateway.metric("gateway_k8s_api_requests_total", verb=verb) for verb in verbs)


def resident(process: Process) -> int:
    """Bytes of a running process that are in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
