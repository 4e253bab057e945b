"""Ten duplicates at once, and somebody else who writes to the same request twenty times a second."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator

from chaos.alerts import Problem
from chaos.injections import Injection
from chaos.rehearsal import Rehearsal
from chaos.scenario import Needs, Scenario

DUPLICATES = 10
RIVAL_A_SECOND = 20
BACKOFF = "gateway_k8s_api_retry_backoff_seconds"
CONFLICTS, HEALED = "gateway_crd_update_conflicts_total", "gateway_crd_update_retry_success_total"
ROW = {0.1: "100 ms", 0.2: "200 ms", 0.5: "400 ms"}
"""Bucket of the histogram → the delay that falls into it."""


async def _play(r: Rehearsal) -> None:
    began = r.now()
    counted: list[int] = []
    reliable = await r.way.able(Injection.K8S_API_CONFLICTS)
    if reliable:
        counted.append(await _three_in_a_row(r))
    rounds = r.now()
    with r.phase("rounds against a rival"):
        for number in itertools.count():
            problem = r.problem("PodOOMKilled", f"round-{number}")
            name = await _created(r, problem)
            async with _rival(r, name):
                counted.append(await _duplicated(r, problem))
            enough = not reliable or r.sight.increase(CONFLICTS, since=rounds) >= r.time(10, 2)
            if (enough and number >= 4) or r.now() > rounds + r.time(300, 60):
                break
    await r.wait(2, 2)
    lines = await r.way.gateway_logs()
    conflicts, healed = (r.sight.increase(name, since=began) for name in (CONFLICTS, HEALED))
    r.must("rounds of one alert and ten concurrent duplicates", len(counted), at_least=5)
    r.must("rounds whose count is not exactly 11", sum(one != 1 + DUPLICATES for one in counted), exactly=0)
    if not (reliable or conflicts):
        r.found(
            "the rival met no update: an API this quick leaves it no room, and no proxy is there to refuse one"
        )
        return
    r.must(
        "updates that met a conflict with the rival", r.sight.increase(CONFLICTS, since=rounds), at_least=1
    )
    if lines is not None:
        logged = sum(json.loads(line).get("msg") == "update met a conflict" for line in lines)
        r.must("conflicts in the log", logged, at_least=conflicts)
    share = healed / conflicts if conflicts else None
    r.must("updates healed by a retry, of those that met a conflict", share, at_least=0.99)


async def _three_in_a_row(r: Rehearsal) -> int:
    """An update that is refused three times, which no rival can be relied on for."""
    began = r.now()
    with r.phase("three conflicts in a row"):
        problem = r.problem("PodOOMKilled", "in-a-row")
        await _created(r, problem)
        async with r.injecting(Injection.K8S_API_CONFLICTS):
            counted = await _duplicated(r, problem)
        await r.wait(1, 1)
    row = r.sight.buckets(BACKOFF, since=began)
    for bucket, delay in ROW.items():
        r.must(f"delays of {delay}", row.get(bucket, 0), at_least=1)
    return counted


async def _created(r: Rehearsal, problem: Problem) -> str:
    """The name of the problem's request, once it is there."""
    await r.send(problem)
    while True:
        for one in await r.requests():
            if one["spec"]["signalLabels"]["pod"] == problem.pod:
                return str(one["metadata"]["name"])
        await asyncio.sleep(0.1)


async def _duplicated(r: Rehearsal, problem: Problem) -> int:
    """Ten duplicates at once; what the request counts when all are written, or after 30 s."""
    await asyncio.gather(*(r.send(problem) for _ in range(DUPLICATES)))
    for _ in range(150):
        requests = await r.requests()
        counts = [
            int(one["spec"]["deduplication"]["occurrenceCount"])
            for one in requests
            if one["spec"]["signalLabels"]["pod"] == problem.pod
        ]
        if sum(counts) >= 1 + DUPLICATES:
            break
        await asyncio.sleep(0.2)
    return sum(counts)


@contextlib.asynccontextmanager
async def _rival(r: Rehearsal, name: str) -> AsyncIterator[None]:
    """Another writer of the request while the block lasts."""

    async def write() -> None:
        for number in itertools.count():
            await r.way.kubernetes.annotate(r.scenario.where, name, "example.com/rival", str(number))
            await asyncio.sleep(1 / RIVAL_A_SECOND)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


SCENARIO = Scenario(
    number=6,
    name="concurrent-updates",
    title="Ten concurrent duplicates and a rival writer",
    proves="Whoever else writes, each duplicate counts once, and a conflict heals by reading again.",
    play=_play,
    needs=Needs(api_proxy=True),
    namespace="prod-api",
)
