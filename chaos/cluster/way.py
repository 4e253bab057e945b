"""The cluster way: gateways that run already, given the scenario's configuration where a Deployment of theirs is."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import yaml

from chaos import command
from chaos.cluster.acts import GATEWAYS, Acts
from chaos.cluster.settings import Place
from chaos.injections import Injection
from chaos.kubernetes import KubectlFailed, Kubernetes
from chaos.scenario import Scenario
from chaos.sight import Target

CONFIG = "gateway-config"
"""The ConfigMap of `gateway-with-sidecars.yaml`."""


class ClusterWay:
    """See `ways.Way`."""

    def __init__(self, kubernetes: Kubernetes, place: Place) -> None:
        self.kubernetes = kubernetes
        self._place = place
        self._acts = Acts(kubernetes, place)
        self._deployed = False

    @property
    def targets(self) -> Sequence[Target]:
        return self._place.targets

    @property
    def headers(self) -> Mapping[str, str]:
        return _bearer(self._place.token)

    @property
    def admin_headers(self) -> Mapping[str, str]:
        return _bearer(self._place.admin_token)

    async def cannot(self, scenario: Scenario) -> str:
        for injection in scenario.injections:
            if reason := await self._acts.cannot(injection):
                return reason
        if scenario.needs.tokens and not (self._place.token and self._place.admin_token):
            return "it needs GATEWAY_TOKEN and GATEWAY_ADMIN_TOKEN"
        return ""

    async def able(self, injection: Injection) -> bool:
        return not await self._acts.cannot(injection)

    async def open(self, scenario: Scenario, *, full: bool) -> None:
        await self.kubernetes.ensure_namespace(scenario.where)
        self._deployed = await self._has_deployment()
        if self._deployed:
            await self._configure(scenario, full=full)

    async def close(self) -> None:
        """Nothing of its own is left; requests stay for whoever wants to look."""

    async def begin(self, injection: Injection) -> None:
        await self._acts.begin(injection)

    async def end(self, injection: Injection) -> None:
        await self._acts.end(injection)

    async def redis(self, *command: str) -> str:
        try:
            return (await self._acts.redis(*command)).strip()
        except KubectlFailed:
            return ""

    async def gateway_logs(self) -> list[str] | None:
        if not self._deployed:
            return None
        where = ("-n", self._place.namespace, "-l", GATEWAYS, "-c", "gateway")
        return (await self.kubernetes.kubectl("logs", *where, "--tail=-1")).splitlines()

    def fallen(self) -> list[str]:
        """Pods that restart are the cluster's own business; what matters of them shows in the metrics."""
        return []

    async def token(self, name: str, *, ttl: int) -> str:
        where = ("-n", self._place.namespace, f"deployment/{self._place.deployment}", "-c", "gateway")
        issue = ("gateway", "token", "issue", name, "--ttl", f"{ttl}s")
        config = ("--config", "/etc/gateway/config/gateway.yaml")
        return (await self.kubernetes.kubectl("exec", *where, "--", *issue, *config)).strip()

    async def audit(self, log: Path) -> str:
        return await command.audit(log, self.kubernetes.kubeconfig)

    async def _has_deployment(self) -> bool:
        with contextlib.suppress(KubectlFailed):
            where = ("-n", self._place.namespace, "deployment", self._place.deployment)
            return bool(await self.kubernetes.kubectl("get", *where, "-o", "name"))
        return False

    async def _configure(self, scenario: Scenario, *, full: bool) -> None:
        """Gives the gateways the scenario's configuration, and waits until they run with it."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG, "namespace": self._place.namespace},
            "data": {"gateway.yaml": yaml.safe_dump(scenario.settings(full=full))},
        }
        await self.kubernetes.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(body))
        where = ("-n", self._place.namespace, f"deployment/{self._place.deployment}")
        await self.kubernetes.kubectl("rollout", "restart", *where)
        await self.kubernetes.kubectl("rollout", "status", *where, "--timeout=120s")


@contextlib.asynccontextmanager
async def cluster_way(place: Place) -> AsyncIterator[ClusterWay]:
    """The way to an installation that is there."""
    with tempfile.TemporaryDirectory() as folder:
        async with Kubernetes(Path(folder), place.kubeconfig) as kubernetes:
            yield ClusterWay(kubernetes, place)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
