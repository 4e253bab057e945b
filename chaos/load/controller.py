"""Plays the controllers of a cluster, for without them every request would stay open for ever.

A request is completed some time after it was made, and deleted some time later, as retention does it. Before it is
deleted, its last state goes to a file, which the audit takes for what is no longer in the cluster: a deletion that asks
for exactly the version that was written down proves that nothing came after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from pathlib import Path
from typing import Final

import aiohttp

from chaos.alerts import Json
from chaos.kubernetes import RESOURCE, Kubernetes

AT_ONCE: Final = 16
"""Calls under way."""
EVERY: Final = 0.5
"""Seconds between two looks at whose time has come."""


class Controller:
    """Completes and deletes requests until it is stopped."""

    def __init__(
        self,
        kubernetes: Kubernetes,
        namespace: str,
        gone: Path,
        *,
        complete_after: float,
        delete_after: float,
    ) -> None:
        """It tends the requests of one namespace; `gone` takes the deleted ones as JSON lines. Seconds from a request's
        creation to its completion, and from that to its deletion.
        """
        self.completed = self.deleted = 0
        self._kubernetes = kubernetes
        self._requests = f"{RESOURCE}/namespaces/{namespace}/remediationrequests"
        self._gone = gone
        self._complete_after = complete_after
        self._delete_after = delete_after
        self._known: dict[str, Json] = {}
        """By uid, as last seen."""
        self._open: deque[tuple[float, str]] = deque()
        self._over: deque[tuple[float, str]] = deque()
        """Uids with when their time comes."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. Whoever cancels it instead may lose what was deleted in that moment."""
        following = asyncio.create_task(self._follow())
        try:
            await self._tend()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def stop(self) -> None:
        """Begin nothing new: `run` returns once what is under way is done, and written down."""
        self._stopped.set()

    async def _follow(self) -> None:
        """Keeps the table of what is there."""
        while True:
            try:
                _, listed = await self._kubernetes.call("GET", self._requests)
                for item in listed.get("items", []):
                    self._take(item)
                since = listed.get("metadata", {}).get("resourceVersion", "0")
                path = f"{self._requests}?watch=1&resourceVersion={since}"
                async for event in self._kubernetes.stream(path):
                    if event.get("type") in ("ADDED", "MODIFIED"):
                        self._take(event["object"])
                    elif event.get("type") == "ERROR":
                        break
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(1)

    def _take(self, item: Json) -> None:
        uid = item["metadata"]["uid"]
        known = self._known.get(uid)
        if known is None:
            self._open.append((time.monotonic() + self._complete_after, uid))
        elif _version(known) >= _version(item):
            return
        item["metadata"].pop("managedFields", None)  # a third of each object, and nothing to count
        self._known[uid] = item

    async def _tend(self) -> None:
        with self._gone.open("a", encoding="utf-8") as file:
            while not self._stopped.is_set():
                now = time.monotonic()
                await asyncio.gather(*(self._complete(uid) for uid in _taken(self._open, now)))
                ended = await asyncio.gather(*(self._delete(uid) for uid in _taken(self._over, now)))
                gone = [item for item in ended if item is not None]
                file.writelines(json.dumps(item) + "\n" for item in gone)
                file.flush()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), EVERY)

    async def _complete(self, uid: str) -> None:
        path, body = self._path(self._known[uid]), {"status": {"overallPhase": "Completed"}}
        status, answer = await self._call("PATCH", f"{path}/status", body)
        if status == 200:
            self.completed += 1
            self._take(answer)
            self._over.append((time.monotonic() + self._delete_after, uid))
        elif status == 404:
            self._known.pop(uid, None)
        else:
            self._open.append((time.monotonic() + 1, uid))

    async def _delete(self, uid: str) -> Json | None:
        item = self._known[uid]
        version = item["metadata"]["resourceVersion"]
        options = {"kind": "DeleteOptions", "apiVersion": "v1"}
        wanted = {"preconditions": {"uid": uid, "resourceVersion": version}}
        # An answer that never came may have been a deletion: the object is asked for, and a 404 then says so.
        status, _ = await self._call("DELETE", self._path(item), {**options, **wanted})
        if status in (200, 404):
            self.deleted += 1
            return self._known.pop(uid)
        fresh_status, fresh = await self._call("GET", self._path(item))
        if fresh_status == 200:
            self._take(fresh)
        self._over.append((time.monotonic() + 1, uid))
        return None

    def _path(self, item: Json) -> str:
        return f"{self._requests}/{item['metadata']['name']}"

    async def _call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            async with self._slots:
                return await self._kubernetes.call(method, path, body, content_type=content)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, {}


def _taken(due: deque[tuple[float, str]], now: float) -> list[str]:
    """Those whose time has come; the rest stays."""
    found = []
    while due and due[0][0] <= now:
        found.append(due.popleft()[1])
    return found


def _version(item: Json) -> int:
    return int(item["metadata"]["resourceVersion"])
