"""One call in flight; what arrives meanwhile shares the next one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.engine.coalescing import Coalescer


async def test_what_arrives_during_a_call_shares_the_next_one() -> None:
    batches: list[list[int]] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    async def call(items: list[int]) -> None:
        batches.append(items)
        begun.set()
        await gate.wait()

    coalescer = Coalescer[int](call, most=10)
    first = asyncio.create_task(coalescer.submit(1))
    await begun.wait()
    others = [asyncio.create_task(coalescer.submit(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others)

    assert batches == [[1], [2, 3, 4]]


async def test_a_failure_belongs_to_its_batch_alone() -> None:
    async def call(items: list[int]) -> None:
        if 1 in items:
            raise ValueError("no")

    coalescer = Coalescer[int](call, most=1)
    results = await asyncio.gather(coalescer.submit(1), coalescer.submit(2), return_exceptions=True)

    assert isinstance(results[0], ValueError)
    assert results[1] is None


async def test_batches_are_bounded() -> None:
    sizes: list[int] = []

    async def call(items: list[int]) -> None:
        sizes.append(len(items))
        await asyncio.sleep(0)

    coalescer = Coalescer[int](call, most=3)
    async with asyncio.timeout(5):
        await asyncio.gather(*(coalescer.submit(number) for number in range(10)))

    assert max(sizes) == 3
    assert sum(sizes) == 10


async def test_cancelling_a_submitter_leaves_the_others_alone() -> None:
    gate = asyncio.Event()

    async def call(_: list[int]) -> None:
        await gate.wait()

    coalescer = Coalescer[int](call, most=3)
    one, other = (asyncio.create_task(coalescer.submit(number)) for number in (1, 2))
    await asyncio.sleep(0)
    one.cancel()
    gate.set()

    with pytest.raises(asyncio.CancelledError):
        await one
    await other


async def test_with_linger_a_batch_waits_for_others_but_not_once_it_is_full() -> None:
    batches: list[list[int]] = []

    async def call(items: list[int]) -> None:
        batches.append(items)

    coalescer = Coalescer[int](call, most=2, linger=0.05)
    first = asyncio.create_task(coalescer.submit(1))
    for _ in range(2):  # turns in which it would go, and no time that a busy machine could make longer
        await asyncio.sleep(0)
    assert not batches
    await asyncio.gather(first, *(coalescer.submit(number) for number in (2, 3)))

    assert batches == [[1, 2], [3]]
