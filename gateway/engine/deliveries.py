"""What is on its way through admission: a webhook's alerts, and what became of each."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec

from gateway import errors
from gateway.engine.ledger import Slot
from gateway.intake.reading import Reading
from gateway.state.records import Held, Standing


class Fate(msgspec.Struct, gc=False):
    """What became of one unit; shared by every alert that was folded into it."""

    standing: Standing | None
    """None where it was not taken: `error` says why, or `detail` that it never can be."""
    generation: int = 0
    detail: str = ""
    error: errors.GatewayError | None = None
    window: Held | None = None

    @property
    def counted(self) -> bool:
        return self.standing is not None and self.standing.counted


class Delivery:
    """One webhook's alerts on their way."""

    __slots__ = ("_body", "_digest", "_waiting", "fates", "left", "readings", "trace")

    def __init__(self, readings: Sequence[Reading], body: bytes, trace: str = "") -> None:
        """`trace` is the context of the webhook's span, empty where there is none."""
        self.readings = readings
        self.trace = trace
        self.fates: list[Fate | None] = [None] * len(readings)
        self.left = len(readings)
        self._waiting: list[asyncio.Future[None]] = []
        self._body = body
        self._digest = ""

    @property
    def digest(self) -> str:
        """Names the body; computed only when something is named after it."""
        if not self._digest:
            self._digest = hashlib.sha256(self._body).hexdigest()[:32]
        return self._digest

    def settled_or_not(self) -> tuple[list[int], list[int]]:
        """The positions of the alerts that have a fate, and of those that have none yet."""
        told: tuple[list[int], list[int]] = [], []
        for position, fate in enumerate(self.fates):
            told[fate is None].append(position)
        return told

    def settle(self, position: int, fate: Fate) -> None:
        if self.fates[position] is None:
            self.fates[position] = fate
            self.left -= 1
            if not self.left:
                for waiter in self._waiting:
                    if not waiter.done():
                        waiter.set_result(None)

    async def settled(self) -> None:
        """Returns when every alert has a fate. Whoever is cancelled here ends its own waiting, and nobody else's."""
        if self.left:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter


Key = tuple[str, str, bool]
"""Fingerprint, start of the episode, and whether it is over. (No enum: hashing one is a call of Python code.)"""


class Unit(msgspec.Struct, gc=False, eq=False):
    """All waiting alerts that say the same: one fingerprint, one episode, firing or resolved."""

    fingerprint: str
    key: Key
    reading: Reading
    shard: int
    limited: bool
    members: list[tuple[Delivery, int]] = []
    with_payload: bool = False
    slot: Slot | None = None
    """Where it is counted, and `value` what that reaches with it; set when it is sent, for firing ones."""
    value: int = 0
    sent_before: int = 0
    """What the slot's `sent` was before: it is that again where the number certainly reached nobody."""

    def settle(self, fate: Fate) -> None:
        """Tell every member. Of alerts that were folded, the first is the one that asks for a new request."""
        for delivery, position in self.members:
            delivery.settle(position, fate)
            if fate.standing is Standing.NEW:
                fate = Fate(Standing.PENDING, fate.generation)


def note_name(reading: Reading) -> str:
    """Names an alert within a body, the same when the body comes again."""
    return f"{reading.fingerprint}@{reading.starts_at if reading.dated else ''}"
