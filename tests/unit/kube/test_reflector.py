"""A reflector follows through everything an API server does, and never takes an old state for the present
one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from chaos.rig.waiting import eventually
from gateway.errors import KubeError, KubeExpired, KubeForbidden, KubeUnavailable
from gateway.kube.decoding import Change, Event, Page
from gateway.kube.index import Index
from gateway.kube.namespaces import Namespaces
from gateway.kube.observing import NullObserver
from gateway.kube.reflector import Pace, Phase, Reflector, RequestSink
from gateway.kube.stored import Space, Stored
from gateway.model import RequestRef

PACE = Pace(first_wait=0.001, longest_wait=0.002)


def space(name: str, version: int = 1, **fields: object) -> Space:
    return Space(name=name, resource_version=version, environment=str(fields.pop("environment", "")) or None)


def event(change: Change, name: str, version: int) -> Event[Space]:
    return Event(change, version, space(name, version))


def bookmark(version: int) -> Event[Space]:
    return Event(Change.BOOKMARK, version, None)


class Script:
    """A collection that answers by script; at its end a watch stays open in silence."""

    def __init__(
        self,
        lists: Sequence[list[Page[Space]] | KubeError],
        watches: Sequence[list[Event[Space] | KubeError]] = (),
    ) -> None:
        self._lists = deque(lists)
        self._watches = deque(watches)
        self.asked: list[str] = []

    async def pages(self) -> AsyncGenerator[Page[Space], None]:
        self.asked.append("list")
        answer = self._lists.popleft()
        if isinstance(answer, KubeError):
            raise answer
        for page in answer:
            yield page

    async def watch(
        self, resource_version: int, *, seconds: float, inactivity: float
    ) -> AsyncGenerator[Event[Space], None]:
        assert 0 < seconds < inactivity
        self.asked.append(f"watch {resource_version}")
        for step in self._watches.popleft() if self._watches else ():
            if isinstance(step, KubeError):
                raise step
            yield step
        if not self._watches:
            await asyncio.Event().wait()


class Record:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def apply(self, item: Space) -> None:
        self.told.append(f"{item.name}@{item.resource_version}")

    def remove(self, item: Space) -> None:
        self.told.append(f"-{item.name}@{item.resource_version}")

    def listing(self) -> Listed:
        return Listed(self)


class Listed:
    """A list on its way to the record; one that breaks off is told of by its pages only."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def take(self, page: Sequence[Space]) -> None:
        self._record.told += [item.name for item in page]

    def complete(self, resource_version: int) -> None:
        self._record.told.append(f"complete@{resource_version}")


def page(version: int, *names: str, token: str = "") -> Page[Space]:
    return Page(items=[space(name) for name in names], resource_version=version, token=token)


@asynccontextmanager
async def running(reflector: Reflector[Space]) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def asked(script: Script, wanted: list[str]) -> None:
    await eventually(lambda: len(script.asked) >= len(wanted), f"{wanted}")
    assert script.asked == wanted


async def test_it_lists_all_pages_and_watches_from_there() -> None:
    script = Script([[page(7, "a", token="t"), page(7, "b")]], [[bookmark(7), event(Change.ADDED, "c", 9)]])
    sink, relists = Record(), list[int]()
    reflector = Reflector("spaces", script, sink, pace=PACE, on_relist=lambda: relists.append(len(sink.told)))
    assert not reflector.synced.is_set()
    async with running(reflector):
        await eventually(lambda: len(sink.told) == 4, "the event")
        assert sink.told == ["a", "b", "complete@7", "c@9"]
        assert script.asked == ["list", "watch 7"]
        assert reflector.synced.is_set()
        assert reflector.current
        assert relists == [3]
    assert reflector.phase is Phase.STOPPED
    assert not reflector.current


async def test_a_watch_that_ends_is_resumed_from_the_last_version_seen() -> None:
    script = Script(
        [[page(7)]],
        [
            [bookmark(7), event(Change.ADDED, "a", 8), event(Change.DELETED, "a", 11)],
            [bookmark(11), bookmark(30)],
            [bookmark(30)],
        ],
    )
    sink = Record()
    async with running(Reflector("spaces", script, sink, pace=PACE)):
        await asked(script, ["list", "watch 7", "watch 11", "watch 30"])
    assert sink.told == ["complete@7", "a@8", "-a@11"]


async def test_a_broken_watch_is_resumed_without_a_list() -> None:
    cut = KubeUnavailable("cut")
    script = Script([[page(7)]], [[bookmark(7), event(Change.ADDED, "a", 8), cut], [cut], [bookmark(8)]])
    reflector = Reflector("spaces", script, Record(), pace=PACE)
    async with running(reflector):
        await asked(script, ["list", "watch 7", "watch 8", "watch 8"])
        await eventually(lambda: reflector.current, "recovery")
        assert not reflector.error


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_an_expired_version_makes_it_list_again(when: str) -> None:
    gone = KubeExpired("410: too old", status=410)
    first: list[Event[Space] | KubeError] = [gone]
    if when == "later":
        first = [bookmark(7), event(Change.ADDED, "b", 8), gone]
    script = Script([[page(7, "a")], [page(50, "c")]], [first, [bookmark(50)]])
    sink, relists = Record(), list[int]()
    async with running(Reflector("spaces", script, sink, pace=PACE, on_relist=lambda: relists.append(1))):
        await asked(script, ["list", "watch 7", "list", "watch 50"])
    assert sink.told[-2:] == ["c", "complete@50"]
    assert len(relists) == 2


async def test_a_list_that_fails_is_tried_again_and_half_of_one_is_never_complete() -> None:
    class Half(Script):
        async def pages(self) -> AsyncGenerator[Page[Space], None]:
            self.asked.append("list")
            yield page(7, "a", token="t")
            if len(self.asked) == 1:
                raise KubeExpired("410: the token", status=410)
            yield page(7, "b")

    script, sink = Half([], [[bookmark(7)]]), Record()
    async with running(Reflector("spaces", script, sink, pace=PACE)):
        await asked(script, ["list", "list", "watch 7"])
    assert sink.told == ["a", "a", "b", "complete@7"]


async def test_it_says_why_it_waits_and_keeps_its_copy() -> None:
    forbidden = KubeForbidden("403: no", status=403)
    refused: list[Event[Space] | KubeError] = [forbidden]
    script = Script([[page(7, "a")]], [[bookmark(7), forbidden], *[refused] * 1000])
    reflector = Reflector("spaces", script, Record(), pace=PACE)
    async with running(reflector):
        await eventually(lambda: reflector.phase is Phase.WAITING, "the failure")
        assert reflector.error == "403: no"
        assert reflector.synced.is_set()
        assert not reflector.current


async def test_fruitless_attempts_come_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)
        if len(waits) == 200:
            await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", noted)
    script = Script([KubeUnavailable("down")] * 300)
    task = asyncio.create_task(Reflector("spaces", script, Record(), pace=Pace()).run())
    while len(waits) < 200:
        await sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    for attempt, wait in enumerate(waits):
        assert 0 <= wait <= min(0.2 * 2 ** min(attempt, 20), 5.0)
    assert max(waits[10:]) > 2.5


async def test_the_server_that_ends_each_watch_at_once_is_not_overrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script([[page(7)]], [[bookmark(7)]] * 1000)
    async with running(Reflector("spaces", script, Record(), pace=Pace(first_wait=1.0, longest_wait=1.0))):
        await eventually(lambda: len(script.asked) >= 2, "the first watch")
        await asyncio.sleep(0.05)
        assert len(script.asked) < 50


def test_the_requests_sink_lays_its_namespace_into_the_index() -> None:
    def stored(namespace: str, version: int) -> Stored:
        ref = RequestRef(namespace, "rr-a-1")
        return Stored(ref=ref, uid=f"uid-{namespace}", resource_version=version, fingerprint="a" * 64)

    index = Index()
    clock: Callable[[], float] = lambda: 5.0  # noqa: E731
    here, everywhere = RequestSink(index, clock, "here"), RequestSink(index, clock)
    here.apply(stored("here", 1))
    index.apply(stored("there", 1))
    here.listing().complete(10)
    assert [s.namespace for s in index] == ["there"]
    everywhere.remove(stored("there", 11))
    assert [(t.uid, t.died_at) for t in index.tombs("a" * 64)] == [("uid-here", 5.0), ("uid-there", 5.0)]
    listing = everywhere.listing()
    listing.take([stored("new", 12)])
    listing.complete(12)
    assert [s.namespace for s in index] == ["new"]


def test_namespaces_are_unknown_until_they_were_listed() -> None:
    spaces = Namespaces()
    assert (spaces.exists("a"), spaces.environment("a")) == (None, None)
    listing = spaces.listing()
    listing.take([space("a", 5, environment="production")])
    assert spaces.exists("a") is None
    listing.take([space("b", 5)])
    listing.complete(5)
    assert (spaces.exists("a"), spaces.environment("a")) == (True, "production")
    assert (spaces.exists("b"), spaces.environment("b")) == (True, None)
    assert (spaces.exists("c"), spaces.environment("c")) == (False, None)
    spaces.apply(space("a", 4))
    assert spaces.environment("a") == "production"
    spaces.apply(Space(name="a", resource_version=6, environment="production", deleted=True))
    assert spaces.exists("a") is False
    spaces.remove(space("a", 7))
    spaces.remove(space("c", 7))
    assert (spaces.exists("a"), spaces.environment("a")) == (False, None)


def test_nobody_has_to_observe() -> None:
    observer = NullObserver()
    observer.relisted("x")
    observer.skipped("x", 1)
    observer.credentials_reloaded()
