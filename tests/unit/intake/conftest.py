"""What the tests of intake share: webhooks, and the body that a real Alertmanager sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.intake.payload import decode
from gateway.intake.reading import Intake, Reading, Rejected

NOW = "2026-11-21T05:00:00.000000000Z"
_RECORDED = Path(__file__).parents[4] / "shared" / "fixtures" / "alertmanager-0.34-50-alerts.json"


class Desk:
    """An `Intake` with the settings that `sets` give, and the namespaces' environments."""

    def __init__(self, *sets: str, environments: dict[str, str] | None = None) -> None:
        self.environments_known = True
        self.intake = Intake(load(None, {}, sets), (environments or {}).get, lambda: self.environments_known)

    def read(self, *alerts: Any, **caller: str) -> list[Reading | Rejected]:
        """Read a webhook of these alerts."""
        return self.read_bytes(json.dumps({"alerts": alerts}).encode(), **caller)

    def read_bytes(self, body: bytes, **caller: str) -> list[Reading | Rejected]:
        return self.intake.read(decode(body), received_at=NOW, **caller)

    def one(self, *, annotations: Any = None, caller: dict[str, str] | None = None, **labels: str) -> Reading:
        """Read one alert with these labels; it must be taken."""
        alert = {"labels": {"alertname": "A", **labels}, "annotations": annotations}
        (reading,) = self.read(alert, **(caller or {}))
        assert isinstance(reading, Reading), reading
        return reading

    def refused(self, alert: Any, **caller: str) -> Rejected:
        """Read one alert that must be rejected."""
        (rejected,) = self.read(alert, **caller)
        assert isinstance(rejected, Rejected), rejected
        return rejected


@pytest.fixture
def desk() -> Desk:
    """An intake with the default settings."""
    return Desk()


@pytest.fixture(scope="session")
def make_desk() -> type[Desk]:
    """Makes an intake with other settings."""
    return Desk


@pytest.fixture(scope="session")
def recorded() -> bytes:
    """A webhook with 50 alerts, as a running Alertmanager 0.34 sent it."""
    try:
        return _RECORDED.read_bytes()
    except FileNotFoundError:
        message = f"MISSING FIXTURE: {_RECORDED.name.upper()} IS NOT IN ../SHARED/FIXTURES"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
