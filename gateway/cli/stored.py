"""Reads what is stored in the cluster for `gateway audit`: the requests, and the environments of namespaces.

It asks the API server for plain JSON, page by page, and shares nothing with the lists and watches of the gateway: an
audit that read like the gateway would also err like it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

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


async def stored_requests(connection: Connection, settings: Settings) -> list[Request]:
    """Return all requests, as of one moment, read as plain JSON: of the cluster, or of the configured namespaces."""
    from gateway.cli.holdings import read_request
    from gateway.errors import KubeExpired
    from gateway.model import API_GROUP, API_VERSION, PLURAL

    root = f"/apis/{API_GROUP}/{API_VERSION}"
    namespaces = settings.kubernetes.namespaces
    paths = [f"{root}/namespaces/{namespace}/{PLURAL}" for namespace in namespaces] or [f"{root}/{PLURAL}"]
    for attempt in range(1, LISTINGS + 1):
        try:
            return [
                read_request(item, settings.dedup.terminal_phases)
                for path in paths
                async for item in _items(connection, path)
            ]
        except KubeExpired:  # between two pages: the list must start over to be of one moment
            if attempt == LISTINGS:
                raise
    raise AssertionError("unreachable")


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
