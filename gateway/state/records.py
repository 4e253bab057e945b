"""What travels between the gateway and the scripts, as typed structs that encode to MessagePack arrays.

One binary argument a call, one binary reply: cheaper than hundreds of separate arguments, and typed on both sides.
Field order is the wire format; the `.lua` files name the positions in their head comments.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a message says of its fingerprint."""

    FIRING = "f"
    RESOLVED = "r"


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


class Standing(StrEnum):
    """Where the fingerprint stands after the admission."""

    OPEN = "open"
    """Counted; an open request holds it."""
    NEW = "new"
    """Counted; a request is to be created because of it."""
    PENDING = "pending"
    """Counted; a request is about to be created because of an earlier one."""
    SETTLED = "settled"
    """Counted before: the number was stored already."""
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
            or self is Standing.SETTLED
            or self is Standing.DEAD
        )


class Admitted(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one admission."""

    standing: Standing
    generation: int
    """Of the open request, or of the one to be created."""
    base: int
    """Up to here the slot is settled."""
    fresh: bool
    """The record did not exist before."""


class AdmitReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a batch; empty with `noted` where notes have to be taken first."""

    noted: bool
    results: list[Admitted]
    due_in: int
    """Milliseconds until the next item of the shard's queue is due; -1 where it is empty."""
    wait: int
    """Milliseconds until a count that is queued now has its turn to be written."""


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


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What was claimed, and how the shard stands."""

    items: list[Claimed]
    due_in: int
    depth: int
    identity: str
    """Changes when the server or its data were replaced: its `run_id` and the shard's sentinel. Empty if not asked."""
    corrupt: int = 0
    """Records that were set aside because they were not of our making, since somebody last asked."""


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
