"""The ledger: what this process accepted, numbered by itself, until Kubernetes has it.

A slot is this process's count for one fingerprint. Only this process assigns its numbers, and they only grow:

* `acc`   taken for certain by Redis or Kubernetes;
* `sent`  the highest number ever sent anywhere. What lies between `acc` and `sent` are *ghosts*: their outcome is
          unknown, and the next admission sends the same numbers again, so that a ghost is never a second occurrence;
* `conf`  settled by a stored request.

While `acc > conf` the slot is *unconfirmed*: it keeps what its request is made of, and is asserted again and again
until a stored request covers it. That, and not Redis, is why losing all of Redis's data loses nothing.

A slot's name is never used again. It leaves memory only when nothing about it is open any more, because a message
about it may still be under way, and would then speak of other occurrences.

Pure: no I/O, the clock handed in (monotonic seconds).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from gateway.model import Hold, Signal

FIRST_ASSERTION = 2.0
"""Seconds after which an unconfirmed slot is asserted for the first time."""

LONGEST_ASSERTION = 30.0
"""Seconds between assertions at the most."""

GHOST_LIFE = 3600.0
"""Seconds after which a slot with nothing but ghosts is given up: a sender retries for minutes, not for hours."""


class Source(Protocol):
    """What a request can be made of; built only when it is needed."""

    @property
    def starts_at(self) -> str: ...

    def signal(self) -> Signal: ...

    def hold(self) -> Hold | None: ...


class Kept:
    """A source that holds nothing but what is made of it: a reading holds the body of its whole webhook."""

    __slots__ = ("_hold", "_signal", "starts_at")

    def __init__(self, source: Source) -> None:
        self._signal = source.signal()
        self._hold = source.hold()
        self.starts_at = source.starts_at

    def hold(self) -> Hold | None:
        return self._hold

    def signal(self) -> Signal:
        return self._signal


class HeldIn:
    """A window as this process remembers it, shared by all slots that are in it."""

    __slots__ = ("__weakref__", "end", "id", "storming")

    def __init__(self, window: str) -> None:
        self.id = window
        self.storming = False
        self.end = 0
        """Milliseconds since 1970, by the clock of Redis."""


class Slot:
    """One process's count for one fingerprint."""

    __slots__ = (
        "acc",
        "asserted_at",
        "conf",
        "counted",
        "delay",
        "fingerprint",
        "held",
        "lost",
        "name",
        "opened",
        "sent",
        "source",
        "touched",
        "unconfirmed_since",
        "windows_opened",
    )

    def __init__(self, name: str, fingerprint: str, now: float) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.acc = 0
        self.sent = 0
        self.conf = 0
        self.counted = 0
        """How many accepted occurrences were told as confirmed: min(acc, conf), once each."""
        self.source: Source | None = None
        """What the request is made of, while anything is unconfirmed."""
        self.touched = now
        self.unconfirmed_since = now
        self.asserted_at = now
        self.delay = FIRST_ASSERTION
        self.lost = False
        """Redis had forgotten the record when it was asserted: a request made now is the repair's doing."""
        self.opened = 0
        """The last generation that this slot counted as created."""
        self.held: HeldIn | None = None
        """The window that it is in, while anything is unconfirmed."""
        self.windows_opened: frozenset[str] = frozenset()
        """Windows whose requests are stored, and that this slot counted as created."""

    @property
    def unconfirmed(self) -> int:
        """Accepted occurrences that no stored request covers yet."""
        return self.acc - self.conf if self.acc > self.conf else 0

    @property
    def window(self) -> str:
        """The id of the window that it is in; empty where it is in none."""
        return self.held.id if self.held is not None else ""

    @property
    def storming(self) -> bool:
        """The window that it is in is a storm."""
        return self.held is not None and self.held.storming

    @property
    def haunted(self) -> bool:
        """There are ghosts: the next number may have been counted already, so it must not be refused any more."""
        return self.sent > self.acc

    @property
    def idle(self) -> bool:
        return self.conf >= self.acc and self.sent <= self.acc


class Ledger:
    """All slots of this process."""

    def __init__(self, process_id: str) -> None:
        self.process_id = process_id
        self._slots: dict[str, Slot] = {}
        self._unconfirmed: dict[str, Slot] = {}  # by name: an inherited fingerprint may have several
        self._inherited: dict[str, list[Slot]] = {}
        self._numbers = itertools.count(1)
        self._windows = itertools.count(1)
        self._held_in: WeakValueDictionary[str, HeldIn] = WeakValueDictionary()
        self.patience = FIRST_ASSERTION
        """Seconds for which a slot may be unconfirmed before it is asserted: longer while many writes wait."""
        self.on_settled: Callable[[str, int], None] = _nobody
        """Called with a slot's name and number when everything of it is settled that was accepted."""

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, fingerprint: str) -> Slot | None:
        return self._slots.get(fingerprint)

    def open(self, fingerprint: str, now: float) -> Slot:
        """The fingerprint's slot; a new one, under a name never used before, where there is none."""
        slot = self._slots.get(fingerprint)
        if slot is None:
            slot = Slot(f"{self.process_id}.{next(self._numbers)}", fingerprint, now)
            self._slots[fingerprint] = slot
        return slot

    def send(self, slot: Slot, occurrences: int, now: float) -> int:
        """The number to send for so many more occurrences. Ghosts are reused, taken numbers never are."""
        value = slot.acc + occurrences
        slot.sent = max(slot.sent, value)
        slot.touched = now
        return value

    def unsent(self, slot: Slot, before: int) -> None:
        """The last `send` certainly reached nobody; `before` is what `sent` was until then."""
        slot.sent = max(slot.acc, before)

    def taken(self, slot: Slot, value: int, source: Source, now: float) -> int:
        """Redis or Kubernetes has taken everything up to `value`, whatever the webhook is answered later.

        Returns how many accepted occurrences are newly known as confirmed.
        """
        if value > slot.acc:
            if slot.acc <= slot.conf:
                slot.unconfirmed_since = slot.asserted_at = now
                slot.delay = FIRST_ASSERTION
            slot.acc = value
        if slot.acc > slot.conf:
            slot.source = source
            self._unconfirmed[slot.name] = slot
        return self._settle(slot)

    def confirm(self, slot: Slot, value: int) -> int:
        """A stored request settles the slot up to `value`; returns like `taken`."""
        slot.conf = max(slot.conf, value)
        if slot.conf >= slot.acc:
            self._all_settled(slot)
        return self._settle(slot)

    def _all_settled(self, slot: Slot) -> None:
        slot.source = slot.held = None
        if self._unconfirmed.pop(slot.name, None) is None:
            return
        self.on_settled(slot.name, slot.conf)
        inherited = self._inherited.get(slot.fingerprint)
        if inherited is not None and slot in inherited:
            inherited.remove(slot)
            if not inherited:
                del self._inherited[slot.fingerprint]

    def _settle(self, slot: Slot) -> int:
        newly = min(slot.acc, slot.conf) - slot.counted
        if newly <= 0:
            return 0
        slot.counted += newly
        return newly

    def withdraw(self, slot: Slot, base: int) -> None:
        """Everything up to `base` was settled by resolving: that was counted there, and no request holds it."""
        slot.acc = max(slot.acc, base)
        slot.sent = max(slot.sent, base)
        slot.conf = max(slot.conf, base)
        slot.counted = max(slot.counted, min(slot.acc, slot.conf))
        if slot.conf >= slot.acc:
            self._all_settled(slot)

    def inherit(self, slot: Slot, source: Source) -> None:
        """Assert the slot of another process, which is dead, until everything of it is settled.

        It is never given another number, since only its process could; and what is confirmed of it is not told as
        accepted here.
        """
        slot.source = source
        slot.counted = slot.acc
        self._unconfirmed[slot.name] = slot
        self._inherited.setdefault(slot.fingerprint, []).append(slot)

    def inherited(self, fingerprint: str) -> Sequence[Slot]:
        """The slots of dead processes for the fingerprint that are not settled."""
        return tuple(self._inherited.get(fingerprint, ()))

    def unsettled(self) -> list[Slot]:
        """Every slot with occurrences that no stored request covers yet."""
        return list(self._unconfirmed.values())

    def hold(self, slot: Slot, window: str, *, storming: bool, end: int) -> None:
        """Redis holds the slot in a window. Whatever one slot learns of it, all that are in it know."""
        memory = self._held_in.get(window)
        if memory is None:
            memory = self._held_in[window] = HeldIn(window)
        memory.storming, memory.end = storming, end
        if slot.unconfirmed:
            slot.held = memory

    def held(self) -> list[Slot]:
        """Every unconfirmed slot that is in a window."""
        return [slot for slot in self._unconfirmed.values() if slot.held is not None]

    def propose_window(self) -> str:
        """An id for a window that was never proposed before."""
        return f"{self.process_id}-{next(self._windows):x}"

    @property
    def unconfirmed(self) -> int:
        """How many slots have accepted occurrences that no stored request covers yet."""
        return len(self._unconfirmed)

    def unconfirmed_occurrences(self) -> int:
        """How many accepted occurrences no stored request covers yet."""
        return sum(slot.unconfirmed for slot in self._unconfirmed.values())

    def due(self, now: float, *, behind: float = 0.0) -> Iterator[Slot]:
        """The unconfirmed slots that are to be asserted now; each backs off up to `LONGEST_ASSERTION`.

        `behind`: seconds that the writes need for what waits for them, so that nothing is asserted that has its turn
        still to come.
        """
        patience = self.patience + behind
        for slot in list(self._unconfirmed.values()):
            if now >= slot.asserted_at + (slot.delay if slot.delay <= 0 else max(slot.delay, patience)):
                slot.asserted_at = now
                if slot.source is not None:
                    slot.source = Kept(slot.source)
                slot.delay = min(max(slot.delay, FIRST_ASSERTION) * 2, LONGEST_ASSERTION)
                yield slot

    def hurry(self) -> None:
        """Every unconfirmed slot is due now: Redis, or its data, is not what it was."""
        for slot in self._unconfirmed.values():
            slot.delay = 0.0

    def forget(self, fingerprints: Iterable[str], now: float) -> int:
        """Drop the slots of fingerprints that no open request holds, as far as nothing about them is open."""
        dropped = 0
        for fingerprint in fingerprints:
            slot = self._slots.get(fingerprint)
            if slot is None or slot.conf < slot.acc:
                continue
            if slot.idle or now - slot.touched > GHOST_LIFE:
                del self._slots[fingerprint]
                dropped += 1
        return dropped

    def fingerprints(self) -> list[str]:
        """Every fingerprint that has a slot."""
        return list(self._slots)


def _nobody(_slot: str, _value: int) -> None:
    """Nobody wants to know."""
