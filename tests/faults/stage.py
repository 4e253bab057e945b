"""The components of one schedule, and how each fault is done to them and undone again.

Each gateway has its own way to Redis and to the API, so a fault may meet one of them alone. Faults of Redis itself are
done on its own port, which no fault of a link reaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import redis

from chaos.faults.process import FaultProxyProcess
from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.garbage import WAYS
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.toxiproxy import Toxiproxy
from tests.faults.schedules import LASTING_IN_ITSELF, REPLICAS, Kind, Schedule, Step, Target
from tests.integration.filling import Filler
from tests.integration.ordeals import SETTINGS
from tests.integration.test_redis_garbage import KINDS

P = TypeVar("P", bound=Process)

OURS = "remediationrequests"
SHUTDOWN = 4.0
"""Seconds that a gateway has to stop; then it is killed, as Kubernetes does."""

RULES: dict[Kind, Callable[[float], Rule]] = {
    Kind.THROTTLED: lambda share: Rule(Fault.THROTTLED, share=share, resource=OURS, write=True),
    Kind.ERROR: lambda share: Rule(Fault.ERROR, share=share, resource=OURS),
    Kind.UNAVAILABLE: lambda share: Rule(Fault.UNAVAILABLE, share=share, resource=OURS),
    Kind.CONFLICT: lambda share: Rule(Fault.CONFLICT, share=share, resource=OURS, verbs=("patch", "update")),
    Kind.API_RESET: lambda share: Rule(Fault.RESET, share=share, resource=OURS),
    Kind.SWALLOWED: lambda share: Rule(Fault.SWALLOWED, share=share, resource=OURS, write=True),
    Kind.ANSWER_LOST: lambda share: Rule(Fault.ANSWER_LOST, share=share, resource=OURS, write=True),
    Kind.HANG: lambda share: Rule(Fault.HANG, share=share, resource=OURS, write=True),
    Kind.LATE: lambda share: Rule(
        Fault.LATE, share=share, resource=OURS, write=True, seconds=1.5, jitter=1.4
    ),
    Kind.FROZEN: lambda _: Rule(Fault.FREEZE),
}


class Stage:
    """One Redis, two gateways, and what stands between them: `start` blocks for some seconds, `end` ends all of it."""

    def __init__(self, schedule: Schedule, cluster: Api, folder: Path) -> None:
        self._schedule = schedule
        self._cluster = cluster
        self._folder = folder
        self._started: list[Process] = []
        self._rules: list[dict[Target, Rule]] = [{} for _ in range(REPLICAS)]
        self._arming = threading.Lock()
        self._busy: dict[object, asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self) -> None:
        """Starts all of it. What was started when something fails is still `end`'s to end."""
        # Persistent, so that a restart with its data is possible; one without takes the files away.
        self.redis = self._start(RedisServer(self._folder / "redis", keep=True))
        toxiproxy = self._start(Toxiproxy(self._folder / "toxiproxy"))
        self.links = [toxiproxy.proxy(self.redis.port) for _ in range(REPLICAS)]
        self.proxies = [
            self._start(
                FaultProxyProcess(
                    self._folder_of(f"fault-proxy{number}"),
                    kubeconfig=self._cluster.kubeconfig,
                    name=f"fault-proxy{number}",
                    seed=self._schedule.seed,
                )
            )
            for number in range(1, REPLICAS + 1)
        ]
        self.gateways = [self._start(self._gateway(number)) for number in range(REPLICAS)]

    def end(self) -> None:
        """Kills what runs; logs, journals and data stay."""
        for process in reversed(self._started):
            process.kill()

    async def perform(self, step: Step) -> None:
        """One fault, from its beginning to its end; returns when everything is as before."""
        # A stop or a start may take longer than it was drawn for.
        async with self._busy[step.target]:
            await asyncio.to_thread(self._begin, step)
            if step.kind not in LASTING_IN_ITSELF:
                await asyncio.sleep(step.lasts)
            await asyncio.to_thread(self._finish, step)

    def _begin(self, step: Step) -> None:
        match step.target:
            case Target.REDIS, _:
                self._begin_redis(step)
            case Target.LINK, int(number):
                self._begin_link(step, number)
            case Target.WATCH, int(number) if step.kind is Kind.CUT:
                self.proxies[number].cut_watches()
            case (Target.API | Target.WATCH) as target, int(number):
                self._arm(number, target, RULES[step.kind](step.share), step.seed)
            case Target.GATEWAY, int(number):
                self._begin_gateway(step, self.gateways[number])
            case _:
                raise AssertionError(step)

    def _finish(self, step: Step) -> None:
        match step.target:
            case Target.REDIS, _:
                self._finish_redis(step)
            case Target.LINK, int(number):
                if step.kind is Kind.GONE:
                    self.links[number].enable()
                self.links[number].clear()
            case (Target.API | Target.WATCH) as target, int(number):
                self._arm(number, target, None, step.seed)
            case Target.GATEWAY, int(number):
                if step.kind is Kind.GATEWAY_PAUSED:
                    self.gateways[number].resume()
                else:
                    self.gateways[number].start(wait="no")
            case _:
                raise AssertionError(step)

    def _begin_redis(self, step: Step) -> None:
        if step.kind in (Kind.REDIS_KILLED, Kind.REDIS_EMPTIED):
            self.redis.kill()
            return
        if step.kind is Kind.REDIS_PAUSED:
            self.redis.pause()
            return
        with redis.Redis(port=self.redis.port) as client:
            if step.kind is Kind.FLUSHED:
                client.flushall()
            elif step.kind is Kind.SCRIPTS_FORGOTTEN:
                client.script_flush()
            elif step.kind is Kind.CLIENTS_KILLED:
                client.client_kill_filter(_type="normal", skipme=True)
            elif step.kind is Kind.GARBAGE:
                _spoil(client, step)
            else:
                _fill(client, step)

    def _finish_redis(self, step: Step) -> None:
        if step.kind is Kind.REDIS_PAUSED:
            self.redis.resume()
        elif step.kind in (Kind.REDIS_KILLED, Kind.REDIS_EMPTIED):
            if step.kind is Kind.REDIS_EMPTIED:
                for path in self.redis.folder.glob("appendonly*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.redis.start(seconds=20)

    def _begin_link(self, step: Step, number: int) -> None:
        link = self.links[number]
        if step.kind is Kind.GONE:
            link.disable()
        elif step.kind is Kind.SLOW:
            latency = random.Random(step.seed).choice((20, 60, 200, 600))
            link.add("latency", latency=latency, jitter=latency // 3, toxicity=step.share)
        elif step.kind is Kind.LIMITED:
            link.add("limit_data", bytes=random.Random(step.seed).choice((500, 2000, 8000)))
        elif step.kind is Kind.RESET:
            link.add("reset_peer", timeout=0, toxicity=step.share)
            link.disable()  # the connections that are open know nothing of a new toxic of this kind
            link.enable()
        else:
            for stream in ("upstream", "downstream"):
                link.add("timeout", stream=stream, timeout=0)

    def _begin_gateway(self, step: Step, gateway: GatewayProcess) -> None:
        if step.kind is Kind.GATEWAY_PAUSED:
            gateway.pause()
        elif step.kind is Kind.GATEWAY_KILLED:
            gateway.kill()
        else:
            gateway.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                gateway.wait(seconds=SHUTDOWN + 2)

    def _arm(self, number: int, target: Target, rule: Rule | None, seed: int) -> None:
        """Lays a rule beside that of the other target of this proxy, or takes it away."""
        with self._arming:
            self._rules[number].pop(target, None)
            if rule is not None:
                self._rules[number][target] = rule
            self.proxies[number].set_rules(self._rules[number].values(), seed=seed)

    def _gateway(self, number: int) -> GatewayProcess:
        name = f"gateway{number + 1}"
        settings: dict[str, Any] = {**SETTINGS, "server": {"shutdown_timeout": f"{SHUTDOWN:g}s"}}
        if self._schedule.journal:
            settings["journal"] = {"path": str(self._folder_of(name) / "journal")}
        return GatewayProcess(
            self._folder_of(name),
            name=name,
            redis_url=f"redis://{self.links[number].address}/0",
            kubeconfig=self.proxies[number].kubeconfig,
            settings=settings,
        )

    def _folder_of(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _start(self, process: P) -> P:
        self._started.append(process)
        process.start()
        return process


def _fill(client: redis.Redis, step: Step) -> None:
    """Others take all of its memory; in the end there is more."""
    filler = Filler(client, "noeviction" if step.kind is Kind.FILLED else "allkeys-lru")
    until = time.monotonic() + step.lasts
    while time.monotonic() < until:
        filler.fill()
        time.sleep(0.2)
    filler.stop()


def _spoil(client: redis.Redis, step: Step) -> None:
    """Garbage over some keys, again and again."""
    rng = random.Random(step.seed)
    until = time.monotonic() + step.lasts
    while time.monotonic() < until:
        kind = rng.choice(KINDS)
        keys: Any = client.keys(kind) or ([] if "*" in kind else [kind.encode()])
        way = rng.choice(WAYS)
        for key in rng.sample(sorted(keys), min(5, len(keys))):
            way(client, key)
        time.sleep(rng.uniform(0.02, 0.2))
