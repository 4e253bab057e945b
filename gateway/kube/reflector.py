"""Keeps a copy of a collection up to date: list once, then watch, resume, and list again when need be.

The way of client-go's reflector. A watch that ends or breaks is resumed from the last version seen (bookmarks
keep that fresh while nothing changes), which costs the API server next to nothing. Only when it no longer
keeps that version (410, as a status or as an event) is the collection listed again. Lists are consistent
reads, never from a cache that may be behind: what a list does not show is gone.

Waits grow with each fruitless attempt and carry full jitter, so that replicas do not return all at once, and
they stay short enough that an API server which returns is followed again within 15 seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from gateway.errors import KubeError, KubeExpired
from gateway.kube.client import Cluster
from gateway.kube.decoding import Change, Event, Page, Versioned
from gateway.kube.index import Index
from gateway.kube.index import Listing as IndexListing
from gateway.kube.observing import NullObserver, Observer
from gateway.kube.stored import Stored
from gateway.model import PLURAL
from gateway.resilience.backoff import expo

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Versioned)
T_contra = TypeVar("T_contra", bound=Versioned, contravariant=True)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    watch: float = 80.0
    """How long the server should keep a watch open; each is up to a tenth shorter, so that they spread."""
    inactivity: float = 100.0
    """Without even a bookmark for so long a watch is dead; more than `watch`, which ends a living one first. Not every
    server sends bookmarks, and to resume a watch costs next to nothing: so a stuck one is found this soon."""
    first_wait: float = 0.2
    longest_wait: float = 5.0
    """With the time-out of a connection, a return of the API server is noticed within 15 s."""
    fruitful: float = 5.0
    """A watch that lasted this long was a success even if nothing changed."""


class Phase(StrEnum):
    """What a reflector is doing."""

    STOPPED = "stopped"
    LISTING = "listing"
    WATCHING = "watching"
    WAITING = "waiting"
    """After a failure."""


class Collection(Protocol[T]):
    """What is followed."""

    def pages(self) -> AsyncGenerator[Page[T], None]: ...

    def watch(
        self, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[T], None]:
        """Yields a bookmark of `resource_version` as soon as it stands."""


class Sink(Protocol[T_contra]):
    """Where the copy is kept. Called synchronously, in the order of the API server's events."""

    def apply(self, item: T_contra) -> None: ...

    def remove(self, item: T_contra) -> None:
        """`item` is the deleted object's last state."""

    def listing(self) -> Listing[T_contra]:
        """Takes a complete list."""


class Listing(Protocol[T_contra]):
    """One complete list on its way, page by page; one that breaks off is dropped, and another begun."""

    def take(self, page: Sequence[T_contra]) -> None:
        """One more page: what it shows is there."""

    def complete(self, resource_version: int) -> None:
        """That was all, as of `resource_version`: nothing else is there."""


class Reflector(Generic[T]):
    """Follows one collection. `run` goes on until it is cancelled and survives every `KubeError`.

    `synced` is set once the first list is complete, and stays set: during an outage the copy is old, not
    gone. `on_relist` is called after each list, the first one included, when the sink has it.
    """

    def __init__(
        self,
        name: str,
        collection: Collection[T],
        sink: Sink[T],
        *,
        pace: Pace | None = None,
        observer: Observer | None = None,
        on_relist: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.synced = asyncio.Event()
        self.phase = Phase.STOPPED
        self.error = ""
        """Why the last attempt failed; empty while all is well."""
        self._collection = collection
        self._sink = sink
        self._pace = pace or Pace()
        self._observer = observer or NullObserver()
        self._on_relist = on_relist
        self._version: int | None = None
        self._fruitful = False

    @property
    def current(self) -> bool:
        """Listed and watching: the copy is as fresh as a copy can be."""
        return self.synced.is_set() and self.phase is Phase.WATCHING

    async def run(self) -> None:
        waits = self._waits()
        try:
            while True:
                self._fruitful = False
                failed = await self._follow()
                if self._fruitful:
                    waits = self._waits()
                if failed or not self._fruitful:
                    if failed:
                        self.phase = Phase.WAITING
                    await asyncio.sleep(next(waits))
        finally:
            self.phase = Phase.STOPPED

    async def _follow(self) -> bool:
        """Lists if need be, and watches until that ends; True if that was a failure."""
        try:
            if self._version is None:
                self._version = await self._list()
            await self._watch(self._version)
        except KubeExpired as error:
            # The next round lists again: at once, unless nothing came of the last list either.
            log.info("%s: what came after the last version seen is gone, listing again: %s", self.name, error)
            self._version = None
        except KubeError as error:
            if not self.error:
                log.warning("%s: cannot be followed: %s", self.name, error)
            self.error = str(error)
            return True
        return False

    async def _list(self) -> int:
        self.phase = Phase.LISTING
        listing = self._sink.listing()
        version = 0
        pages = self._collection.pages()
        async with aclosing(pages):
            async for page in pages:
                listing.take(page.items)
                version = page.resource_version
        listing.complete(version)
        self._recovered()
        self._observer.relisted(self.name)
        self.synced.set()
        if self._on_relist is not None:
            self._on_relist()
        return version

    async def _watch(self, version: int) -> None:
        clock = asyncio.get_running_loop().time
        seconds = self._pace.watch * random.uniform(0.9, 1.0)
        stands_since: float | None = None
        events = self._collection.watch(version, seconds=seconds, inactivity=self._pace.inactivity)
        try:
            async with aclosing(events):
                async for event in events:
                    if stands_since is None:
                        stands_since = clock()
                        self.phase = Phase.WATCHING
                        self._recovered()
                    self._take(event)
                    if event.change is not Change.BOOKMARK:
                        self._fruitful = True
        finally:
            if stands_since is not None and clock() - stands_since >= self._pace.fruitful:
                self._fruitful = True

    def _take(self, event: Event[T]) -> None:
        if event.item is not None:
            if event.change is Change.DELETED:
                self._sink.remove(event.item)
            else:
                self._sink.apply(event.item)
        # After the sink: what it has not taken must be sent again.
        if event.resource_version:
            self._version = event.resource_version

    def _recovered(self) -> None:
        if self.error:
            log.info("%s: followed again", self.name)
            self.error = ""

    def _waits(self) -> Iterator[float]:
        return expo(self._pace.first_wait, self._pace.longest_wait, jitter=True)


class RequestSink:
    """Puts what a reflector sees into the index; `namespace` is the one that it follows, None for all."""

    def __init__(self, index: Index, clock: Callable[[], float], namespace: str | None = None) -> None:
        self._index = index
        self._clock = clock
        self._namespaces = None if namespace is None else (namespace,)

    def apply(self, item: Stored) -> None:
        self._index.apply(item, self._clock())

    def remove(self, item: Stored) -> None:
        self._index.remove(item.ref, item.uid, self._clock(), item)

    def listing(self) -> IndexListing:
        return IndexListing(self._index, self._clock, self._namespaces)


class _Requests:
    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def pages(self) -> AsyncGenerator[Page[Stored], None]:
        return self._cluster.pages(self._namespace)

    def watch(
        self, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[Stored], None]:
        return self._cluster.watch(self._namespace, resource_version, seconds=seconds, inactivity=inactivity)


def request_reflectors(
    cluster: Cluster,
    index: Index,
    *,
    clock: Callable[[], float],
    pace: Pace | None = None,
    observer: Observer | None = None,
    on_relist: Callable[[], None] | None = None,
) -> list[Reflector[Stored]]:
    """What keeps the index up to date: one reflector, or one for each of the cluster's configured namespaces.

    Each is to be run as a task of its own. `clock` dates tombs, in seconds.
    """
    return [
        Reflector(
            PLURAL if namespace is None else f"{PLURAL} in {namespace}",
            _Requests(cluster, namespace),
            RequestSink(index, clock, namespace),
            pace=pace,
            observer=observer,
            on_relist=on_relist,
        )
        for namespace in cluster.namespaces or (None,)
    ]
