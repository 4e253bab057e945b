"""The calls that the gateway makes to the Kubernetes API, typed. Each is one round trip and decides nothing.

Every failure is a `gateway.errors.KubeError`; retries, target and content of a write are the engine's. A call
that got no answer may have been performed (`KubeUnavailable`): nothing here tries a write twice, but for a
401, which is refused before anything is done.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from gateway.errors import KubeError, KubeUnavailable
from gateway.kube import objects
from gateway.kube.answers import excerpt, translate
from gateway.kube.connection import Call, Connection, health
from gateway.kube.decoding import (
    Change,
    Decoder,
    Event,
    Failure,
    HeadDecoder,
    Page,
    RequestDecoder,
    SpaceDecoder,
    UndecodableError,
    Versioned,
    decode_line,
    decode_page,
    spec_of,
)
from gateway.kube.observing import NullObserver, Observer, Verb
from gateway.kube.stored import Head, Space, Stored
from gateway.kube.storms import Storm, StormDecoder
from gateway.model import API_GROUP, API_VERSION, KIND, PLURAL, RequestRef
from gateway.resilience.breakers import Outcome
from gateway.resilience.probing import Finding

T = TypeVar("T", bound=Versioned)
V = TypeVar("V")

PAGE_SIZE = 500
HEADS_PER_CALL = 100
"""Fingerprints in one selector: 6.5 KB of URL, below what proxies take."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one event of a watch; objects end at 1.5 MiB, escapes may double that."""
PROBE_NAME = "gateway-probe"
PROBE_SECONDS = 5.0

_NAMESPACES = "/api/v1/namespaces"
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_WRITE = {"fieldManager": objects.FIELD_MANAGER, "fieldValidation": "Ignore"}


@dataclass(frozen=True, slots=True)
class _Listed(Generic[T]):
    """What is listed or watched, and how it is read."""

    name: str
    path: str
    decoder: Decoder[T]
    accept: str = _JSON


class Cluster:
    """The API server, as far as requests and namespaces go.

    `namespaces`: the only ones that are read, none for all of them. `terminal_phases`: in which a request is
    closed.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        terminal_phases: Collection[str],
        namespaces: Sequence[str] = (),
        environment_label: str = "environment",
        observer: Observer | None = None,
    ) -> None:
        self._connection = connection
        self.namespaces = tuple(dict.fromkeys(namespaces))
        self._observer = observer or NullObserver()
        self._decode = RequestDecoder(terminal_phases)
        self._decode_storm = StormDecoder(terminal_phases)
        self._decode_head = HeadDecoder()
        self._decode_space = SpaceDecoder(environment_label)

    async def open(self) -> None:
        """Loads configuration and credentials; raises `ConfigurationError`. Needs no API server."""
        await self._connection.open()

    async def close(self) -> None:
        await self._connection.close()

    def covers(self, namespace: str) -> bool:
        """Whether requests in this namespace are listed and watched."""
        return not self.namespaces or namespace in self.namespaces

    async def create(self, namespace: str, body: bytes) -> Stored:
        """Creates the object in `body`. Besides the usual: `KubeAlreadyExists`, `KubeNamespaceMissing`.

        Of an own request only the metadata comes back, which its marks are in: the rest is as it was sent, and costs
        the API server a twentieth of the call. The marks of an aggregated one are in its spec.
        """
        sent = spec_of(body)
        accept = _JSON if sent.is_storm else _METADATA
        call = Call(Verb.CREATE, "POST", _path(namespace), _WRITE, body, accept=accept)
        return _read(await self._connection.call(call), lambda raw: self._decode(raw, sent))

    async def patch(self, ref: RequestRef, body: bytes) -> Stored:
        """Merges `body`, which carries `metadata.resourceVersion`. Besides the usual: `KubeConflict`,
        `KubeNotFound`."""
        call = Call(Verb.PATCH, "PATCH", _path(ref.namespace, ref.name), _WRITE, body, _MERGE_PATCH)
        return self._stored(await self._connection.call(call))

    async def probe(self, namespace: str) -> Finding:
        """Whether writes pass: creates a request in `namespace`, but has the API server only rehearse it.

        Unlike a read, that meets the same limits, permissions, admission webhooks and storage as a real write. The
        verdict on the object itself does not matter. Goes around the breaker; raises nothing but for a bug.
        """
        body = msgspec.json.encode(
            {
                "apiVersion": f"{API_GROUP}/{API_VERSION}",
                "kind": KIND,
                "metadata": {"name": PROBE_NAME, "namespace": namespace},
                "spec": {},
            }
        )
        params = {**_WRITE, "dryRun": "All"}
        call = Call(Verb.PROBE, "POST", _path(namespace), params, body, always=True)
        try:
            await self._connection.call(call, timeout=PROBE_SECONDS)
        except KubeError as error:
            return Finding(health(Verb.PROBE, error), str(error), error.retry_after or 0.0)
        return Finding(Outcome.SUCCESS)

    async def get(self, ref: RequestRef) -> Stored:
        """The object as it is stored now, never from a cache. Besides the usual: `KubeNotFound`."""
        return self._stored(await self._got(ref))

    async def storm(self, ref: RequestRef) -> Storm:
        """As `get`, with all that a further write of an aggregated request is computed from."""
        return _read(await self._got(ref), self._decode_storm)

    async def delete(self, ref: RequestRef, *, uid: str, resource_version: int) -> None:
        """Deletes it if it is still that object in that version; else `KubeConflict` or `KubeNotFound`."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": str(resource_version)},
        }
        body = msgspec.json.encode(options)
        await self._connection.call(Call(Verb.DELETE, "DELETE", _path(ref.namespace, ref.name), {}, body))

    async def heads(
        self, fingerprints: Sequence[str], *, namespaces: Sequence[str] | None = None
    ) -> list[Head]:
        """Which requests of these fingerprints exist now: a consistent list by label, metadata only.

        Looks in all namespaces that are covered, or only in `namespaces`. The order is undefined. The API
        server has no index on labels: each call costs it time linear in all requests of the namespaces
        (seconds for 20,000 where it has to read them from etcd), so ask once for everything that waits.
        """
        found: list[Head] = []
        wanted = sorted({fingerprint[:63] for fingerprint in fingerprints})
        for start in range(0, len(wanted), HEADS_PER_CALL):
            selector = f"{objects.LABEL_FINGERPRINT} in ({','.join(wanted[start : start + HEADS_PER_CALL])})"
            for namespace in namespaces if namespaces is not None else self.namespaces or (None,):
                listed = _Listed("heads", _path(namespace), self._decode_head, _METADATA_LIST)
                async with aclosing(self._pages(listed, selector)) as pages:
                    async for page in pages:
                        found += page.items
        return found

    def pages(self, namespace: str | None) -> AsyncGenerator[Page[Stored], None]:
        """All requests, of one namespace or of all, as of one moment. `KubeExpired` if reading takes too
        long."""
        return self._pages(_Listed(PLURAL, _path(namespace), self._decode))

    def watch(
        self, namespace: str | None, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[Stored], None]:
        """What changes after `resource_version`, for about `seconds`; then it ends.

        First comes a bookmark of that version, as soon as the watch stands.

        `KubeExpired`: that version is no longer kept, list again. `inactivity`: seconds without even a
        bookmark after which the connection counts as dead.
        """
        listed = _Listed(PLURAL, _path(namespace), self._decode)
        return self._watch(listed, resource_version, seconds, inactivity)

    def space_pages(self) -> AsyncGenerator[Page[Space], None]:
        """All namespaces, metadata only."""
        return self._pages(_Listed("namespaces", _NAMESPACES, self._decode_space, _METADATA_LIST))

    def watch_spaces(
        self, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[Space], None]:
        """As `watch`, of namespaces."""
        listed = _Listed("namespaces", _NAMESPACES, self._decode_space, _METADATA)
        return self._watch(listed, resource_version, seconds, inactivity)

    async def _got(self, ref: RequestRef) -> bytes:
        return await self._connection.call(Call(Verb.GET, "GET", _path(ref.namespace, ref.name)))

    def _stored(self, body: bytes) -> Stored:
        return _read(body, self._decode)

    async def _pages(self, listed: _Listed[T], selector: str = "") -> AsyncGenerator[Page[T], None]:
        # Few match a selector. Without a limit, an API server from 1.31 on answers from its cache,
        # consistently.
        params = {"labelSelector": selector} if selector else {"limit": str(PAGE_SIZE)}
        while True:
            call = Call(Verb.LIST, "GET", listed.path, params, accept=listed.accept, always=not selector)
            body = await self._connection.call(call, timeout=self._connection.timeouts.page)
            try:
                page = decode_page(body, listed.decoder)
            except UndecodableError as error:
                raise KubeUnavailable(f"list cannot be read: {excerpt(str(error))}", status=200) from error
            if page.skipped:
                self._observer.skipped(listed.name, page.skipped)
            yield page
            if not page.token:
                return
            params = {**params, "continue": page.token}

    async def _watch(
        self, listed: _Listed[T], resource_version: int, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[T], None]:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(resource_version),
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        call = Call(Verb.WATCH, "GET", listed.path, params, accept=listed.accept)
        async with self._connection.stream(call, inactivity=inactivity) as pieces:
            yield Event(Change.BOOKMARK, resource_version, None)
            async for line in lines(pieces):
                yield self._event(line, listed)

    def _event(self, line: bytes, listed: _Listed[T]) -> Event[T]:
        try:
            event = decode_line(line, listed.decoder)
        except UndecodableError as error:
            raise KubeUnavailable(f"watch event cannot be read: {excerpt(str(error))}") from error
        if isinstance(event, Failure):
            raise translate(event.status, event.body, {})
        if event.unreadable:
            self._observer.skipped(listed.name, 1)
        return event


async def lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The complete lines of a stream, without their ends; blank ones are left out, and so is an unfinished
    last one.

    A line may come in any number of pieces. Raises `KubeError` for one beyond `LONGEST_LINE`.
    """
    begun: list[bytes] = []
    size = 0
    async for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for end in ended:
            line = b"".join((*begun, end)) if begun else end
            begun.clear()
            size = 0
            if line.strip():
                yield line
        if rest:
            begun.append(rest)
            size += len(rest)
            if size > LONGEST_LINE:
                raise KubeUnavailable(f"watch event longer than {LONGEST_LINE} bytes")


def _read(body: bytes, decoder: Decoder[V]) -> V:
    try:
        return decoder(body)
    except UndecodableError as error:
        # The status was 2xx, so a write happened; what it led to must be read again.
        raise KubeUnavailable(f"answer cannot be read: {excerpt(str(error))}", status=200) from error


def _path(namespace: str | None, name: str | None = None) -> str:
    path = f"/apis/{API_GROUP}/{API_VERSION}"
    if namespace is not None:
        path += f"/namespaces/{quote(namespace, safe='')}"
    path += f"/{PLURAL}"
    return path if name is None else f"{path}/{quote(name, safe='')}"
