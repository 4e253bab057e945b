"""Watches: one collection's changes as a stream of JSON lines, from a version on, for as long as the client asked.

A watcher holds a place in the collection's history and nothing else; when it falls behind what is remembered, it is
told 410 and has to list again, as by a real API server. Selectors are applied to both sides of a change, so that an
object that stops matching is reported as deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from gateway.dev.kubernetes import errors
from gateway.dev.kubernetes.kinds import Kind
from gateway.dev.kubernetes.selectors import Matches
from gateway.dev.kubernetes.store import Change, Collection, Event, Gone, Stored, Versions

_encoder = msgspec.json.Encoder()
_BATCH = 500

Render = Callable[[Stored], bytes]


def plain(stored: Stored) -> bytes:
    """The object as it is stored."""
    return stored.raw


class Watch:
    """One stream. `render` turns an object into JSON; `plain` shares the work between watchers."""

    def __init__(
        self,
        kind: Kind,
        collection: Collection,
        versions: Versions,
        *,
        namespace: str,
        matches: Matches | None,
        render: Render = plain,
        bookmarks: bool = False,
        bookmark_interval: float = 60.0,
    ) -> None:
        self._kind = kind
        self._collection = collection
        self._versions = versions
        self._namespace = namespace
        self._matches = matches
        self._render = render
        self._bookmarks = bookmarks
        self._interval = bookmark_interval
        self._changed = asyncio.Event()
        self.stopping = False

    def stop(self) -> None:
        """Ends the stream soon."""
        self.stopping = True
        self._changed.set()

    async def lines(
        self, version: int | None, timeout: float, *, announce: bool = False
    ) -> AsyncIterator[bytes]:
        """What to send, for at most `timeout` seconds: all objects first where `version` is None, else later changes.

        `announce`: after the first objects, a bookmark says that these were all (a streaming list).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        try:
            if version is None:
                start = self._versions.current
                cursor = self._collection.cursor(start)
                if first := b"".join(self._first()):
                    yield first
                if announce:
                    yield self._bookmark(start, {"k8s.io/initial-events-end": "true"})
            else:
                start = version
                cursor = self._collection.cursor(version)
            next_bookmark = loop.time() + self._interval
            self._collection.listeners.add(self._changed.set)
            while not self.stopping:
                self._changed.clear()
                events = self._collection.since(cursor, _BATCH)
                cursor += len(events)
                if chunk := b"".join(filter(None, (self._line(e) for e in events if e.version > start))):
                    yield chunk
                if events:
                    continue
                now = loop.time()
                if now >= deadline:
                    if self._bookmarks:
                        yield self._bookmark(max(start, self._versions.current))
                    break
                if self._bookmarks and now >= next_bookmark:
                    next_bookmark = now + self._interval
                    yield self._bookmark(max(start, self._versions.current))
                    continue
                until = min(deadline, next_bookmark) if self._bookmarks else deadline
                try:
                    async with asyncio.timeout(until - now):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        except Gone as gone:
            refusal = errors.expired(f"too old resource version: {version} ({gone.horizon})")
            yield _encoder.encode({"type": "ERROR", "object": refusal.body()}) + b"\n"
        finally:
            self._collection.listeners.discard(self._changed.set)

    def _first(self) -> list[bytes]:
        return [
            self._encode(Change.ADDED, stored)
            for stored in self._collection.view().after("", self._namespace)
            if self._selects(stored)
        ]

    def _selects(self, stored: Stored | None) -> bool:
        if stored is None or (self._namespace and stored.namespace != self._namespace):
            return False
        return self._matches is None or self._matches(stored)

    def _line(self, event: Event) -> bytes:
        if self._matches is None:
            if self._namespace and event.stored.namespace != self._namespace:
                return b""
            if self._render is not plain:
                return self._encode(event.change, event.stored)
            if event.line is None:
                event.line = self._encode(event.change, event.stored)
            return event.line
        before, after = self._selects(event.previous), self._selects(event.stored)
        if event.change is Change.DELETED:
            return self._encode(Change.DELETED, event.stored) if before else b""
        if after:
            return self._encode(Change.MODIFIED if before else Change.ADDED, event.stored)
        if not before or event.previous is None:
            return b""
        left = event.previous.body()  # as it last matched, at the version at which it stopped to
        left["metadata"]["resourceVersion"] = str(event.version)
        return self._encode(Change.DELETED, Stored(left))

    def _encode(self, change: Change, stored: Stored) -> bytes:
        return b'{"type":"' + change.value.encode() + b'","object":' + self._render(stored) + b"}\n"

    def _bookmark(self, version: int, annotations: dict[str, str] | None = None) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        body = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return _encoder.encode({"type": "BOOKMARK", "object": body}) + b"\n"
