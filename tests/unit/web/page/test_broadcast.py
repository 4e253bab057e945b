"""One picture for all who look, none while nobody does, and a viewer costs the same however slow it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from chaos.rig.waiting import eventually
from gateway.web.page.broadcast import FAREWELL, HEARTBEAT, Broadcast
from gateway.web.problems import Problem

INTERVAL = 0.02


class Camera:
    """Counts its pictures."""

    def __init__(self) -> None:
        self.taken = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> bytes:
        await self.gate.wait()
        self.taken += 1
        return b"%d" % self.taken


Run = Callable[..., Broadcast]


@pytest.fixture
async def camera() -> Camera:
    return Camera()


@pytest.fixture
async def run(camera: Camera) -> AsyncIterator[Run]:
    tasks: list[asyncio.Task[None]] = []

    def start(**options: float) -> Broadcast:
        broadcast = Broadcast(camera, **{"interval": INTERVAL, "beat": 5.0, **options})
        tasks.append(asyncio.ensure_future(broadcast.run()))
        return broadcast

    yield start
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_nothing_is_taken_before_somebody_looks_nor_after_the_last_has_left(
    run: Run, camera: Camera
) -> None:
    broadcast = run()
    await asyncio.sleep(INTERVAL * 5)
    assert camera.taken == 0
    pieces = broadcast.join().pieces()
    seen = [int(await anext(pieces)) for _ in range(3)]
    assert seen[0] >= 1
    assert seen == sorted(set(seen))
    await pieces.aclose()
    await eventually(lambda: broadcast.latest is None, "the end of the last interval", seconds=5)
    taken = camera.taken
    assert taken <= seen[-1] + 1
    await asyncio.sleep(INTERVAL * 5)
    assert camera.taken == taken
    later = broadcast.join().pieces()
    assert await anext(later) == b"%d" % (taken + 1)
    await later.aclose()


async def test_all_see_the_same_picture_and_a_newcomer_sees_the_latest_at_once(
    run: Run, camera: Camera
) -> None:
    broadcast = run(interval=60.0)
    viewers = [broadcast.join().pieces() for _ in range(20)]
    first = await asyncio.gather(*(anext(pieces) for pieces in viewers))
    newcomer = broadcast.join().pieces()
    async with asyncio.timeout(5):
        pictures = {id(picture) for picture in [*first, await anext(newcomer)]}
    assert (len(pictures), camera.taken) == (1, 1)
    for pieces in (*viewers, newcomer):
        await pieces.aclose()


async def test_who_is_slow_misses_pictures_and_sees_the_latest_next(run: Run, camera: Camera) -> None:
    broadcast = run()
    pieces = broadcast.join().pieces()
    first = int(await anext(pieces))
    await eventually(lambda: camera.taken >= first + 4, "more pictures", seconds=5)
    assert await anext(pieces) == broadcast.latest
    await pieces.aclose()


async def test_something_is_heard_although_no_picture_comes(run: Run, camera: Camera) -> None:
    camera.gate.clear()
    pieces = run(beat=0.02).join().pieces()
    assert [await anext(pieces), await anext(pieces)] == [HEARTBEAT, HEARTBEAT]
    camera.gate.set()
    seen = {await anext(pieces) for _ in range(5)}
    assert b"1" in seen
    await pieces.aclose()


async def test_places_are_few_and_who_leaves_or_is_forgotten_gives_up_its_own(run: Run) -> None:
    broadcast = run(most=2)
    viewers = [broadcast.join(), broadcast.join()]
    with pytest.raises(Problem) as refused:
        broadcast.join()
    assert (refused.value.status, "Retry-After" in refused.value.headers) == (503, True)
    viewers.pop()  # without a word
    pieces = broadcast.join().pieces()
    await anext(pieces)
    assert len(broadcast) == 2
    await pieces.aclose()
    assert len(broadcast) == 1


async def test_at_the_end_everybody_is_told_and_every_stream_ends(run: Run, camera: Camera) -> None:
    broadcast = run(interval=60.0)
    watching, waiting = broadcast.join().pieces(), broadcast.join().pieces()
    await anext(watching)
    rest = asyncio.gather(*(_all(pieces) for pieces in (watching, waiting)))
    await asyncio.sleep(0)
    broadcast.end()
    async with asyncio.timeout(5):
        watched, waited = await rest
        late = await _all(broadcast.join().pieces())
    assert watched[-1] == waited[-1] == FAREWELL
    assert late == [FAREWELL]
    assert len(broadcast) == 0


async def _all(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]
