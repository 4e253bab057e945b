"""From the index to what `planning` and `healing` decide on, and to what a message says of a fingerprint."""

from __future__ import annotations

from typing import NamedTuple

from gateway.engine.ledger import Slot
from gateway.engine.marks import parse, read
from gateway.engine.planning import Gone, Known, View
from gateway.kube.index import Index
from gateway.kube.stored import Stored
from gateway.state.records import WindowState


def view_of(index: Index, fingerprint: str) -> View:
    """All that the index knows of the requests that hold a fingerprint: its own, and aggregated ones.

    What has no generation was made by somebody else, with a fingerprint that happens to be the same: it is not ours
    to count on, to heal or to name as predecessor.
    """
    own = [known(stored) for stored in index.requests(fingerprint) if stored.generation]
    gone = [Gone(tomb.generation, parse(tomb.applied, fingerprint)) for tomb in index.tombs(fingerprint)]
    own.extend(_holding(stored, fingerprint) for stored in index.holding(fingerprint))
    gone.extend(
        Gone(0, read(tomb.members[fingerprint].applied))
        for tomb in index.holding_tombs(fingerprint)
        if tomb.members and fingerprint in tomb.members
    )
    return View(own, gone)


def known(stored: Stored) -> Known:
    """One stored request of a fingerprint's own, with its marks read."""
    return Known(
        ref=stored.ref,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=stored.generation,
        open=stored.open,
        marks=parse(stored.applied, stored.fingerprint),
        resolved_since=stored.resolved_starts_at,
        resolved_at=stored.resolved_at,
        count=stored.count,
    )


def _holding(stored: Stored, fingerprint: str) -> Known:
    assert stored.members is not None
    member = stored.members[fingerprint]
    return Known(
        ref=stored.ref,
        uid=stored.uid,
        resource_version=stored.resource_version,
        generation=0,
        open=stored.open,
        marks=read(member.applied),
        resolved_since=member.resolved_since,
        resolved_at=member.resolved_at,
        window=stored.window,
        count=stored.count,
    )


def open_holder(index: Index, fingerprint: str) -> Stored | None:
    """The open request that holds the fingerprint: its own, else an aggregated one."""
    stored = index.open(fingerprint)
    if stored is not None:
        return stored
    return next((holder for holder in index.holding(fingerprint) if holder.open), None)


def resolved_since(index: Index, fingerprint: str) -> str:
    """The start of the latest episode that is known to have ended; empty where none is."""
    known_ends = [stored.resolved_starts_at for stored in index.requests(fingerprint)]
    known_ends += [tomb.resolved_starts_at for tomb in index.tombs(fingerprint)]
    several = [holder.members for holder in index.holding(fingerprint)]
    several += [tomb.members for tomb in index.holding_tombs(fingerprint)]
    known_ends += [members[fingerprint].resolved_since for members in several if members]
    return max(known_ends, default="")


class Remembered(NamedTuple):
    """What this process can tell Redis of a fingerprint's window."""

    window: str = ""
    state: WindowState = WindowState.NONE
    end: int = 0
    closed: tuple[str, ...] = ()


def remembered(index: Index, fingerprint: str, slot: Slot | None) -> Remembered:
    """The window whose open request holds the fingerprint, else the slot's; and those that are known to be over."""
    holders = index.holding(fingerprint)
    closed = [stored.window for stored in holders if not stored.open]
    closed += [tomb.window for tomb in index.holding_tombs(fingerprint)]
    written = next((stored.window for stored in holders if stored.open), "")
    if written:
        return Remembered(written, WindowState.WRITTEN, 0, tuple(closed))
    held = slot.held if slot is not None else None
    if held is None:
        return Remembered(closed=tuple(closed))
    stored = index.window(held.id)
    if (stored is not None and not stored.open) or index.window_tomb(held.id) is not None:
        return Remembered(closed=(*closed, held.id))
    storming = held.storming or stored is not None
    state = WindowState.STORMING if storming else WindowState.HOLDING
    return Remembered(held.id, state, held.end, tuple(closed))
