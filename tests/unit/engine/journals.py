"""What tests of the journal write into it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engine.entries import Entry
from gateway.model import Hold, Severity, Signal

HOLD = Hold(3, 60_000, 60_000, 300_000, False, 100, 1000)


def a_signal(fingerprint: str = "f" * 64, **more: object) -> Signal:
    fields = {
        "fingerprint": fingerprint,
        "alertname": "A",
        "namespace": "n",
        "group": "n/A",
        "labels": {"alertname": "A"},
        "annotations": {},
        "severity": Severity.INFO,
        "environment": "e",
        "priority": "P2",
        "starts_at": "2026-01-31T09:00:00.000000000Z",
        "received_at": "2026-01-31T09:00:01.000000000Z",
    }
    return Signal(**{**fields, **more})  # type: ignore[arg-type]


THREE = [Entry(slot=f"p.{number}", value=2, signal=a_signal(), hold=HOLD) for number in range(3)]


@dataclass
class Source:
    """What an accepted alert is."""

    fingerprint: str
    starts_at: str = "2026-01-31"

    def signal(self) -> Signal:
        return a_signal(self.fingerprint, starts_at=self.starts_at)

    def hold(self) -> Hold:
        return HOLD
