"""Everything the gateway depends on, embedded: Redis, a Kubernetes API with the project's CRDs, demo namespaces."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.dev.kubernetes import EmbeddedKubernetes
from gateway.dev.redis import EmbeddedRedis

DEMO_NAMESPACES: Mapping[str, str] = {
    "prod-api": "production",
    "prod-checkout": "production",
    "prod-data": "production",
    "staging": "staging",
    "dev": "development",
    "kubernaut-system": "",
}
"""Namespace → the value of its environment label, empty for none. The last takes what has no namespace of its own."""


class EmbeddedCluster:
    """Starts on entry, ends on exit: `async with EmbeddedCluster() as cluster`.

    The kubeconfig lies in a folder of its own under the system's temporary one, removed on exit, so that clusters
    beside each other do not meet. `kubernetes_port` 0 takes a free one.
    """

    def __init__(
        self,
        *,
        kubernetes_port: int = 0,
        namespaces: Mapping[str, str] | None = None,
        label: str = "environment",
    ) -> None:
        self.redis = EmbeddedRedis()
        self.kubernetes = EmbeddedKubernetes(port=kubernetes_port)
        self._namespaces = DEMO_NAMESPACES if namespaces is None else namespaces
        self._label = label
        self._stack = AsyncExitStack()
        self._kubeconfig: Path | None = None

    @property
    def redis_url(self) -> str:
        """For the setting `redis.url`."""
        return self.redis.url

    @property
    def kubeconfig(self) -> Path:
        """For the setting `kubernetes.kubeconfig` and for `kubectl --kubeconfig`."""
        assert self._kubeconfig is not None, "the cluster is not started"
        return self._kubeconfig

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="gateway-dev-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            await stack.enter_async_context(self.redis)
            await stack.enter_async_context(self.kubernetes)
            for name, environment in self._namespaces.items():
                self.kubernetes.ensure_namespace(name, {self._label: environment} if environment else {})
            self._kubeconfig = self.kubernetes.write_kubeconfig(folder / "kubeconfig")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
