"""A gateway with one promise taken out, as a program: `python -m tests.chaos.mutated NAME serve --config …`.

A rehearsal cannot tell it from a real one until it looks. (The only place, beside the mutants of the simulation, that
patches our own code: breaking it is the purpose.)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from gateway.cli import main
from gateway.engine.repairing import Repairer
from gateway.resilience.breakers import Breaker
from gateway.state import scripting
from tests.simulation import mutants


def _nothing_is_asserted() -> AbstractContextManager[Any]:
    """What is unconfirmed is in memory, and nobody reads it there."""

    async def nothing(self: Repairer, shard: int, slots: Any) -> None:
        return None

    return mock.patch.object(Repairer, "_assert", nothing)


def _local_clock() -> AbstractContextManager[Any]:
    """Windows end by the clock of whoever asks."""
    get = scripting.Scripts.get

    def with_clock(self: scripting.Scripts, name: str, version: int) -> scripting.Script:
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        told = f"{{'{seconds}', '{microseconds}'}}"
        return scripting._script(get(self, name, version).text.replace("redis.call('TIME')", told))

    return mock.patch.object(scripting.Scripts, "get", with_clock)


def _no_breaker() -> AbstractContextManager[Any]:
    return mock.patch.object(Breaker, "_broken", return_value=False)


MUTANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "unconfirmed-dropped": _nothing_is_asserted,
    "counts-twice-on-retry": mutants._another_source,
    "local-clock": _local_clock,
    "no-breaker": _no_breaker,
    "aggregated-request-named-anyhow": mutants._window_named_otherwise,
}

if __name__ == "__main__":
    with MUTANTS[sys.argv[1]]():
        sys.exit(main(sys.argv[2:]))
