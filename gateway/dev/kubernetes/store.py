"""Objects in memory under one growing version number, with enough history to watch and to page through.

Every write takes the next integer as its resourceVersion, whatever it writes, as etcd's revision does. An object is
kept as the JSON that goes over the wire, so a read costs a copy of bytes, and whoever changes an object decodes a
copy of its own. A collection remembers its last changes: a watch is a place in that history, which bounds what a slow
watcher can cost, and a page of a list is the collection *as it was* at the version of its first page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

HISTORY = 10_000
"""Changes a collection can look back on: some seconds of a burst, hours of ordinary use."""

SIZE_LIMIT = 1_572_864
"""Bytes of one stored object: what etcd takes in one request."""

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


class Gone(Exception):
    """The history asked for has been dropped. `horizon` is the oldest version that can still be served."""

    def __init__(self, horizon: int) -> None:
        super().__init__(horizon)
        self.horizon = horizon


class Oversized(Exception):
    """An object is larger than `SIZE_LIMIT`."""


class Stored:
    """One version of one object; never changed once made. `body()` is a private copy to read or to edit."""

    __slots__ = ("labels", "name", "namespace", "raw", "terminating", "uid", "version")

    def __init__(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        self.raw: bytes = _encoder.encode(body)
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.version = int(metadata.get("resourceVersion") or 0)
        self.labels: Mapping[str, str] = metadata.get("labels") or _NO_LABELS
        self.terminating = "deletionTimestamp" in metadata

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def body(self) -> dict[str, Any]:
        decoded: dict[str, Any] = _decoder.decode(self.raw)
        return decoded


_NO_LABELS: Mapping[str, str] = {}


class Change(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Event:
    """One change: `stored` is the object after it (for a deletion: its last state at the deletion's version)."""

    __slots__ = ("change", "line", "previous", "stored", "version")

    def __init__(self, change: Change, stored: Stored, previous: Stored | None) -> None:
        self.change = change
        self.stored = stored
        self.previous = previous
        self.version = stored.version
        self.line: bytes | None = None
        """The event as a line of a plain watch, kept once the first watcher needed it."""


class View:
    """A collection at one version, in order of namespace and name."""

    __slots__ = ("_items", "_keys")

    def __init__(self, keys: Sequence[str], items: Mapping[str, Stored]) -> None:
        self._keys = keys
        self._items = items

    def after(self, key: str, namespace: str) -> Iterator[Stored]:
        """What follows `key` ("" for the start), in `namespace` unless that is empty. Not to be held over a write."""
        start = bisect_right(self._keys, key)
        end = len(self._keys)
        if namespace:
            start = max(start, bisect_left(self._keys, f"{namespace}/"))
            end = bisect_left(self._keys, f"{namespace}0")  # "0" follows "/" in ASCII
        for index in range(start, end):
            yield self._items[self._keys[index]]


class Collection:
    """All objects of one kind. `horizon` is the newest version whose history is lost."""

    def __init__(self, versions: Versions, history: int = HISTORY) -> None:
        self._versions = versions
        self._limit = history
        self._items: dict[str, Stored] = {}
        self._keys: list[str] = []
        self._events: list[Event] = []
        self._dropped = 0
        self._rewound: tuple[int, int, View] | None = None
        self.horizon = versions.current
        self.listeners: set[Callable[[], None]] = set()
        """Called after each change; they must not write."""

    def __len__(self) -> int:
        return len(self._items)

    def get(self, namespace: str, name: str) -> Stored | None:
        return self._items.get(f"{namespace}/{name}")

    def put(self, body: dict[str, Any]) -> Stored:
        """Stores `body` under the next version, which it writes into the metadata. Raises `Oversized`."""
        stored = self._next(body)
        key = stored.key
        previous = self._items.get(key)
        if previous is None:
            insort(self._keys, key)
        self._items[key] = stored
        self._note(Event(Change.MODIFIED if previous else Change.ADDED, stored, previous))
        return stored

    def remove(self, previous: Stored, last_body: dict[str, Any] | None = None) -> Stored:
        """Forgets the object; returns its last state (`last_body`, or as it was) at the version of its deletion."""
        last = self._next(last_body or previous.body())
        del self._items[previous.key]
        del self._keys[bisect_left(self._keys, previous.key)]
        self._note(Event(Change.DELETED, last, previous))
        return last

    def view(self, version: int | None = None) -> View:
        """The collection now, or as it was at `version`; raises `Gone` where its history does not reach back."""
        position = None if version is None else self._position(version)
        if version is None or position == len(self._events):
            return View(self._keys, self._items)
        total = self._dropped + len(self._events)
        if self._rewound and self._rewound[0] == version:
            return self._rewound[2]
        items = dict(self._items)
        for event in reversed(self._events[position:]):
            if event.previous is None:
                items.pop(event.stored.key, None)
            else:
                items[event.stored.key] = event.previous
        view = View(sorted(items), items)
        self._rewound = (version, total, view)
        return view

    def cursor(self, version: int) -> int:
        """Where a watch from `version` begins; raises `Gone` if changes after it are no longer known."""
        return self._dropped + self._position(version)

    def since(self, cursor: int, limit: int) -> Sequence[Event]:
        """At most `limit` changes from `cursor` on, which then moves by their number. Raises `Gone`."""
        if cursor < self._dropped:
            raise Gone(self.horizon)
        start = cursor - self._dropped
        return self._events[start : start + limit]

    def _next(self, body: dict[str, Any]) -> Stored:
        body["metadata"]["resourceVersion"] = str(self._versions.current + 1)
        stored = Stored(body)
        if len(stored.raw) > SIZE_LIMIT:
            raise Oversized(len(stored.raw))
        self._versions.take()
        return stored

    def _position(self, version: int) -> int:
        if version < self.horizon:
            raise Gone(self.horizon)
        return bisect_right(self._events, version, key=_version_of)

    def _note(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) >= 2 * self._limit:  # in halves, so that a write costs O(1) on average
            spare = len(self._events) - self._limit
            self.horizon = self._events[spare - 1].version
            del self._events[:spare]
            self._dropped += spare
            self._rewound = None
        for listener in self.listeners:
            listener()


def _version_of(event: Event) -> int:
    return event.version


class Versions:
    """The one counter behind every resourceVersion. Starts at 1, as a fresh etcd does."""

    def __init__(self) -> None:
        self.current = 1

    def take(self) -> int:
        self.current += 1
        return self.current
