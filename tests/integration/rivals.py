"""Others who write to the requests while the gateway does: as rude as controllers and people are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chaos.rig.api import Api

RESOURCES = "/apis/remediation.kubernaut.io/v1alpha1/namespaces/{}/remediationrequests"


@contextmanager
def rival_writer(cluster: Api, namespace: str, *, interval: float = 0.01) -> Iterator[list[int]]:
    """Changes an annotation of every request of the namespace, again and again; yields a list of what it changed."""
    written: list[int] = []

    def touch() -> None:
        for request in cluster.requests(namespace):
            path = f"{RESOURCES.format(namespace)}/{request['metadata']['name']}"
            patch = {"metadata": {"annotations": {"example.com/rival": str(len(written))}}}
            status, _ = cluster.send("PATCH", path, patch, content_type="application/merge-patch+json")
            written.append(status)

    with repeatedly(touch, interval):
        yield written


@contextmanager
def repeatedly(act: Callable[[], Any], interval: float) -> Iterator[None]:
    """Calls `act` in a thread of its own until the block ends; its error fails the test."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        while not stop.is_set():
            try:
                act()
            except BaseException as error:  # noqa: BLE001 - it is raised again where the test can see it
                failures.append(error)
                return
            time.sleep(interval)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    if failures:
        raise failures[0]
