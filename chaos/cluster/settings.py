"""Where everything is in a cluster, from the environment: what the scripts read, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from chaos.sight import Target

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Place:
    """One installation. Tuples have a value for each gateway."""

    urls: tuple[str, ...] = (DEFAULT_URL,)
    """`GATEWAY_URL`, several with commas: one for each replica, or that of a Service."""
    metrics_urls: tuple[str, ...] = ("http://127.0.0.1:9090",)
    """`GATEWAY_METRICS_URL`; by default port 9090 of the same hosts."""
    token: str = field(default="", repr=False)
    """`GATEWAY_TOKEN`: what a sender shows."""
    admin_token: str = field(default="", repr=False)
    """`GATEWAY_ADMIN_TOKEN`: for the admin route."""
    kubeconfig: Path | None = None
    """`KUBECONFIG`."""
    namespace: str = "alert-gateway"
    """`CHAOS_NAMESPACE`: of the gateway and of Redis."""
    deployment: str = "gateway"
    """`CHAOS_DEPLOYMENT`."""

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Place:
        """From the environment; what is missing there is as by default. Raises `ValueError` for what does not fit."""
        env = os.environ if environment is None else environment
        urls = _list(env.get("GATEWAY_URL", "")) or (DEFAULT_URL,)
        metrics = _list(env.get("GATEWAY_METRICS_URL", "")) or tuple(map(_beside, urls))
        if len(urls) != len(metrics):
            raise ValueError(f"GATEWAY_URL names {len(urls)} gateways, GATEWAY_METRICS_URL {len(metrics)}")
        return cls(
            urls=urls,
            metrics_urls=metrics,
            token=env.get("GATEWAY_TOKEN", ""),
            admin_token=env.get("GATEWAY_ADMIN_TOKEN", ""),
            kubeconfig=Path(env["KUBECONFIG"]) if env.get("KUBECONFIG") else None,
            namespace=env.get("CHAOS_NAMESPACE", "alert-gateway"),
            deployment=env.get("CHAOS_DEPLOYMENT", "gateway"),
        )

    @property
    def targets(self) -> list[Target]:
        """The gateways."""
        pairs = zip(self.urls, self.metrics_urls, strict=True)
        return [Target(f"gateway{number}", *pair) for number, pair in enumerate(pairs)]


def _list(text: str) -> tuple[str, ...]:
    return tuple(one.strip().rstrip("/") for one in text.split(",") if one.strip())


def _beside(url: str) -> str:
    """The metrics port of the same host: a default, which a port-forward may have moved."""
    where = urlsplit(url)
    return f"{where.scheme}://{where.hostname}:9090"
