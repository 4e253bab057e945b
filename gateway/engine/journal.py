"""The journal: what was accepted, in a local file too, so that it survives the loss of this process *and* of Redis.

Everything that Redis took is written and synced before the webhook is answered, together with whatever waits for the
same sync. An entry says what a message to Redis says: slot `s` has reached `n`, and what its request is made of. So it
holds nothing that was not taken, and reading it twice, or too much of it, does no harm. What Kubernetes took directly
needs no entry. Once a stored request covers a slot, a line says so, with the next sync or a second later.

The next process on the path reads the file and asserts what is left, under the names of the dead process's slots
(`inheriting`). It never gives them new numbers.

    WRITING ── a write or sync fails, or takes too long ──→ FAILING
    FAILING ── a new file with everything unsettled is on the disk ──→ WRITING

While it fails (full, read-only, broken or stuck disk, or `journal.max_size`), nobody waits for it: an alert counts as
accepted because Redis or Kubernetes took it, and only that. `/readyz`, the log and `gateway_errors_total` say so. A
journal alone never makes an alert accepted: what neither of the two took is answered 503 as without it.

The file is bounded because what is unsettled is (`unconfirmed.max`): when it has grown to several times that, a new
one with nothing but the unsettled entries takes its place. The same happens at the start, after every failure, and at
a stop, where it is usually empty then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from gateway.engine.coalescing import Coalescer
from gateway.engine.entries import Entry
from gateway.engine.ledger import Slot
from gateway.engine.logbook import Pages

log = structlog.get_logger(__name__)

PATIENCE = 2.0
"""Seconds that a webhook waits for the disk; past them the journal is failing."""

STEP = 1.0
"""Seconds after which what was settled is written, where nothing else is; and first wait for a broken disk."""

LONGEST_WAIT = 30.0
"""Seconds between two attempts on a broken disk at the most."""

LEAST_SIZE = 8 << 20
"""Bytes up to which the file may grow, however little of it is wanted."""

GROWTH = 4
"""How many times as long as its beginning the file may grow."""

MOST_AT_ONCE = 200
"""Entries that are made before others have their turn on the event loop."""

MOST_IN_A_SYNC = 100
"""Batches of admissions that share one sync."""


class Run(Protocol):
    """Runs blocking calls away from the event loop, one after the other."""

    def __call__(self, call: Callable[[], Any], /) -> Awaitable[Any]: ...


class Journal:
    """Writes down what is accepted and not settled."""

    def __init__(self, pages: Pages, *, run: Run, on_error: Callable[[], None]) -> None:
        """`on_error` is called for every write that failed."""
        self._pages = pages
        self._run = run
        self._on_error = on_error
        self._commits = Coalescer[Sequence[Slot]](self._commit, most=MOST_IN_A_SYNC)
        self._lane = asyncio.Lock()
        self._unsettled: Callable[[], Iterable[Slot]] = tuple
        self._written: dict[str, str] = {}
        """Unsettled slots in the file, and the start of the episode of which it holds what a request is made of."""
        self._settled: dict[str, int] = {}
        """What was settled since the last write."""
        self._beginning = 0
        self.inherited: list[Entry] = []
        """What the file held when it was opened: accepted by processes that are dead, and not settled."""
        self.trouble = ""
        """Why it cannot be written; empty while it can."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._pages.size

    async def open(self) -> None:
        """Take the file and read it. Raises `ConfigurationError` where it cannot be ours."""
        kept = await self._run(self._pages.open)
        self.inherited = kept.entries
        if kept.entries or kept.damaged:
            log.warning(
                "the journal holds alerts that its last process did not see stored; they are asserted again",
                slots=len(kept.entries),
                damaged_lines=kept.damaged,
            )
        try:
            await self._run(partial(self._pages.begin, kept.entries))
        except Exception as error:  # noqa: BLE001 - whatever it is, the gateway is not to depend on it
            self._fail(error)
        else:
            self._beginning = self._pages.size
            self._written = {entry.slot: entry.signal.starts_at for entry in kept.entries if entry.signal}

    def follow(self, unsettled: Callable[[], Iterable[Slot]]) -> None:
        """`unsettled` tells all slots that a file which begins anew has to hold, the inherited ones included."""
        self._unsettled = unsettled

    async def commit(self, slots: Sequence[Slot]) -> None:
        """Returns when what the slots have reached is on the disk, or when that is known to be impossible now.

        Raises nothing: the alerts are durable elsewhere.
        """
        if self.trouble:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._commits.submit(slots)
        except TimeoutError as error:
            self._fail(error)

    def settled(self, slot: str, value: int) -> None:
        """A stored request covers the slot up to `value`, and nothing more of it was accepted."""
        if self._written.pop(slot, None) is not None:
            self._settled[slot] = value

    async def run(self) -> None:
        """Runs until cancelled: writes down what was settled, and tries a broken disk again."""
        wait = STEP
        while True:
            await asyncio.sleep(wait)
            async with self._lane:
                if self.trouble:
                    await self._begin(in_place=True)
                    wait = min(wait * 2, LONGEST_WAIT) if self.trouble else STEP
                elif self._settled:
                    await self._write(())

    async def close(self) -> None:
        """Leave a file with nothing but what is unsettled, and let it go."""
        async with self._lane:
            await self._begin()
            await self._run(self._pages.close)

    # --- in the lane: one call at a time

    async def _commit(self, batch: list[Sequence[Slot]]) -> None:
        async with self._lane:
            if not self.trouble:
                slots = {slot.name: slot for several in batch for slot in several}
                await self._write(slots.values())

    async def _write(self, slots: Iterable[Slot]) -> None:
        if self._pages.size > max(LEAST_SIZE, GROWTH * self._beginning):
            await self._begin()
            return
        settled, self._settled = self._settled, {}
        added = [Entry(slot=name, base=value) for name, value in settled.items()]
        added.extend(self._entries(slots))
        if not added:
            return
        try:
            await self._run(partial(self._pages.append, added))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows what is on the disk now
            log.info("the journal begins anew after an error", error=_reason(error))
            await self._begin()

    async def _begin(self, *, in_place: bool = False) -> None:
        """Put a file in its place that holds what is unsettled now: that covers everything that waits to be written.

        `in_place` only where the journal has been failing for a while: what is unsettled is in Redis again by then.
        """
        self._written, self._settled = {}, {}
        unsettled = list(self._unsettled())
        kept: list[Entry] = []
        for start in range(0, len(unsettled), MOST_AT_ONCE):
            kept.extend(self._entries(unsettled[start : start + MOST_AT_ONCE]))
            await asyncio.sleep(0)
        try:
            await self._run(partial(self._pages.begin, kept, in_place=in_place))
        except Exception as error:  # noqa: BLE001 - as in `open`
            self._fail(error)
            return
        self._beginning = self._pages.size
        if self.trouble:
            log.info("the journal is written again", slots=len(kept))
            self.trouble = ""

    def _entries(self, slots: Iterable[Slot]) -> list[Entry]:
        """What to write of the slots as they are now; nothing of those that were settled meanwhile."""
        found = []
        for slot in slots:
            source = slot.source
            if source is None:
                continue
            known = self._written.get(slot.name) == source.starts_at
            self._written[slot.name] = source.starts_at
            found.append(
                Entry(
                    slot=slot.name,
                    value=slot.acc,
                    base=slot.conf,
                    window=slot.window,
                    storming=slot.storming,
                    window_end=slot.held.end if slot.held is not None else 0,
                    signal=None if known else source.signal(),
                    hold=None if known else source.hold(),
                )
            )
        return found

    def _fail(self, error: BaseException) -> None:
        self._on_error()
        reason = _reason(error)
        if not self.trouble:
            log.error(
                "the journal cannot be written; accepted alerts are in Redis or Kubernetes only", error=reason
            )
        self.trouble = reason


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"the disk did not answer within {PATIENCE:g} s"
    return str(error) or type(error).__name__
