"""The two ways to inject, as scenarios see them: on this machine, or in a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chaos.injections import Injection
from chaos.kubernetes import Kubernetes
from chaos.scenario import Scenario
from chaos.sight import Target


class Way(Protocol):
    """Has the components, and does to them what a scenario asks for."""

    kubernetes: Kubernetes
    """Not through any proxy of the gateways'."""

    async def cannot(self, scenario: Scenario) -> str:
        """Why it cannot play a scenario; empty where it can."""

    async def able(self, injection: Injection) -> bool:
        """Whether it can do something that a scenario can be played without."""

    async def open(self, scenario: Scenario, *, full: bool) -> None:
        """Have the components of a scenario, with its configuration, all well; the namespace of its alerts is empty."""

    async def close(self) -> None:
        """End them, whatever state they are in; keep their logs."""

    @property
    def targets(self) -> Sequence[Target]:
        """The gateways."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What a sender has to show."""

    @property
    def admin_headers(self) -> Mapping[str, str]:
        """What has to be shown for the admin route."""

    async def token(self, name: str, *, ttl: int) -> str:
        """A signed token for a sender of this name that counts for so many seconds."""

    async def begin(self, injection: Injection) -> None:
        """Do it."""

    async def end(self, injection: Injection) -> None:
        """Undo it."""

    async def redis(self, *command: str) -> str:
        """What Redis answers, as redis-cli prints it without decoration; empty where it does not answer."""

    async def gateway_logs(self) -> list[str] | None:
        """All lines that the gateways have logged; None where they cannot be had."""

    def fallen(self) -> list[str]:
        """Components that have ended and should not have."""

    async def audit(self, log: Path) -> str:
        """Runs `gateway audit` over the log of what was sent; empty where all adds up, else what it says."""
