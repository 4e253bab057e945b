"""How Redis is configured, as far as it tells, and what of that an operator should know.

Nothing here stops anything: Redis is a cache of what Kubernetes and the processes know, and every loss of it heals. But
a Redis that throws away what it should keep makes work for everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gateway.errors import StoreError
from gateway.resilience.diagnosis import Grade
from gateway.state import examining

Ask = Callable[..., Awaitable[Any]]


class Inspector:
    """Looks at the configuration, and keeps what is to be warned of."""

    def __init__(self) -> None:
        self.warnings: Sequence[str] = ()
        self.complete = False
        """Whether the last look found a server that answers."""

    async def inspect(self, ask: Ask) -> None:
        """Look again. `ask` sends a command and raises `StoreError`. Where nothing answers, all stays as it was."""
        try:
            memory = examining.fields(await ask("INFO", "memory"))
            persistence = examining.fields(await ask("INFO", "persistence"))
        except StoreError:
            self.complete = False
            return
        judged = (
            examining.eviction(memory, "Redis"),
            examining.persistence(persistence, await _save(ask), "Redis"),
        )
        # What a provider does not tell is no news, every minute.
        self.warnings = tuple(one.line for one in judged if one.grade is not Grade.OK and one.seen)
        self.complete = True


async def _save(ask: Ask) -> str | None:
    """When snapshots are made, empty for never; None where that cannot be asked, as with most providers."""
    try:
        told = await ask("CONFIG", "GET", "save")
    except StoreError:
        return None
    return bytes(told[1]).decode() if len(told) == 2 else None
