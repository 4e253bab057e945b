"""Reading a configuration again while the gateway runs: from where, and what of it can take effect at once.

Only rules that nothing lasting depends on are replaced: who may send what, and how urgent it is. Fingerprints, groups
and windows outlive a process, and replicas must agree on them; addresses and limits are built into what runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.loading import load
from gateway.config.settings import Section, Settings

RELOADABLE: Final = ("policy", "classify.priority")
"""Paths of what takes effect without a restart, with everything below them."""


@dataclass(frozen=True)
class Source:
    """The layers that a configuration is read from."""

    path: Path | None
    environ: Mapping[str, str]
    sets: tuple[str, ...] = ()

    def load(self) -> Settings:
        """Read them, now; see `loading.load`. Raises `ConfigurationError` with every fault."""
        return load(self.path, self.environ, self.sets)


def adopted(running: Settings, found: Settings) -> Settings:
    """The settings that run, with what can be replaced of those that were found."""
    classify = running.classify.model_copy(update={"priority": found.classify.priority})
    return running.model_copy(update={"policy": found.policy, "classify": classify})


def differing(one: Section, other: Section, prefix: str = "") -> Iterator[str]:
    """The path of each key that has another value, in the order in which the keys are documented."""
    for name, value in one:
        against = getattr(other, name)
        if isinstance(value, Section) and isinstance(against, Section):
            yield from differing(value, against, f"{prefix}{name}.")
        elif value != against:
            yield prefix + name
