"""The cluster as an operator has it: kubectl, and its proxy for whoever writes many times a second.

`kubectl proxy` knows every kind of kubeconfig, certificates and plugins included, and speaks plain HTTP on loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from chaos.alerts import Json
from chaos.rig import tools
from chaos.rig.processes import Process

RESOURCE = "/apis/remediation.kubernaut.io/v1alpha1"


class KubectlFailed(Exception):
    """kubectl ended with an error; the message is its own."""


class Kubernetes:
    """One cluster. `kubeconfig` None is kubectl's own choice (`KUBECONFIG`, or the file in the home folder)."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None) -> None:
        self.kubeconfig = kubeconfig
        chosen = {} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig)}
        self._env: Mapping[str, str] = {**os.environ, **chosen}
        self._kubectl = str(tools.find("kubectl"))
        command = [self._kubectl, "proxy", "--port=0"]
        self._proxy = Process("kubectl-proxy", command, folder=folder, env=self._env)
        self._base = ""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._proxy.start()
        await asyncio.to_thread(self._proxy.until, self._announced, seconds=30)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._proxy.kill()

    def _announced(self) -> bool:
        told = re.findall(r"Starting to serve on (\S+)", self._proxy.log())
        self._base = f"http://{told[-1]}" if told else ""
        return bool(told)

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints. Raises `KubectlFailed`."""
        child = await asyncio.create_subprocess_exec(
            self._kubectl,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._env,
        )
        out, error = await child.communicate(None if stdin is None else stdin.encode())
        if child.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {error.decode().strip()}")
        return out.decode()

    async def call(
        self, method: str, path: str, body: Json | None = None, *, content_type: str = "application/json"
    ) -> tuple[int, Json]:
        """One call of the API: status and JSON body."""
        assert self._session is not None
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, self._base + path, data=data, headers=headers) as answer:
            content: Json = await answer.json(content_type=None)
            return answer.status, content

    async def stream(self, path: str) -> AsyncIterator[Json]:
        """The lines of an answer that goes on, as a watch's does, until it ends. Raises what aiohttp raises."""
        assert self._session is not None
        unending = aiohttp.ClientTimeout(total=None, sock_connect=30)
        # An aggregated request with all its members is longer than what a line may be by default.
        async with self._session.get(
            self._base + path, timeout=unending, read_bufsize=2**22, raise_for_status=True
        ) as answer:
            async for line in answer.content:
                yield json.loads(line)

    async def requests(self, namespace: str) -> list[Json]:
        """The RemediationRequests of a namespace."""
        _, found = await self.call("GET", f"{RESOURCE}/namespaces/{namespace}/remediationrequests")
        items: list[Json] = found.get("items", [])
        return items

    async def ensure_namespace(self, name: str) -> None:
        """A namespace of this name, without requests of an earlier rehearsal."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.call("POST", "/api/v1/namespaces", body)
        await self.clear(name)

    async def clear(self, namespace: str) -> None:
        """Deletes all requests of a namespace."""
        await self.call("DELETE", f"{RESOURCE}/namespaces/{namespace}/remediationrequests")

    async def annotate(self, namespace: str, name: str, key: str, text: str) -> int:
        """Sets an annotation of a request, as another writer does; returns the status."""
        path = f"{RESOURCE}/namespaces/{namespace}/remediationrequests/{name}"
        patch = {"metadata": {"annotations": {key: text}}}
        status, _ = await self.call("PATCH", path, patch, content_type="application/merge-patch+json")
        return status
