"""What events and lists cost, for the model: at the API server for each watcher, and in a replica for each event."""

from __future__ import annotations

import json
import ssl
import tempfile
import time
from contextlib import ExitStack
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from chaos.rig.api import GROUP_PATH
from chaos.rig.cluster import ADMIN_TOKEN, Cluster
from gateway.kube.decoding import Event, RequestDecoder, decode_line
from gateway.kube.index import Index
from tests.bench.rounds import cpu_seconds
from tests.integration.stock import bodies, stock

WATCHERS = 64
WRITES = 300
LISTED = 5_000
HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def measure() -> dict[str, float]:
    """Microseconds of a processor, and bytes."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        cluster = Cluster(Path(name), etcd="recent")
        stack.callback(cluster.stop)
        cluster.start()
        cluster.api.install_crd()
        cluster.api.create_namespace("alone")
        cluster.api.create_namespace("watched")
        alone = _written(cluster, "alone")
        watching = [_watch(cluster, "watched") for _ in range(WATCHERS)]
        stack.callback(lambda: [connection.close() for connection, _ in watching])
        lines: list[list[bytes]] = [[] for _ in watching]
        readers = [
            Thread(target=_read, args=(answer, seen), daemon=True)
            for (_, answer), seen in zip(watching, lines, strict=True)
        ]
        for reader in readers:
            reader.start()
        watched = _written(cluster, "watched")
        for reader in readers:
            reader.join(60)
        stock(cluster, "listed", LISTED)
        return {
            "api_write": alone,
            "api_event": (watched - alone) / WATCHERS,
            "event": sum(map(len, lines[0])) / WRITES,
            "gateway_event": _applied(lines[0]),
            "api_listed": _listed(cluster),
        }


def _connection(cluster: Cluster) -> HTTPSConnection:
    place = urlsplit(cluster.url)
    context = ssl.create_default_context(cafile=str(cluster.api.ca))
    return HTTPSConnection(place.hostname or "", place.port, context=context, timeout=120)


def _written(cluster: Cluster, namespace: str) -> float:
    """What a creation costs the API server and etcd; on one kept connection."""
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests"
    connection = _connection(cluster)
    made = list(bodies(namespace, WRITES))
    before = _spent(cluster)
    for body in made:
        connection.request("POST", path, body, {**HEADERS, "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"the API server answered {answer.status}")
    time.sleep(0.5)  # the last events go out
    connection.close()
    return (_spent(cluster) - before) / WRITES * 1e6


def _spent(cluster: Cluster) -> float:
    return cpu_seconds(cluster.server, cluster.etcd)


def _watch(cluster: Cluster, namespace: str) -> tuple[HTTPSConnection, HTTPResponse]:
    """A watch of what will be written."""
    connection = _connection(cluster)
    path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests?watch=true&resourceVersion=0"
    connection.request("GET", path, headers=HEADERS)
    return connection, connection.getresponse()


def _read(answer: HTTPResponse, seen: list[bytes]) -> None:
    while len(seen) < WRITES and (line := answer.readline()):
        seen.append(line)


def _applied(lines: list[bytes]) -> float:
    """What an event costs a replica: decoding it and laying it into the index."""
    decoder, times = RequestDecoder(("Completed",)), 10
    began = time.process_time()
    for _ in range(times):
        index = Index()
        for line in lines:
            event = decode_line(line, decoder)
            if isinstance(event, Event) and event.item is not None:
                index.apply(event.item)
    return (time.process_time() - began) / times / len(lines) * 1e6


def _listed(cluster: Cluster) -> float:
    """What an object of a list costs the API server."""
    connection = _connection(cluster)
    path = f"{GROUP_PATH}/namespaces/listed/remediationrequests?limit=500"
    before, token = _spent(cluster), ""
    while True:
        connection.request("GET", path + (f"&continue={token}" if token else ""), headers=HEADERS)
        token = json.loads(connection.getresponse().read())["metadata"].get("continue", "")
        if not token:
            connection.close()
            return (_spent(cluster) - before) / LISTED * 1e6
