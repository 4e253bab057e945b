"""The embedded API as something to start and stop, and the kubeconfig that leads to it."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from aiohttp import web

from gateway.dev.kubernetes.api import Api
from gateway.dev.kubernetes.errors import ApiError
from gateway.dev.kubernetes.kinds import DEFINITIONS, NAMESPACES
from gateway.dev.kubernetes.routes import BODY_LIMIT, Routes
from gateway.dev.kubernetes.store import HISTORY
from gateway.errors import GatewayError

CONTEXT = "gateway-dev"


class CrdsMissing(GatewayError):
    """The project's CRDs are neither in the installed package nor beside it."""


def _now() -> datetime:
    return datetime.now(UTC)


class EmbeddedKubernetes:
    """A Kubernetes API in memory, on loopback, without TLS or authentication: for development and tests only.

    It serves namespaces, events, CRDs and the resources of the CRDs given (the project's own by default). `port` 0
    takes a free one. `namespace_grace` is how long a deleted namespace stays Terminating before it and its content
    go, as a cluster's controllers would see to; None for ever, as by an API server alone.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        crds: Iterable[dict[str, Any]] | None = None,
        history: int = HISTORY,
        bookmark_interval: float = 60.0,
        namespace_grace: float | None = 0.2,
    ) -> None:
        self._port = port
        self.api = Api(clock=_now, history=history)
        for crd in project_crds() if crds is None else crds:
            self.api.create(DEFINITIONS, "", crd)
        self._routes = Routes(self.api, bookmark_interval=bookmark_interval, namespace_grace=namespace_grace)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens. Raises `OSError` if the port is taken."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._routes.handle)
        runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=300,
            shutdown_timeout=2.0,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends all watches and stops listening; what was stored is kept, and `start` may be called again."""
        self._routes.stop()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens, once it is started."""
        return f"http://127.0.0.1:{self._port}"

    def ensure_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Creates the namespace unless it exists."""
        try:
            self.api.create(NAMESPACES, "", {"metadata": {"name": name, "labels": labels or {}}})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def kubeconfig(self) -> dict[str, Any]:
        """What `kubectl --kubeconfig` and the gateway need to reach it."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {"server": self.url}}],
            "users": [{"name": CONTEXT, "user": {}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        }

    def write_kubeconfig(self, path: Path) -> Path:
        """Writes the kubeconfig, readable by its owner only."""
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self.kubeconfig(), sort_keys=False), encoding="utf-8")
        return path


def project_crds() -> list[dict[str, Any]]:
    """The project's CRDs: from the installed package, else from the checkout it runs in. Raises `CrdsMissing`."""
    packaged = importlib.resources.files("gateway.dev") / "crds"
    checkout = Path(__file__).resolve().parents[3] / "deploy" / "crds"
    for folder in (packaged, checkout):
        if folder.is_dir():
            files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
            if files:
                return [
                    document
                    for file in files
                    for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
                    if document
                ]
    raise CrdsMissing(
        f"no CRDs in {packaged} nor in {checkout}; reinstall the package or run from a checkout"
    )
