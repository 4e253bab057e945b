"""The journal: durable when `commit` returns, one sync for many, and never in the way of an alert."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.waiting import eventually
from gateway.engine import journal as journaling
from gateway.engine.entries import Entry
from gateway.engine.inheriting import inherit
from gateway.engine.journal import Journal
from gateway.engine.ledger import Ledger, Slot
from gateway.engine.logbook import Logbook
from tests.unit.engine.journals import THREE, Source


class Watched(Logbook):
    """Counts the syncs, and waits or fails when it is told to."""

    def __init__(self, path: Path, *, max_size: int = 1 << 20) -> None:
        super().__init__(path, max_size=max_size)
        self.appends: list[int] = []
        self.begun = 0
        self.begins = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.broken = False

    def append(self, added: Iterable[Entry]) -> None:
        entries = list(added)
        self.begun += 1
        self.go_on.wait(20)
        self._perhaps_broken()
        super().append(entries)
        self.appends.append(len(entries))

    def begin(self, kept: Sequence[Entry], *, in_place: bool = False) -> None:
        self._perhaps_broken()
        super().begin(kept, in_place=in_place)
        self.begins += 1

    def _perhaps_broken(self) -> None:
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")


class Desk:
    """A journal with the ledger that it follows."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.pages = Watched(path, **options)
        self.ledger = Ledger("p")
        self.errors = 0
        self._thread = ThreadPoolExecutor(1)
        self.journal = Journal(self.pages, run=self._run, on_error=self._erred)

    async def _run(self, call: Callable[[], Any], /) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _erred(self) -> None:
        self.errors += 1

    async def open(self) -> None:
        await self.journal.open()
        inherit(self.journal.inherited, self.ledger, 0.0)
        self.journal.follow(self.ledger.unsettled)
        self.ledger.on_settled = self.journal.settled

    def take(self, name: str, occurrences: int = 1, source: Source | None = None) -> Slot:
        """An admission that Redis took."""
        slot = self.ledger.open(name.ljust(64, "0"), 0.0)
        value = self.ledger.send(slot, occurrences, 0.0)
        self.ledger.taken(slot, value, source or Source(slot.fingerprint), 0.0)
        return slot

    def written(self) -> dict[str, tuple[int, int]]:
        """What the next process would inherit: slot → (base, value)."""
        kept = Logbook.open(_Reader(self.path))
        return {entry.slot: (entry.base, entry.value) for entry in kept.entries}

    def close(self) -> None:
        self.pages.go_on.set()
        self.pages.close()
        self._thread.shutdown()


class _Reader(Logbook):
    """Reads without the lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, max_size=0)

    def _take_lock(self) -> bool:
        return False


@asynccontextmanager
async def a_desk(path: Path, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(path, **options)
    await desk.open()
    running = asyncio.create_task(desk.journal.run())
    try:
        yield desk
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        desk.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a busy machine may take seconds."""
    monkeypatch.setattr(journaling, "PATIENCE", 20.0)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journaling, "STEP", 0.05)


async def test_what_commit_returned_for_is_there_for_the_next_process(path: Path) -> None:
    async with a_desk(path) as desk:
        slot = desk.take("a", 2)
        await desk.journal.commit([slot])
        assert desk.written() == {"p.1": (0, 2)}
        desk.take("a", 3)
        await desk.journal.commit([slot])

    async with a_desk(path) as after:
        (entry,) = after.journal.inherited
        assert (entry.slot, entry.value) == ("p.1", 5)
        assert entry.signal == Source(slot.fingerprint).signal()


async def test_what_waits_during_a_sync_shares_the_next_one(path: Path) -> None:
    async with a_desk(path) as desk:
        desk.pages.go_on.clear()
        commits = [asyncio.create_task(desk.journal.commit([desk.take("a")]))]
        await eventually(lambda: desk.pages.begun == 1, "the first sync to have begun")
        commits += [asyncio.create_task(desk.journal.commit([desk.take(f"b{n:02}")])) for n in range(40)]
        await asyncio.sleep(0.05)
        assert not any(commit.done() for commit in commits)
        desk.pages.go_on.set()
        await asyncio.gather(*commits)

        assert desk.pages.appends == [1, 40]
        assert len(desk.written()) == 41


async def test_a_slot_says_once_what_its_request_is_made_of_and_again_for_another_episode(path: Path) -> None:
    async with a_desk(path) as desk:
        sizes = []
        for since in ("2026-01-31", "2026-01-31", "2026-02-01"):
            before = desk.pages.size
            await desk.journal.commit([desk.take("a", 1, Source("a" + "0" * 63, since))])
            sizes.append(desk.pages.size - before)

        assert sizes[1] < 100 < min(sizes[0], sizes[2])


async def test_what_was_confirmed_meanwhile_needs_no_entry(path: Path) -> None:
    async with a_desk(path) as desk:
        slot = desk.take("a")
        desk.ledger.confirm(slot, 1)
        await desk.journal.commit([slot])

        assert desk.written() == {}


@pytest.mark.usefixtures("brisk")
async def test_what_is_settled_is_soon_not_inherited_any_more(path: Path) -> None:
    async with a_desk(path) as desk:
        settled, open_one = desk.take("a"), desk.take("b")
        await desk.journal.commit([settled, open_one])
        desk.ledger.confirm(settled, 1)

        await eventually(lambda: list(desk.written()) == ["p.2"], "the line about it", seconds=10)


@pytest.mark.usefixtures("brisk")
async def test_a_full_disk_holds_up_nobody_and_is_told_and_what_was_missed_is_written_when_it_has_room(
    path: Path,
) -> None:
    async with a_desk(path) as desk:
        before, missed = desk.take("a"), desk.take("b")
        await desk.journal.commit([before])
        desk.pages.broken = True
        await desk.journal.commit([missed])
        assert "No space left" in desk.journal.trouble
        assert desk.errors == 1
        await asyncio.wait_for(desk.journal.commit([desk.take("c")]), 0.02)
        await eventually(lambda: desk.errors > 1, "another attempt", seconds=10)
        desk.ledger.confirm(before, 1)

        desk.pages.broken = False
        await eventually(lambda: not desk.journal.trouble, "the disk to be used again", seconds=10)
        assert desk.written() == {"p.2": (0, 1), "p.3": (0, 1)}


async def test_an_error_that_passes_costs_a_new_file_and_nothing_else(path: Path) -> None:
    async with a_desk(path) as desk:
        await desk.journal.commit([desk.take("a")])
        desk.pages._let_go()  # the next write fails
        await desk.journal.commit([desk.take("b")])

        assert not desk.journal.trouble
        assert set(desk.written()) == {"p.1", "p.2"}


@pytest.mark.usefixtures("brisk")
async def test_a_disk_that_does_not_answer_holds_up_nobody_for_longer_than_the_patience(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_desk(path) as desk:
        monkeypatch.setattr(journaling, "PATIENCE", 0.3)
        desk.pages.go_on.clear()
        await asyncio.wait_for(desk.journal.commit([desk.take("a")]), 5)
        assert "did not answer" in desk.journal.trouble

        desk.pages.go_on.set()
        await eventually(lambda: not desk.journal.trouble, "the disk to be used again", seconds=10)
        assert set(desk.written()) == {"p.1"}


async def test_it_starts_with_a_disk_that_takes_nothing_and_still_hands_on_what_is_there(path: Path) -> None:
    async with a_desk(path) as desk:
        await desk.journal.commit([desk.take("a")])
    after = Desk(path)
    after.pages.broken = True
    await after.open()
    try:
        assert [entry.slot for entry in after.journal.inherited] == ["p.1"]
        assert after.journal.trouble
    finally:
        after.close()


async def test_the_file_is_begun_anew_when_it_has_grown_and_holds_what_is_unsettled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaling, "LEAST_SIZE", 20_000)
    async with a_desk(path) as desk:
        open_one = desk.take("open")
        await desk.journal.commit([open_one])
        for number in range(300):
            slot = desk.take(f"{number:03}")
            await desk.journal.commit([slot])
            desk.ledger.confirm(slot, 1)

        assert desk.pages.begins > 3
        assert desk.pages.size < 25_000
        assert open_one.name in desk.written()
        assert not desk.journal.trouble


async def test_past_its_size_alerts_are_taken_without_it(path: Path) -> None:
    async with a_desk(path, max_size=10_000) as desk:
        for number in range(100):
            await desk.journal.commit([desk.take(f"{number:03}")])

        assert "max_size" in desk.journal.trouble
        assert desk.pages.size <= 5000


async def test_a_stop_with_everything_settled_leaves_an_empty_journal(path: Path) -> None:
    async with a_desk(path) as desk:
        slots = [desk.take("a"), desk.take("b")]
        await desk.journal.commit(slots)
        desk.ledger.confirm(slots[0], 1)
        desk.ledger.withdraw(slots[1], 1)
        await desk.journal.close()

        assert desk.written() == {}


async def test_a_stop_keeps_what_is_not_settled(path: Path) -> None:
    async with a_desk(path) as desk:
        await desk.journal.commit([desk.take("a", 4)])
        await desk.journal.close()

        assert desk.written() == {"p.1": (0, 4)}


async def test_what_was_inherited_is_inherited_again_until_it_is_settled(path: Path) -> None:
    async with a_desk(path) as first:
        await first.journal.commit([first.take("a", 2), first.take("b")])
    async with a_desk(path) as second:
        second.ledger.process_id = "q"
        (left, right) = second.ledger.unsettled()
        assert second.ledger.get(left.fingerprint) is None, "nobody gives it new numbers"
        assert second.take("a").name == "q.1"
        second.ledger.confirm(left, 2)
        await second.journal.close()

    assert second.written() == {right.name: (0, 1), "q.1": (0, 1)}


def test_what_others_settled_is_left_out_when_it_is_inherited() -> None:
    ledger = Ledger("q")
    inherit([*THREE, Entry(slot="x", value=1, base=1, signal=THREE[0].signal)], ledger, 0.0)

    assert [slot.name for slot in ledger.due(0.0)] == [entry.slot for entry in THREE]
    assert ledger.unconfirmed == 3


def test_confirming_what_was_inherited_is_not_told_as_accepted_here() -> None:
    ledger = Ledger("q")
    inherit(THREE[:1], ledger, 0.0)
    (slot,) = ledger.inherited(THREE[0].signal.fingerprint)  # type: ignore[union-attr]

    assert ledger.confirm(slot, 1) == 0
    assert ledger.confirm(slot, 2) == 0
    assert ledger.inherited(slot.fingerprint) == ()
    assert ledger.unsettled() == []
