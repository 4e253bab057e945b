"""The requests as this replica last saw them, and the deleted ones for an hour (`dedup.forget_after`).

The watch lags, and a replica's own writes come back with newer versions than the watch has shown yet. Both
are laid into the same index, and for each object the highest `resourceVersion` wins, so the order in which
they arrive does not matter. A deleted object leaves a tomb: its uid never comes back, whatever late event
still speaks of it, and its final marks stay known, so that the next generation does not count them again
(PROTOCOL, rules 13 and 14).

No I/O and no clock: `now` is handed in, in seconds of any clock that only rises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from gateway.kube.holding import Holders, succession
from gateway.kube.objects import window_fingerprint
from gateway.kube.stored import Stored, Tomb
from gateway.model import RequestRef

TOMB_LIFE = 3600.0
"""Seconds for which a tomb is kept at least, unless somebody says otherwise."""


class Index:
    """What is known of every request: by name, by its own fingerprint, and by those of its members.

    Subscribers are called with the fingerprint, in order and synchronously, once what they would read is in
    place: after each `apply` and `remove` that changed something, and never for what was ignored.
    Of an aggregated request that is its own fingerprint and those of the members whose marks changed; of all
    members, where it is new, gone, opened or closed.
    """

    def __init__(self, tomb_life: float = TOMB_LIFE) -> None:
        """`tomb_life` in seconds."""
        self._tomb_life = tomb_life
        self._requests: dict[RequestRef, Stored] = {}
        # Almost every fingerprint has one request, and then it stands here by itself: fifty thousand tuples of one are
        # 3 MiB, and as many objects for the garbage collector to visit.
        self._by_fingerprint: dict[str, Stored | tuple[Stored, ...]] = {}
        self._tombs: dict[str, Tomb] = {}  # by uid, in order of death
        self._tombs_by_fingerprint: dict[str, tuple[Tomb, ...]] = {}
        self._holders: Holders[RequestRef] = Holders()
        self._dead_holders: Holders[str] = Holders()  # tombs by uid
        self._subscribers: list[Callable[[str], None]] = []
        self._now = 0.0

    # --- reading

    def requests(self, fingerprint: str) -> Sequence[Stored]:
        """Every request that exists for it, open and closed, by generation ascending."""
        found = self._by_fingerprint.get(fingerprint, ())
        return found if isinstance(found, tuple) else (found,)

    def open(self, fingerprint: str) -> Stored | None:
        """The open own request of the highest generation; aggregated ones and those of others are left out."""
        found = self._by_fingerprint.get(fingerprint)
        if found is None:
            return None
        last = found[-1] if isinstance(found, tuple) else found  # almost always: every alert asks three times
        if last.open and last.generation and not last.is_storm:
            return last
        for stored in reversed(found) if isinstance(found, tuple) else ():
            if stored.open and stored.generation and not stored.is_storm:
                return stored
        return None

    def tombs(self, fingerprint: str) -> Sequence[Tomb]:
        """Its requests that were deleted within the last hour, by generation ascending."""
        return self._tombs_by_fingerprint.get(fingerprint, ())

    def highest_generation(self, fingerprint: str) -> int:
        """The highest generation known, tombs included; 0 if there was none."""
        living, dead = self.requests(fingerprint), self.tombs(fingerprint)
        return max(living[-1].generation if living else 0, dead[-1].generation if dead else 0)

    def holding(self, fingerprint: str) -> Sequence[Stored]:
        """The aggregated requests, open and closed, that have it as a member; the order is undefined."""
        return [self._requests[ref] for ref in self._holders.of(fingerprint)]

    def holding_tombs(self, fingerprint: str) -> Sequence[Tomb]:
        """The aggregated requests with that member that were deleted within the last hour; the order is undefined."""
        return [self._tombs[uid] for uid in self._dead_holders.of(fingerprint)]

    def window(self, window: str) -> Stored | None:
        """The aggregated request of that window; of several (in different namespaces) an open one if there is one."""
        found = [stored for stored in self.requests(window_fingerprint(window)) if stored.is_storm]
        return max(found, key=lambda stored: (stored.open, stored.resource_version), default=None)

    def window_tomb(self, window: str) -> Tomb | None:
        """The last state of that window's request, if it was deleted within the last hour."""
        found = [tomb for tomb in self.tombs(window_fingerprint(window)) if tomb.is_storm]
        return max(found, key=lambda tomb: tomb.resource_version, default=None)

    def get(self, ref: RequestRef) -> Stored | None:
        return self._requests.get(ref)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Stored]:
        """Every request as of now; changes made meanwhile do not disturb the iteration."""
        return iter(list(self._requests.values()))

    # --- changing

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._subscribers.append(callback)

    def apply(self, stored: Stored, now: float | None = None) -> None:
        """Takes a sighting: an event, a listed object, or the answer to an own write.

        Ignored if the same or a newer version is known, or if that uid is in a tomb. An older object of the
        same name with another uid was deleted unseen, and gets a tomb of `now`, or of the last `now` that was
        handed in.
        """
        self._advance(now)
        self._tell(self._take(stored))

    def remove(self, ref: RequestRef, uid: str, now: float, last: Stored | None = None) -> None:
        """Takes a deletion. `last` is the final state if the caller has it, as the event of a deletion does.

        The tomb gets the newer of `last` and what was known. Nothing happens where neither is there.
        """
        self._advance(now)
        self._tell(self._bury(ref, uid, last))

    def replace(
        self,
        listed: Sequence[Stored],
        list_resource_version: int,
        now: float,
        *,
        namespaces: Collection[str] | None = None,
    ) -> None:
        """Takes a complete list, of all namespaces or of some, as of `list_resource_version`: see `Listing`."""
        listing = Listing(self, lambda: now, namespaces)
        listing.take(listed)
        listing.complete(list_resource_version)

    def bury_unseen(
        self, seen: Collection[str], version: int, now: float, namespaces: Collection[str] | None
    ) -> None:
        """Gives a tomb to what is not newer than `version` and whose uid is not among `seen`."""
        self._advance(now)
        vanished = [
            known
            for known in self._requests.values()
            if known.uid not in seen
            and known.resource_version <= version
            and (namespaces is None or known.namespace in namespaces)
        ]
        changed: dict[str, None] = {}
        for known in vanished:
            changed.update(self._bury(known.ref, known.uid, None))
        self._tell(changed)

    def expire(self, now: float) -> int:
        """Forgets the tombs that have had their life; returns how many that were."""
        self._advance(now)
        expired = []
        for tomb in self._tombs.values():
            if now - tomb.died_at < self._tomb_life:
                break
            expired.append(tomb)
        for tomb in expired:
            del self._tombs[tomb.uid]
            self._dead_holders.discard(tomb.members or (), tomb.uid)
            self._put_tombs(tomb.fingerprint, (t for t in self.tombs(tomb.fingerprint) if t.uid != tomb.uid))
        return len(expired)

    # --- inside: each returns the fingerprints that it changed, as the keys of a dict (ordered, unique)

    def _advance(self, now: float | None) -> None:
        if now is not None:
            self._now = max(self._now, now)

    def _tell(self, changed: dict[str, None]) -> None:
        for fingerprint in changed:
            for callback in self._subscribers:
                callback(fingerprint)

    def _take(self, stored: Stored) -> dict[str, None]:
        if stored.uid in self._tombs:
            return {}
        known = self._requests.get(stored.ref)
        if known is None:
            self._insert(stored)
            return _told(stored)
        if known.resource_version >= stored.resource_version:
            if known.uid == stored.uid:
                return {}
            # A late sighting of the object that had this name before.
            return self._entomb(stored)
        if known.uid != stored.uid:
            changed = self._bury(known.ref, known.uid, None)
            self._insert(stored)
            return changed | _told(stored)
        return self._renew(known, stored)

    def _renew(self, known: Stored, stored: Stored) -> dict[str, None]:
        stored, come, gone, changed = succession(known, stored)
        self._forget(known)
        self._remember(stored)
        self._holders.add(come, stored.ref)
        self._holders.discard(gone, stored.ref)
        return {known.fingerprint: None, stored.fingerprint: None} | dict.fromkeys(changed)

    def _bury(self, ref: RequestRef, uid: str, last: Stored | None) -> dict[str, None]:
        known = self._requests.get(ref)
        if known is not None and known.uid == uid:
            self._drop(known)
            final = known if last is None or last.resource_version < known.resource_version else last
            return self._entomb(final) | _told(known)
        return {} if last is None else self._entomb(last)

    def _entomb(self, last: Stored) -> dict[str, None]:
        old = self._tombs.get(last.uid)
        if old is not None and old.resource_version >= last.resource_version:
            return {}
        # A tomb that was made from an older state keeps its date and its place among the dates.
        tomb = Tomb.of(last, self._now if old is None else old.died_at)
        self._tombs[last.uid] = tomb
        if old is not None:
            self._dead_holders.discard(old.members or (), last.uid)
        self._dead_holders.add(tomb.members or (), last.uid)
        others = (t for t in self.tombs(last.fingerprint) if t.uid != last.uid)
        self._put_tombs(last.fingerprint, (*others, tomb))
        return _told(last) if old is None else _told(last) | _told(old)

    def _put_tombs(self, fingerprint: str, tombs: Collection[Tomb] | Iterator[Tomb]) -> None:
        ordered = tuple(sorted(tombs, key=lambda t: (t.generation, t.resource_version)))
        if ordered:
            self._tombs_by_fingerprint[fingerprint] = ordered
        else:
            self._tombs_by_fingerprint.pop(fingerprint, None)

    def _insert(self, stored: Stored) -> None:
        self._remember(stored)
        self._holders.add(stored.members or (), stored.ref)

    def _drop(self, stored: Stored) -> None:
        self._forget(stored)
        self._holders.discard(stored.members or (), stored.ref)

    def _remember(self, stored: Stored) -> None:
        self._requests[stored.ref] = stored
        if not stored.fingerprint:
            return  # someone else's; nobody asks for it, and there may be thousands
        others = self.requests(stored.fingerprint)
        if not others:
            self._by_fingerprint[stored.fingerprint] = stored
            return
        ordered = sorted((*others, stored), key=lambda s: (s.generation, s.ref.namespace, s.ref.name))
        self._by_fingerprint[stored.fingerprint] = tuple(ordered)

    def _forget(self, stored: Stored) -> None:
        del self._requests[stored.ref]
        if not stored.fingerprint:
            return
        rest = tuple(s for s in self.requests(stored.fingerprint) if s.ref != stored.ref)
        if rest:
            self._by_fingerprint[stored.fingerprint] = rest if len(rest) > 1 else rest[0]
        else:
            del self._by_fingerprint[stored.fingerprint]


class Listing:
    """A complete list on its way into an index, page by page.

    What is listed is a sighting like any other, and is there as soon as its page is: so no page need be kept for the
    others, and the event loop never stands still for fifty thousand requests at once. What was known and was in no
    page was deleted unseen; it gets a tomb at the end, except what is newer than the list: own writes that were
    answered while it was on its way. A list that breaks off has buried nothing.
    """

    def __init__(
        self, index: Index, clock: Callable[[], float], namespaces: Collection[str] | None = None
    ) -> None:
        """`clock` dates tombs, in seconds. `namespaces`: the only ones that are listed, None for all."""
        self._index = index
        self._clock = clock
        self._namespaces = namespaces
        self._seen: set[str] = set()

    def take(self, page: Iterable[Stored]) -> None:
        """One more page."""
        now = self._clock()
        for stored in page:
            self._index.apply(stored, now)
            known = self._index.get(stored.ref)
            # Of two equal texts the one that is kept anyway.
            self._seen.add(known.uid if known is not None and known.uid == stored.uid else stored.uid)

    def complete(self, resource_version: int) -> None:
        """There was no more, as of `resource_version`."""
        self._index.bury_unseen(self._seen, resource_version, self._clock(), self._namespaces)


def _told(stored: Stored | Tomb) -> dict[str, None]:
    """Everyone whom it concerns that this request is there or gone."""
    return {stored.fingerprint: None} | dict.fromkeys(stored.members or ())
