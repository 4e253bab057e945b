"""Which namespaces exist, and which environment each says it belongs to; kept up to date by a reflector.

Asked on the way of every new alert, so it answers from memory, and "not known" where it cannot: before the
first list, or where the gateway may not read namespaces at all. No request's place depends on it being right: whether
a namespace came or went a moment ago shows in the answer to the write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from gateway.kube.client import Cluster
from gateway.kube.decoding import Event, Page
from gateway.kube.observing import Observer
from gateway.kube.reflector import Pace, Reflector
from gateway.kube.stored import Space


class Namespaces:
    """The namespaces as last seen: the sink of their reflector, empty-handed until that has listed."""

    def __init__(self) -> None:
        self._spaces: dict[str, Space] = {}
        self.listed = False
        """Whether they could be listed once."""

    def exists(self, namespace: str) -> bool | None:
        """None where it is not known. One that is being deleted takes no new objects, and counts as gone."""
        if not self.listed:
            return None
        space = self._spaces.get(namespace)
        return space is not None and not space.deleted

    def environment(self, namespace: str) -> str | None:
        """The value of the namespace's label; None without one, and where nothing is known."""
        space = self._spaces.get(namespace)
        return None if space is None else space.environment

    def apply(self, item: Space) -> None:
        known = self._spaces.get(item.name)
        if known is None or known.resource_version < item.resource_version:
            self._spaces[item.name] = item

    def remove(self, item: Space) -> None:
        known = self._spaces.get(item.name)
        if known is not None and known.resource_version <= item.resource_version:
            del self._spaces[item.name]

    def listing(self) -> _Listing:
        return _Listing(self)

    def replace(self, spaces: dict[str, Space]) -> None:
        """These, by name, are all that there are."""
        self._spaces = spaces
        self.listed = True


class _Listing:
    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._found: dict[str, Space] = {}

    def take(self, page: Sequence[Space]) -> None:
        self._found.update({space.name: space for space in page})

    def complete(self, resource_version: int) -> None:
        self._namespaces.replace(self._found)


class _Spaces:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pages(self) -> AsyncGenerator[Page[Space], None]:
        return self._cluster.space_pages()

    def watch(
        self, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[Space], None]:
        return self._cluster.watch_spaces(resource_version, seconds=seconds, inactivity=inactivity)


def namespace_reflector(
    cluster: Cluster,
    namespaces: Namespaces,
    *,
    pace: Pace | None = None,
    observer: Observer | None = None,
) -> Reflector[Space]:
    """What keeps `namespaces` up to date. Without permission to list, it goes on trying; all stay unknown."""
    return Reflector("namespaces", _Spaces(cluster), namespaces, pace=pace, observer=observer)
