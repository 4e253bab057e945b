"""The gateway itself as a process: `gateway serve`, as it runs in production, on ports that it keeps over restarts."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import ssl
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from chaos.rig.ports import free_port
from chaos.rig.processes import Process

ROOT = Path(__file__).parents[2]
_IMMEDIATE = {"rules": [{"matchers": ['alertname!=""'], "mode": "immediate"}]}

Wait = Literal["whole", "ready", "alive", "no"]
"""Until `/readyz` finds every part well (the requests watched among them), until it answers 200 (one way for alerts
suffices), until `/healthz` does, or not at all."""


class GatewayProcess(Process):
    """One replica. `url` is its base URL, `metrics_url` the base URL of its metrics listener.

    Settings are laid over what the ports need, as nested mappings (`{"storm": {"hold": "1s"}}`), and written to a
    file; `sets` are further `--set` arguments. Where neither says anything of `storm`, no alert is held. The
    environment is the test's, without any `GATEWAY__…`; `program` is what runs in the gateway's place, and `tree`
    where it comes from.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "gateway",
        redis_url: str | None = None,
        kubeconfig: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        sets: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "gateway"),
        tree: Path = ROOT,
    ) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.metrics_url = f"http://127.0.0.1:{self.metrics_port}"
        self.config_path = folder / f"{name}.yaml"
        self.settings: dict[str, Any] = {
            "server": {"host": "127.0.0.1", "port": self.port, "metrics_port": self.metrics_port}
        }
        if "storm" not in (settings or {}) and not any(text.startswith("storm") for text in sets):
            self.settings["storm"] = _IMMEDIATE
        if redis_url is not None:
            self.settings["redis"] = {"url": redis_url}
        if kubeconfig is not None:
            self.settings["kubernetes"] = {"kubeconfig": str(kubeconfig)}
        self.settings = _merged(self.settings, settings or {})
        self.tls = trusting() if "tls" in self.settings["server"] else None
        """With what it is spoken to; a test that wants to show a client certificate loads one into it."""
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        command = [*program, "serve", "--config", str(self.config_path)]
        for assignment in sets:
            command += ["--set", assignment]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY__")}
        super().__init__(name, command, folder=folder, env={**inherited, **(env or {})}, cwd=tree)

    def start(self, *, wait: Wait = "whole", seconds: float = 60.0) -> None:
        """Writes the configuration, starts it and waits; raises `Died` or `TimeoutError` with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(yaml.safe_dump(self.settings))
        super().start()
        if wait == "whole":
            self.until(self.whole, seconds=seconds)
        elif wait == "ready":
            self.until(self.ready, seconds=seconds)
        elif wait == "alive":
            self.until(lambda: self.get("/healthz")[0] == 200, seconds=seconds)

    async def start_async(self, *, wait: Wait = "whole", seconds: float = 60.0) -> None:
        """The same, while the event loop runs: for tests that serve something the gateway needs."""
        await asyncio.to_thread(self.start, wait=wait, seconds=seconds)

    def restart(self, *, wait: Wait = "whole", seconds: float = 60.0) -> None:
        """SIGKILL if it runs, and a new start with the same ports and settings."""
        self.kill()
        self.start(wait=wait, seconds=seconds)

    def ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        return self.get("/readyz")[0] == 200

    def whole(self) -> bool:
        """Whether all that `/readyz` looks at is well."""
        status, body = self.get("/readyz")
        return status == 200 and json.loads(body)["status"] == "ready"

    def get(self, path: str, *, timeout: float = 5.0) -> tuple[int, bytes]:
        """GET of a path: status and body, status 0 where no answer came."""
        return self.call("GET", path, timeout=timeout)

    def post(
        self, path: str, body: object, *, headers: Mapping[str, str] | None = None, timeout: float = 15.0
    ) -> tuple[int, bytes]:
        """POST of bytes, or of anything else as JSON: status and body, status 0 where no answer came."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call(
            "POST", path, data, {"Content-Type": "application/json", **(headers or {})}, timeout=timeout
        )

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 15.0,
    ) -> tuple[int, bytes]:
        """One HTTP call on a connection of its own; follows no redirect."""
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls)
            if self.tls
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        )
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        return 0, b""

    def metrics(self) -> str:
        """The text of its metrics page."""
        with urllib.request.urlopen(f"{self.metrics_url}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 where there is none."""
        total = 0.0
        for line in self.metrics().splitlines():
            series, _, value = line.rpartition(" ")
            found, _, pairs = series.partition("{")
            if found == name and all(f'{key}="{wanted}"' in pairs for key, wanted in labels.items()):
                total += float(value)
        return total


def trusting() -> ssl.SSLContext:
    """Takes any certificate for good: what is tested with it is not the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result
