"""What a campaign is played against: gateways, and whatever of their world can be looked into.

Components of its own (`own_ground`): Redis, a control plane and gateways as processes, fresh for each campaign but for
the control plane. Or gateways that run somewhere (`given_ground`): then what cannot be seen from outside is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import command
from chaos.cluster.settings import Place
from chaos.kubernetes import Kubernetes
from chaos.load.mix import STORM
from chaos.load.shapes import FILLING, Shape
from chaos.rig.cluster import Cluster
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.sight import Target

GATEWAY = (sys.executable, "-m", "gateway")
DENIED = "kube-system"
"""The namespace that the policy denies."""
TOKEN_LIFE = 6 * 3600
"""Seconds: longer than any campaign."""
SHORTEST_MEMORY = 60.0
"""Seconds: the least that `dedup.forget_after` takes."""
SHORTENED = 0.1
"""A campaign that is shortened to less than this would wait for its storms longer than it lasts."""
STARTING = 60.0
"""Seconds for a gateway to be ready: campaigns in tests share a few cores with many others."""
SHARED = "the sender (Locust), Redis, etcd and kube-apiserver"


@dataclass(kw_only=True)
class Ground:
    """See the module."""

    targets: Sequence[Target]
    tokens: Sequence[str] = field(default=(), repr=False)
    """Credentials of senders, each of which is good."""
    admin_token: str = field(default="", repr=False)
    kubernetes: Kubernetes | None = None
    """None where nothing is known of the cluster: then nobody plays its controllers, and there is no audit."""
    namespace: str
    denied: str = DENIED
    own: bool = False
    cluster: Cluster | None = None
    redis: RedisServer | None = None
    gateways: Sequence[GatewayProcess] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the gateways were configured with, as far as that was ours to say."""
    shared: str = ""
    """What runs on the same cores."""

    def fallen(self) -> list[str]:
        """Processes of ours that have ended, though nobody ended them."""
        processes = [*self.gateways, *([self.redis] if self.redis else [])]
        if self.cluster is not None:
            processes += [self.cluster.etcd, self.cluster.server]
        return [one.name for one in processes if not one.alive]


def settings(shape: Shape) -> dict[str, Any]:
    """The configuration of gateways of our own for a campaign: as in production, but storms end within seconds, and
    what is over is forgotten within the phase in which a soak fills up, or no steady state would show.
    """
    calm = "5s" if shape.factor >= SHORTENED else "2s"
    found: dict[str, Any] = {
        "auth": {"mode": ["bearer", "jwt"], "jwt": {"algorithms": ["HS256"]}},
        "policy": {
            "rules": [
                {"matchers": [f'namespace="{DENIED}"'], "action": "deny", "reason": "system_namespace"}
            ],
        },
        "storm": {
            "hold": calm,
            "inactivity": calm,
            "max_window": "30s",
            "rules": [{"matchers": [f'alertname!~"{STORM}.*"'], "mode": "immediate"}],
        },
        # Ten milliseconds are for a Redis that has a core to itself, and here everything shares a few.
        "redis": {"timeout": "50ms"},
    }
    if shape.spells:
        found["chaos"] = {"enabled": True, "admins": ["admin"]}
    for phase in shape.phases:
        if phase.name == FILLING:
            forget_after = max(SHORTEST_MEMORY, round(phase.seconds * 2 / 3))
            found["dedup"] = {"forget_after": f"{forget_after:.0f}s"}
    return found


@contextlib.asynccontextmanager
async def own_ground(
    cluster: Cluster,
    folder: Path,
    *,
    namespace: str,
    settings: Mapping[str, Any],
    replicas: int = 1,
    program: Sequence[str] = GATEWAY,
) -> AsyncIterator[Ground]:
    """Fresh Redis and gateways on a control plane that runs; `folder` takes their logs. All end with the context, and
    the requests of the namespace are deleted."""
    redis = RedisServer(folder)
    sender, admin, files = _credentials(folder, settings["auth"])
    gateways: list[GatewayProcess] = []
    try:
        await asyncio.to_thread(redis.start)
        async with Kubernetes(folder, cluster.kubeconfig) as kubernetes:
            await kubernetes.ensure_namespace(namespace)
            for number in range(replicas):
                gateway = GatewayProcess(
                    folder,
                    name=f"gateway{number}",
                    redis_url=redis.url,
                    kubeconfig=cluster.kubeconfig,
                    settings={**settings, "auth": files},
                    program=program,
                )
                gateways.append(gateway)
                await asyncio.to_thread(gateway.start, seconds=STARTING)
            yield Ground(
                targets=[Target(one.name, one.url, one.metrics_url) for one in gateways],
                tokens=(sender, await _signed(gateways[0].config_path)),
                admin_token=admin,
                kubernetes=kubernetes,
                namespace=namespace,
                own=True,
                cluster=cluster,
                redis=redis,
                gateways=gateways,
                settings=settings,
                shared=SHARED,
            )
            await kubernetes.clear(namespace)
    finally:
        for gateway in gateways:
            if gateway.alive:
                with contextlib.suppress(TimeoutError):
                    await asyncio.to_thread(gateway.terminate, seconds=30)
            gateway.kill()
        redis.kill()


@contextlib.asynccontextmanager
async def given_ground(place: Place, folder: Path, *, namespace: str, denied: str) -> AsyncIterator[Ground]:
    """Gateways that run. Their cluster is the kubeconfig's, if one is named."""
    async with contextlib.AsyncExitStack() as stack:
        kubernetes = None
        if place.kubeconfig is not None:
            kubernetes = await stack.enter_async_context(Kubernetes(folder, place.kubeconfig))
        yield Ground(
            targets=place.targets,
            tokens=(place.token,) if place.token else (),
            admin_token=place.admin_token,
            kubernetes=kubernetes,
            namespace=namespace,
            denied=denied,
        )


@contextlib.asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[Cluster]:
    """A control plane of our own, for all campaigns of a run; with an etcd of today, as clusters of today have it."""
    cluster = Cluster(folder, etcd="recent")
    try:
        await asyncio.to_thread(cluster.start)
        await asyncio.to_thread(cluster.api.install_crd)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


def _credentials(folder: Path, auth: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """New tokens for a sender and for an admin, and the section of the configuration that knows them by files."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens, key = folder / "tokens", folder / "token.key"
    sender, admin = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    tokens.write_text(f"load:{sender}\nadmin:{admin}\n", encoding="utf-8")
    key.write_text(secrets.token_hex(32), encoding="utf-8")
    return sender, admin, {**auth, "tokens_file": str(tokens), "jwt": {**auth["jwt"], "key_file": str(key)}}


async def _signed(config: Path) -> str:
    """A signed token of a sender. Raises `RuntimeError` where the gateway's command line issues none."""
    done = await command.run("token", "issue", "load", "--ttl", f"{TOKEN_LIFE}s", "--config", str(config))
    if done.returncode != 0:
        raise RuntimeError(f"gateway token issue: {done.stderr.strip()}")
    return done.stdout.strip()
