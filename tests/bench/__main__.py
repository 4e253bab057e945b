"""`make bench`: what the gateway does, beside what could be done at best.

Figures come in groups, each a module with the whole story in its docstring:

    throughput   intake at 1 to 500 alerts a webhook, beside a handler that only decodes
    latency      until an alert is durable, at half of that load
    access       with bearer tokens and with signed ones, beside none
    creation     requests for new alerts, beside a client that only posts the same objects
    calls        to the Kubernetes API: of a new alert, a duplicate, a quiet minute, without Redis
    storms       the writes of storms, and how long one of 10,000 alerts takes
    fallback     intake without Redis, beside with it
    memory       of an open request, an unconfirmed alert, a window
    starting     until ready, with none to 50,000 open requests
    opened       intake with 50,000 open requests, beside with 1,000

Nearly all of them are ratios of two things measured in one run on one machine, in turns; the others are counted. The
exit code is 1 where a limit is missed. The latest of each figure is kept in `results/bench.json`, and the next run
shows it beside its own. `--short` runs everything with so little that only what is counted means anything, asks only
that to keep its limits, and keeps nothing unless `--results` says where: that is how the tests run it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from chaos.rig import processes
from chaos.rig.cluster import Cluster
from tests.bench import access, calls, creation, fallback, memory, opened, starting, storms, throughput
from tests.bench.figures import Figure, Results
from tests.bench.stage import ROOT, Options, Stage

RESULTS = ROOT / "results" / "bench.json"
GROUPS: dict[str, Callable[[Stage], Iterator[Figure]]] = {
    "throughput": throughput.measure,
    "latency": throughput.measure_at_half_load,
    "access": access.measure,
    "creation": creation.measure,
    "calls": calls.measure,
    "storms": storms.measure,
    "fallback": fallback.measure,
    "memory": memory.measure,
    "starting": starting.measure,
    "opened": opened.measure,
}


def measure(groups: list[str], options: Options) -> Iterator[Figure]:
    """The figures of some groups, each on a stage of its own."""
    clusters: list[Cluster] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as shared:
        for group in groups:
            with Stage(Path(name), options, shared, clusters, prefix=group) as stage:
                yield from GROUPS[group](stage)


def main() -> int:
    """Measure, show and keep. Returns 1 where a limit is missed."""
    options, groups, results, keeps = parsed()
    figures: list[Figure] = []
    kept = Results(results)
    try:
        figures.extend(measure(groups, options))  # those that are there stay, whatever becomes of the next
    finally:
        processes.end_everything()
        Console().print(kept.table(figures))
        if keeps:
            kept.keep(figures, environment())
    judged = [figure for figure in figures if figure.counted or not options.short]
    return 0 if all(figure.holds for figure in judged) else 1


def environment() -> dict[str, Any]:
    """What a figure depends on beside the program."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def parsed(arguments: Sequence[str] | None = None) -> tuple[Options, list[str], Path, bool]:
    """Options, groups, where the last results are, and whether those of this run go there.

    Those of a short run mean too little to be compared with, and go only where somebody asked for them.
    """
    default = Options()
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", type=_words(GROUPS), default=list(GROUPS), help="groups, like creation,calls"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of each side (default {default.rounds})")
    parser.add_argument("--seconds", type=float, help=f"seconds a round (default {default.seconds:g})")
    parser.add_argument(
        "--sizes", type=_numbers, default=default.sizes, help="alerts a webhook, like 1,10 (default all)"
    )
    parser.add_argument("--kind", choices=default.kinds, help="only alerts as before, or only changed ones")
    parser.add_argument("--short", action="store_true", help="a little of everything")
    parser.add_argument(
        "--results",
        type=Path,
        help=f"the file that keeps them (default {RESULTS.relative_to(ROOT)}, except with --short)",
    )
    given = parser.parse_args(arguments)
    rounds, seconds = (1, 0.3) if given.short else (default.rounds, default.seconds)
    options = Options(
        rounds=given.rounds or rounds,
        seconds=given.seconds or seconds,
        sizes=given.sizes,
        kinds=[given.kind] if given.kind else default.kinds,
        short=given.short,
    )
    return options, given.only, given.results or RESULTS, given.results is not None or not given.short


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _words(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def words(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [word for word in found if word not in known]:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: no such group; {', '.join(known)} are there"
            )
        return found

    return words


if __name__ == "__main__":
    sys.exit(main())
