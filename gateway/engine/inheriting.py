"""Inheriting: what dead processes left in the journal is asserted by this one, under their slots and numbers.

They are asserted like the process's own unconfirmed slots, through Redis or directly, until a stored request covers
them or Redis says that they are settled (`repairing`). Anyone may say for anyone that a slot has reached a number; but
no new number is ever given to them, because a message of the dead process about it may still be under way.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.engine.entries import Entry
from gateway.engine.ledger import Ledger, Slot
from gateway.model import Hold, Signal


class _Left:
    """A source made of what the journal kept."""

    __slots__ = ("_hold", "_signal", "starts_at")

    def __init__(self, signal: Signal, hold: Hold | None) -> None:
        self._signal = signal
        self._hold = hold
        self.starts_at = signal.starts_at

    def hold(self) -> Hold | None:
        return self._hold

    def signal(self) -> Signal:
        return self._signal


def inherit(entries: Iterable[Entry], ledger: Ledger, now: float) -> None:
    """Put into the ledger what is not settled; it is asserted at the next look."""
    for entry in entries:
        if entry.signal is None or entry.settled:
            continue
        slot = Slot(entry.slot, entry.signal.fingerprint, now)
        slot.acc = slot.sent = entry.value
        slot.conf = entry.base
        slot.delay = 0.0
        ledger.inherit(slot, _Left(entry.signal, entry.hold))
        if entry.window:
            ledger.hold(slot, entry.window, storming=entry.storming, end=entry.window_end)
