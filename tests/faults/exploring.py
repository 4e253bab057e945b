"""As many schedules as one likes, with what they found.

python -m tests.faults --seed 17                    one of them again
python -m tests.faults --seed 17 --show             what it would do
python -m tests.faults --seeds 200 --start 1000     many
python -m tests.faults --minutes 60                 new ones for an hour

A seed draws the same faults at the same moments every time; what the processes do in between is theirs, so a defect
with a narrow moment may need `--repeat`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.rig.api import Api
from chaos.rig.cluster import Cluster
from chaos.rig.processes import end_everything
from tests.faults.running import Result, play
from tests.faults.schedules import draw

KEPT = Path("results") / "faults"
"""Where the logs of failed schedules stay."""


def main() -> int:
    """Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--repeat", type=int, default=1, help="each seed so many times")
    parser.add_argument("--seeds", type=int, default=20, help="so many seeds")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument(
        "--minutes", type=float, help="begin no schedule after so long, whatever --seeds says"
    )
    parser.add_argument("--at-once", type=int, default=2, help="schedules that run beside each other")
    parser.add_argument("--show", action="store_true", help="only print the schedules")
    options = parser.parse_args()
    if options.seed is not None:
        seeds: Iterator[int] = iter([options.seed])
    elif options.minutes is not None:
        seeds = itertools.count(options.start)
    else:
        seeds = iter(range(options.start, options.start + options.seeds))
    seeds = (seed for seed in seeds for _ in range(options.repeat))
    if options.show:
        for seed in itertools.islice(seeds, options.seeds):
            print(draw(seed))
        return 0
    until = None if options.minutes is None else time.monotonic() + options.minutes * 60
    try:
        failed = asyncio.run(_explore(seeds, until, options.at_once))
    finally:
        end_everything()
    return 1 if failed else 0


async def _explore(seeds: Iterator[int], until: float | None, at_once: int) -> int:
    """Returns how many schedules failed."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cluster = Cluster(folder / "cluster")
        try:
            await asyncio.to_thread(cluster.start)
            await asyncio.to_thread(cluster.api.install_crd)
            async with asyncio.TaskGroup() as workers:
                for _ in range(at_once):
                    workers.create_task(_work(seeds, until, cluster.api, folder, results))
        finally:
            await asyncio.to_thread(cluster.stop)
    failed = [result for result in results if result.problems]
    print(f"{len(results)} schedules, {len(failed)} failed", flush=True)
    for result in failed:
        print(f"python -m tests.faults --seed {result.schedule.seed}")
    return len(failed)


async def _work(
    seeds: Iterator[int], until: float | None, cluster: Api, folder: Path, results: list[Result]
) -> None:
    for seed in seeds:
        if until is not None and time.monotonic() > until:
            return
        here = Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=folder))
        result = await play(draw(seed), cluster, here)
        results.append(result)
        print(result, flush=True)
        if result.problems:
            kept = KEPT / here.name
            shutil.copytree(here, kept)
            print(f"  logs: {kept}", flush=True)
        shutil.rmtree(here, ignore_errors=True)
