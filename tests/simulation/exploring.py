"""As many schedules as one likes, with what they found.

python -m tests.simulation --seeds 20000 --start 500
python -m tests.simulation --profile loss --seed 4711 --trace
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import structlog

from tests.simulation.nemesis import schedule
from tests.simulation.profiles import ALL, BY_NAME


def _one(job: tuple[str, int]) -> tuple[str, int, list[str]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return (*job, schedule(BY_NAME[job[0]], job[1])[1])


def main() -> int:
    """Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2000, help="seeds for each profile")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--profile", choices=sorted(BY_NAME), action="append", help="only this one (repeatable)"
    )
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--trace", action="store_true", help="print what happened, with --seed")
    options = parser.parse_args()
    names = options.profile or [profile.name for profile in ALL]
    if options.seed is not None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        failed = 0
        for name in names:
            world, found = schedule(BY_NAME[name], options.seed)
            if options.trace:
                print("\n".join(world.log))
            print(f"{name} {options.seed}: {found or 'ok'}")
            failed += bool(found)
        return 1 if failed else 0
    jobs = [(name, seed) for seed in range(options.start, options.start + options.seeds) for name in names]
    began = time.monotonic()
    failures = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for done, (name, seed, found) in enumerate(pool.imap_unordered(_one, jobs, chunksize=20), 1):
            if found:
                failures += 1
                print(f"\rFAILED {name} {seed}: {found}", flush=True)
            if done % 200 == 0 or done == len(jobs):
                rate = done / (time.monotonic() - began)
                print(
                    f"\r{done}/{len(jobs)} schedules, {rate:.0f} a second, {failures} failed ",
                    end="",
                    flush=True,
                )
    print()
    return 1 if failures else 0
