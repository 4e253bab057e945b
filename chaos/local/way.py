"""The local way, from its control plane to the undoing of each injection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import redis as redis_library

from chaos import command
from chaos.injections import Injection
from chaos.kubernetes import Kubernetes
from chaos.local.acts import ACTS, Undo
from chaos.local.stage import ADMIN_TOKEN, GATEWAY, TOKEN, Stage
from chaos.rig.cluster import Cluster
from chaos.rig.fake_clock import sweep
from chaos.rig.tools import ToolMissing, find
from chaos.scenario import Scenario
from chaos.sight import Target


class LocalWay:
    """See `ways.Way`. `folder` takes the logs of everything, `program` runs as a gateway."""

    def __init__(
        self, cluster: Cluster, kubernetes: Kubernetes, folder: Path, program: Sequence[str] = GATEWAY
    ) -> None:
        self.kubernetes = kubernetes
        self._cluster = cluster
        self._folder = folder
        self._program = program
        self._stage: Stage | None = None
        self._undo: dict[Injection, Undo] = {}

    @property
    def stage(self) -> Stage:
        """Of the scenario that is open."""
        assert self._stage is not None
        return self._stage

    @property
    def targets(self) -> Sequence[Target]:
        return self.stage.targets

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"} if self.stage.scenario.needs.tokens else {}

    @property
    def admin_headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {ADMIN_TOKEN}"} if self.stage.scenario.needs.tokens else {}

    async def token(self, name: str, *, ttl: int) -> str:
        config = self.stage.gateways[0].config_path
        done = await command.run("token", "issue", name, "--ttl", f"{ttl}s", "--config", str(config))
        return done.stdout.strip()

    async def cannot(self, scenario: Scenario) -> str:
        wanted = {"redis-server": "wheel" if scenario.needs.redis == "faked clock" else "any"}
        if scenario.needs.redis_proxy:
            wanted["toxiproxy"] = "any"
        if scenario.needs.faked_clock or scenario.needs.redis == "faked clock":
            wanted["libfaketime"] = "any"
        try:
            for name, source in wanted.items():
                find(name, source)
        except ToolMissing as error:
            return str(error)
        return ""

    async def able(self, injection: Injection) -> bool:
        return injection in ACTS

    async def open(self, scenario: Scenario, *, full: bool) -> None:
        await self.kubernetes.ensure_namespace(scenario.where)
        folder = self._folder / scenario.name
        folder.mkdir(parents=True, exist_ok=True)
        self._stage = Stage(scenario, self._cluster, folder, full=full, program=self._program)
        await asyncio.to_thread(self._stage.start)

    async def close(self) -> None:
        if self._stage is not None:
            await asyncio.to_thread(self._stage.stop)
            await self.kubernetes.clear(self._stage.scenario.where)
            self._stage = None

    async def begin(self, injection: Injection) -> None:
        self._undo[injection] = await asyncio.to_thread(ACTS[injection], self.stage)

    async def end(self, injection: Injection) -> None:
        if injection in self._undo:
            await asyncio.to_thread(self._undo.pop(injection))

    async def redis(self, *command: str) -> str:
        return await asyncio.to_thread(self._ask_redis, *command)

    def _ask_redis(self, *command: str) -> str:
        with contextlib.suppress(redis_library.RedisError, RuntimeError):
            with self.stage.master().client() as client:
                # As it was sent: what a client makes of an INFO is not what redis-cli prints.
                client.response_callbacks.clear()
                answer = client.execute_command(*command)
            return "\n".join(map(str, answer)) if isinstance(answer, list) else str(answer)
        return ""

    async def gateway_logs(self) -> list[str] | None:
        return list(await asyncio.to_thread(self.stage.logs))

    def fallen(self) -> list[str]:
        return self.stage.fallen()

    async def audit(self, log: Path) -> str:
        return await command.audit(log, self._cluster.kubeconfig)


@contextlib.asynccontextmanager
async def local_way(folder: Path, *, program: Sequence[str] = GATEWAY) -> AsyncIterator[LocalWay]:
    """The way over a control plane of its own, for a campaign. `program` is the gateway."""
    cluster = Cluster(folder / "cluster")
    try:
        await asyncio.to_thread(cluster.start)
        await asyncio.to_thread(cluster.api.install_crd)
        async with Kubernetes(folder, cluster.kubeconfig) as kubernetes:
            yield LocalWay(cluster, kubernetes, folder, program)
    finally:
        await asyncio.to_thread(cluster.stop)
        sweep()
