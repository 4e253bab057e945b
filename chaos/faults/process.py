"""The fault proxy of `chaos` as a process before a Kubernetes API: it shares no event loop with the test."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from chaos.faults.rules import Rule
from chaos.rig.api import Api
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

_ROOT = Path(__file__).parents[2]

Rules = Iterable[Rule | Mapping[str, Any]]
"""Rules, or what they are as JSON."""


class FaultProxyProcess(Process):
    """A proxy with no rules at first. `url` is where it listens, `kubeconfig` the access through it.

    Its certificate is a new one with each start: clients that were there before do not trust it any more.
    """

    def __init__(self, folder: Path, *, kubeconfig: Path, name: str = "fault-proxy", seed: int = 0) -> None:
        """`kubeconfig` is that of the API behind it."""
        port, control = free_port(), free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.control_url = f"http://127.0.0.1:{control}"
        self.kubeconfig = folder / f"{name}.kubeconfig"
        super().__init__(
            name,
            [
                *(sys.executable, "-m", "chaos.faults.proxy"),
                *("--kubeconfig", kubeconfig),
                *("--listen", f"127.0.0.1:{port}"),
                *("--control", f"127.0.0.1:{control}"),
                *("--write-kubeconfig", self.kubeconfig),
                *("--seed", str(seed)),
            ],
            folder=folder,
            cwd=_ROOT,
        )

    def start(self, *, seconds: float = 60.0) -> None:
        """Starts it and waits until it serves; raises `Died` or `TimeoutError` with the end of its log."""
        self.kubeconfig.unlink(missing_ok=True)
        super().start()
        # It writes the file when both of its ports are open.
        self.until(self.kubeconfig.exists, seconds=seconds)

    @property
    def api(self) -> Api:
        """The access through the proxy, kubectl included; once it was started."""
        content = yaml.safe_load(self.kubeconfig.read_text())
        ca = self.kubeconfig.with_suffix(".crt")
        ca.write_bytes(base64.b64decode(content["clusters"][0]["cluster"]["certificate-authority-data"]))
        token = content["users"][0]["user"].get("token", "")
        return Api(self.url, token=token, ca=ca, kubeconfig=self.kubeconfig)

    def set_rules(self, rules: Rules, *, seed: int | None = None) -> None:
        """Replaces the rules; all that comes from now on meets the new ones. Raises `ValueError` for wrong ones."""
        listed = [rule.to_json() if isinstance(rule, Rule) else dict(rule) for rule in rules]
        self._control("PUT", "/rules", {"rules": listed} | ({} if seed is None else {"seed": seed}))

    def rules(self) -> list[dict[str, Any]]:
        """The rules in force, as JSON."""
        found: list[dict[str, Any]] = self._control("GET", "/rules")
        return found

    def clear(self) -> None:
        """No rules any more: everything passes, and frozen watches go on."""
        self._control("DELETE", "/rules")

    def cut_watches(self) -> int:
        """Resets the connections of all open watches, once; says how many."""
        return int(self._control("DELETE", "/watches")["cut"])

    def counts(self) -> dict[str, int]:
        """How often each fault was done (by its word), `requests`, `forwarded`, `upstream lost`, `open watches`."""
        found: dict[str, int] = self._control("GET", "/counts")
        return found

    def count(self, what: str) -> int:
        """One of them, 0 if it is not there."""
        return self.counts().get(what, 0)

    def _control(self, method: str, path: str, body: object = None) -> Any:
        where = urlsplit(self.control_url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            content = json.loads(answer.read())
        if answer.status != 200:
            raise ValueError(content["error"])
        return content
