"""What a scenario is: a script, what it needs around it, and what may be lost in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from chaos.injections import Injection
from chaos.oracle import Room

if TYPE_CHECKING:
    from chaos.rehearsal import Rehearsal

GATEWAYS = Path(__file__).parent / "gateways"


@dataclass(frozen=True, slots=True)
class Needs:
    """What stands around the gateways where a stage is made for a scenario, that is: locally."""

    redis: Literal["single", "sentinel", "faked clock"] = "single"
    redis_proxy: bool = False
    """The gateways reach Redis through Toxiproxy."""
    api_proxy: bool = False
    """The gateways reach the Kubernetes API through the fault proxy."""
    gateways: int = 2
    faked_clock: bool = False
    """The last gateway's clock can be set wrong."""
    redis_at_start: bool = True
    tokens: bool = False
    """The gateways know senders by tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One rehearsal. Its gateways' configuration is the file of its name in `gateways/`."""

    number: int
    name: str
    title: str
    proves: str
    """One sentence, for the report."""
    play: Callable[[Rehearsal], Awaitable[None]]
    injections: tuple[Injection, ...] = ()
    """Whatever it does: a way that cannot do one of them does not play it."""
    needs: Needs = field(default_factory=Needs)
    shortened: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the configuration where times are shortened."""
    namespace: str = ""
    """Where its alerts come from; by default a namespace of its name."""
    room: Room = field(default_factory=Room)
    ambiguous: bool = False
    """Writes of which nobody knows whether they were done: sums of counters do not add up."""
    kills: bool = False
    """A gateway dies: its counters with it, so that sums over all of them do not add up."""

    @property
    def where(self) -> str:
        return self.namespace or f"chaos-{self.name}"

    @property
    def configuration(self) -> Path:
        return GATEWAYS / f"{self.name}.yaml"

    def settings(self, *, full: bool) -> dict[str, Any]:
        """The gateways' configuration, with shorter times where it is played shortened."""
        found: dict[str, Any] = yaml.safe_load(self.configuration.read_text(encoding="utf-8"))
        if not full:
            for section, keys in self.shortened.items():
                found[section] = {**found.get(section, {}), **keys}
        return found
