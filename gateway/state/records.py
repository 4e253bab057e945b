"""What travels between the gateway and the scripts, as typed structs that encode to MessagePack arrays.

One binary argument a call, one binary reply: cheaper than hundreds of separate arguments, and typed on both sides.
Field order is the wire format; the `.lua` files name the positions in their head comments.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Literal

import msgspec

from gateway.model import Hold

IMMEDIATE = Hold(0, 0, 0, 0, False, 0, 0)
"""What a message says of an alert that no window holds."""


class Kind(StrEnum):
    """What a message says of its fingerprint."""

    FIRING = "f"
    RESOLVED = "r"


class WindowState(IntEnum):
    """What the caller knows of the window that it names."""

    NONE = 0
    HOLDING = 1
    STORMING = 2
    WRITTEN = 3
    """Its request is open."""


class Admission(msgspec.Struct, frozen=True, array_like=True):
    """One process's word about one fingerprint: slot `slot` has reached `value`, or the episode is over."""

    fingerprint: str
    kind: Kind
    slot: str
    value: int
    starts_at: str
    dated: bool = True
    """False where `starts_at` is only the time of receipt: such an alert is never stale."""
    ends_at: str = ""
    open_generation: int = 0
    """The generation of the open request that the caller knows; 0 where it knows none."""
    closed_generation: int = 0
    """The highest generation that the caller knows as closed or deleted."""
    resolved_since: str = ""
    """`startsAt` of the latest ended episode that the caller's index knows: what Redis forgot, Kubernetes kept."""
    payload: str = ""
    """What the request is made of (JSON); may be empty while a request is open."""
    asserted: bool = False
    """The occurrences were accepted before, or may have been: they are never stale, and no limit applies to them."""
    limited: bool = False
    """The queue was full when the webhook came: take nothing that would need a new request."""
    group: str = ""
    rule: Hold = IMMEDIATE
    """How it is held, should it be new."""
    proposal: str = ""
    """The id of the window, should one be opened for it; never proposed before."""
    window: str = ""
    """The window that the slot was in, as far as the caller remembers, or whose open request has the fingerprint."""
    window_state: WindowState = WindowState.NONE
    window_end: int = 0
    """When that window ends, ms since 1970 by the clock of Redis."""
    closed_windows: Sequence[str] = ()
    """Windows with this member whose request the caller knows as closed or deleted."""
    settled: int = 0
    """Up to here the caller knows the slot as settled. It may be the only one: a request that it wrote directly, and
    that was deleted before another replica saw it, left no trace elsewhere."""


class Standing(StrEnum):
    """Where the fingerprint stands after the admission."""

    OPEN = "open"
    """Counted; an open request holds it."""
    NEW = "new"
    """Counted; a request is to be created because of it."""
    PENDING = "pending"
    """Counted; a request is about to be created because of an earlier one."""
    HELD = "held"
    """Counted; a window holds it, or the window's request does."""
    SETTLED = "settled"
    """Counted before: the number was stored already."""
    WITHDRAWN = "withdrawn"
    """Not counted: the number belongs to an episode that resolved in its window; send again with a higher one."""
    DEAD = "dead"
    """Counted; its request cannot be written, it is among the dead letters."""
    STALE = "stale"
    """Not counted: a snapshot of an episode that was already resolved."""
    FULL = "full"
    """Not counted: the queue is full and writes fail."""
    WANTS_PAYLOAD = "wants-payload"
    """Not counted: Redis does not know what the request is made of; send again with the payload."""
    RESOLVED = "resolved"
    """The episode's end is noted."""

    @property
    def counted(self) -> bool:
        """The occurrences of the message are taken."""
        return (
            self is Standing.OPEN
            or self is Standing.NEW
            or self is Standing.PENDING
            or self is Standing.HELD
            or self is Standing.SETTLED
            or self is Standing.DEAD
        )


class Held(msgspec.Struct, frozen=True, array_like=True):
    """The window that holds an alert."""

    id: str
    storming: bool
    closed: bool
    """It collects no more: its request is being written, or stands."""
    ends_at: int
    """Milliseconds since 1970, by the clock of Redis."""
    members: int
    event: str
    """What this message made of it: opened, storming, spilled, full, recreated, or nothing new."""


class Admitted(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one admission."""

    standing: Standing
    generation: int
    """Of the open request, or of the one to be created."""
    base: int
    """Up to here the slot is settled (SETTLED, WITHDRAWN); of a resolved alert: how many held occurrences it took out
    of a window; else: up to here the slot was settled by resolving, so that no request holds it."""
    fresh: bool
    """The record did not exist before."""
    window: Held | None = None


class AdmitReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a batch; empty with `noted` where notes have to be taken first."""

    noted: bool
    results: list[Admitted]
    due_in: int
    """Milliseconds until the next item of the shard's queue is due; -1 where it is empty."""
    wait: int
    """Milliseconds until a count that is queued now has its turn to be written."""
    life: str = ""
    """Names the life of the shard's data: another one after a flush. If the caller named another, nothing was done."""


class ClaimedSlot(msgspec.Struct, frozen=True, array_like=True):
    """One slot of a claimed record that is not settled yet."""

    slot: str
    value: int
    base: int


class Claimed(msgspec.Struct, frozen=True, array_like=True):
    """One fingerprint whose turn it is to be written."""

    fingerprint: str
    slots: list[ClaimedSlot]
    generation: int
    attempts: int
    firing_since: str
    resolved_since: str
    resolved_at: str
    payload: str
    """Empty for the members of a window: there are many, and most are written already."""
    source: str = ""
    """What makes the request, if one is made; empty for a new alert."""


class ClaimedWindow(msgspec.Struct, frozen=True, array_like=True):
    """A window some of whose members are to be written."""

    id: str
    group: str
    collecting: bool
    attempts: int
    more: bool
    """There are further members to write than these."""
    members: list[Claimed]
    closing: bool = False
    """It ended just now."""


class Expired(msgspec.Struct, frozen=True, array_like=True):
    """A window that ended below its threshold."""

    id: str
    members: int
    """How many became requests of their own."""


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What was claimed, and how the shard stands."""

    items: list[Claimed]
    due_in: int
    depth: int
    identity: str
    """Changes when the server or its data were replaced: its `run_id` and the shard's sentinel. Empty if not asked."""
    corrupt: int = 0
    """Records that were set aside because they were not of our making, since somebody last asked."""
    windows: list[ClaimedWindow] = []
    expired: list[Expired] = []
    collecting: int = 0
    """Windows of the shard that take members."""


class Confirmation(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in Kubernetes for one fingerprint."""

    fingerprint: str
    covered: dict[str, int]
    """Slot → the number up to which it is settled."""
    open_generation: int
    """Of the open request; 0 where none is."""
    closed_generation: int
    wrote: bool
    marked: str
    """The resolved mark of the demand that was fulfilled: nothing about it is left to write."""


class MemberConfirmation(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in Kubernetes for one member of a window."""

    fingerprint: str
    covered: dict[str, int]
    open_generation: int
    """Of the open request of its own; 0 where there is none."""
    closed_generation: int
    released: bool
    """The aggregated request cannot take what is left of it."""
    marked: str


class WindowConfirmation(msgspec.Struct, frozen=True, array_like=True):
    """What was seen in Kubernetes for a window."""

    id: str
    gone: bool
    """Its request is closed, deleted or impossible: whatever is left gets requests of its own."""
    wrote: bool
    members: list[MemberConfirmation]


class OpenWindow(msgspec.Struct, frozen=True, array_like=True):
    """A window that collects. Times in milliseconds since 1970, by the clock of Redis."""

    id: str
    group: str
    storming: bool
    opened_at: int
    last_at: int
    ends_at: int
    members: int
    threshold: int
    spilled: int
    """How often its buffer was full."""


class OpenWindows(msgspec.Struct, frozen=True, array_like=True):
    """A part of the windows that collect, by their end."""

    now: int
    mended: int
    """So many were in no queue, and are now."""
    windows: list[OpenWindow]


class WindowSeen(msgspec.Struct, frozen=True, array_like=True):
    """The window that a fingerprint is held in."""

    id: str
    group: str
    storming: bool
    closed: bool
    """It collects no more: its request is being written."""
    ends_at: int
    members: int


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What Redis holds of one fingerprint. Times in milliseconds since 1970, by the clock of Redis."""

    now: int
    known: bool
    due_at: int
    """-1 where it is not in the queue."""
    generation: int
    attempts: int
    """Failed ones, since it was last written."""
    unwritten: int
    """Occurrences that no request is known to hold."""
    pending: bool
    """Something is to be written: occurrences, or the mark that it has resolved."""
    dead: str
    """Why its request can never be written; empty where it can."""
    dead_since: int
    window: WindowSeen | Literal[False] = False


class Note(msgspec.Struct, frozen=True, array_like=True):
    """An alert of a body that was answered 503, and was taken all the same."""

    body: str
    """A digest of the whole body."""
    alert: str
    """Which alert of it."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A request that can never be written as it is."""

    fingerprint: str
    reason: str
    since_ms: int
    """When it was put there, milliseconds since 1970 by the clock of Redis."""
    payload: str
    occurrences: int
