"""One schedule from its start to the judgement.

The oracle knows what was answered to whom, and what Kubernetes holds in the end; nothing of how it came about.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from chaos.rig.api import Api
from chaos.rig.waiting import eventually
from tests.faults.schedules import Effect, Schedule, Step, Target
from tests.faults.stage import Stage
from tests.integration.judging import Judgement, Room, judged
from tests.integration.ordeals import Load
from tests.integration.sight import settled

RATE = 20.0
"""Deliveries a second: new problems, duplicates, and storms."""
RECOVERY = 45.0
"""Seconds until both gateways are ready after the last fault. A breaker's probes, a start, and a busy machine."""


@dataclass(frozen=True)
class Result:
    """What became of one schedule."""

    schedule: Schedule
    problems: tuple[str, ...]
    """Broken promises; empty where all were kept."""
    told: str
    """Figures, for whoever watches."""

    def __str__(self) -> str:
        return "\n".join(
            [str(self.schedule), f"  {self.told}", *(f"  BROKEN: {one}" for one in self.problems)]
        )


async def play(schedule: Schedule, cluster: Api, folder: Path) -> Result:
    """Perform a schedule under load in a namespace of its own. Logs, journals and the log of what was sent stay."""
    namespace = f"faults-{schedule.seed}-{os.urandom(3).hex()}"
    await asyncio.to_thread(cluster.create_namespace, namespace)
    stage = Stage(schedule, cluster, folder)
    try:
        await asyncio.to_thread(stage.start)
        return await _played(schedule, stage, cluster, namespace, folder / "sent.jsonl")
    finally:
        await asyncio.to_thread(stage.end)
        await asyncio.to_thread(cluster.remove_namespace, namespace)


async def _played(schedule: Schedule, stage: Stage, cluster: Api, namespace: str, log: Path) -> Result:
    load = Load(stage.gateways, namespace, log, rate=RATE)
    sending = asyncio.create_task(load.run())
    problems: list[str] = []
    began = time.monotonic()
    try:
        await eventually(lambda: load.accepted > RATE, "some load", seconds=30)
        began = time.monotonic()
        async with asyncio.TaskGroup() as steps:
            for step in schedule.steps:
                steps.create_task(_at(step, stage))
        healed = time.monotonic()
        await eventually(
            lambda: all(gateway.ready() for gateway in stage.gateways),
            "both gateways to be ready again",
            seconds=RECOVERY,
            every=0.2,
        )
        recovered = time.monotonic() - healed
        await asyncio.sleep(1.5)
        load.stop()
        await asyncio.wait_for(sending, 90)
        await settled(*stage.gateways, seconds=120)
    except* (TimeoutError, AssertionError) as failed:
        problems += [f"{error!r}" for error in failed.exceptions]
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    if problems:
        return Result(schedule, tuple(problems), f"{load.accepted} accepted")
    found = await judged(log, cluster, room=room_of(schedule))
    problems += _broken(found, load)
    told = (
        f"{found}; {load.refused:.1%} of {load.statuses.total()} attempts were 503, slowest answer "
        f"{load.slowest:.1f} s, ready {recovered:.1f} s after the last fault, {time.monotonic() - began:.0f} s in all"
    )
    return Result(schedule, tuple(problems), told)


def room_of(schedule: Schedule) -> Room:
    """Which notes of refused deliveries the schedule can take away."""
    return Room(
        # For a gateway that was stopped, every call that was under way has timed out when it goes on.
        notes_lost=schedule.touches(Target.REDIS, Target.LINK, Target.GATEWAY),
        deaths=schedule.has(Effect.PROCESS),
    )


def _broken(found: Judgement, load: Load) -> list[str]:
    problems = []
    if not found.exact:
        problems += [str(found), *found.findings, *found.faults]
    if found.accepted != load.accepted:
        problems.append(f"the log has {found.accepted} that were accepted, the senders {load.accepted}")
    return problems


async def _at(step: Step, stage: Stage) -> None:
    await asyncio.sleep(step.at)
    await stage.perform(step)
