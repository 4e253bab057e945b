"""Reads what is stored in the cluster for `gateway audit`: the requests, and the environments of namespaces.

It asks the API server for plain JSON, page by page, and shares nothing with the lists and watches of the gateway: an
audit that read like the gateway would also err like it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.output import CommandError

if TYPE_CHECKING:
    from gateway.cli.holdings import Request
    from gateway.config.settings import Settings
    from gateway.kube.connection import Connection

LISTINGS = 3
"""How often a list is begun whose pages the API server no longer has."""


async def open_connection(settings: Settings) -> Connection:
    """Return a connection to the configured cluster; raises `ConfigurationError` where there is none to use."""
    from gateway.kube.connection import Connection

    connection = Connection(kubeconfig=settings.kubernetes.kubeconfig, context=settings.kubernetes.context)
    await connection.open()
    return connection


async def stored_requests(
    connection: Connection, settings: Settings, deleted: Sequence[Path] = ()
) -> list[Request]:
    """Return all requests, as of one moment, read as plain JSON: of the cluster, or of the configured namespaces.

    `deleted` are files of requests as they were when they were deleted; one that is still there is taken as it is.
    """
    from gateway.cli.holdings import read_request
    from gateway.errors import KubeExpired
    from gateway.model import API_GROUP, API_VERSION, PLURAL

    root = f"/apis/{API_GROUP}/{API_VERSION}"
    terminal = settings.dedup.terminal_phases
    namespaces = settings.kubernetes.namespaces
    paths = [f"{root}/namespaces/{namespace}/{PLURAL}" for namespace in namespaces] or [f"{root}/{PLURAL}"]
    for attempt in range(1, LISTINGS + 1):
        try:
            requests, there = [], set()
            for path in paths:
                async for item in _items(connection, path):
                    there.add(str((item.get("metadata") or {}).get("uid", "")))
                    requests.append(read_request(item, terminal))
            return [*requests, *(read_request(item, terminal) for item in _deleted(deleted, there))]
        except KubeExpired:  # between two pages: the list must start over to be of one moment
            if attempt == LISTINGS:
                raise
    raise AssertionError("unreachable")


def _deleted(paths: Sequence[Path], there: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the requests of files, each once, and as deleted; those whose uid is `there` are not.

    Raises `CommandError` for what is no request.
    """
    known = set(there)
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    uid, item = _decoded(line, f"{path}:{number}")
                    if uid not in known:
                        known.add(uid)
                        yield item
        except OSError as reason:
            raise CommandError(f"cannot read {path}: {reason.strerror}") from reason


def _decoded(line: bytes, where: str) -> tuple[str, dict[str, Any]]:
    """Return the uid of a deleted request, and the request: it holds nothing any more, whatever its phase was."""
    try:
        item = json.loads(line)
        return str(item["metadata"]["uid"]), {
            **item,
            "metadata": {**item["metadata"], "deletionTimestamp": "past"},
        }
    except (ValueError, KeyError, TypeError) as reason:
        raise CommandError(
            f"{where}: no request: {type(reason).__name__}: {reason}",
            hint="--deleted takes RemediationRequests as the API shows them, one JSON object a line.",
        ) from reason


async def environments(connection: Connection, label: str) -> dict[str, str]:
    """Return namespace → the value of its label `label`, for those that have it."""
    found = {}
    async for item in _items(connection, "/api/v1/namespaces"):
        meta = item.get("metadata") or {}
        if value := (meta.get("labels") or {}).get(label):
            found[str(meta.get("name", ""))] = str(value)
    return found


async def _items(connection: Connection, path: str) -> AsyncIterator[dict[str, Any]]:
    from gateway.kube.connection import Call
    from gateway.kube.observing import Verb

    params = {"limit": "500"}
    while True:
        call = Call(Verb.LIST, "GET", path, dict(params))
        page = json.loads(await connection.call(call, timeout=connection.timeouts.page))
        for item in page.get("items") or ():
            yield item
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        params["continue"] = token
