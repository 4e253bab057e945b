"""Refusing: what is owed to a webhook that is answered 503, so that the same body counts only the rest when it returns.

A 503 leaves when everything of the body that was taken is noted. A webhook that ran out of time cannot wait for ever,
though: an alert that is still under way then may be taken behind the answer. Until that is known, and noted, the same
body waits here; it would be numbered as a new occurrence else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence

from gateway.engine.deliveries import Delivery
from gateway.engine.noting import Notes


class Refusals:
    """The deliveries that are, or were, answered 503."""

    def __init__(
        self, notes: Notes, start: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]]
    ) -> None:
        """`start` begins a task with a name, for which a stopping process waits."""
        self._notes = notes
        self._start = start
        self._late: dict[str, set[asyncio.Task[None]]] = {}
        """By body: what waits for the fate of alerts that were under way when their 503 left."""

    async def earlier(self, delivery: Delivery) -> None:
        """Returns when nothing is under way any more of the same body that was answered 503 before."""
        while self._late and (late := self._late.get(delivery.digest)):
            await asyncio.wait(late)

    async def refuse(self, delivery: Delivery, *, patience: float = 0.0) -> None:
        """Note what was taken, before the 503; what is still under way after so many seconds, when it is known.

        A note is written to its end even if the webhook runs out of time meanwhile.
        """
        if delivery.left and patience:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(delivery.settled(), patience)
        # Told apart once: an alert that gets its fate before the tasks begin is noted by one of them only.
        settled, under_way = delivery.settled_or_not()
        if under_way:
            late = self._start(self._note_late(delivery, under_way), "late")
            self._late.setdefault(delivery.digest, set()).add(late)
        noting = self._start(self._notes.keep(delivery, settled), "note")
        try:
            await asyncio.shield(noting)
        except asyncio.CancelledError:
            await asyncio.wait([noting])
            raise

    async def _note_late(self, delivery: Delivery, positions: Sequence[int]) -> None:
        this = asyncio.current_task()
        try:
            await delivery.settled()
            await self._notes.keep(delivery, positions)
        finally:
            left = {task for task in self._late.pop(delivery.digest) if task is not this}
            if left:
                self._late[delivery.digest] = left
