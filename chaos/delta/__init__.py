"""The difference of two expositions of a gateway's metrics: `python -m chaos delta`, and `scripts/metrics-delta.sh`.

`comparing` says what happened between the two, `quantiles` interpolates, `table` shows it, `sources` reads files and
addresses. Nothing in here knows which metrics there are.
"""

from __future__ import annotations

import argparse
import json
import sys

from chaos.delta import sources, table
from chaos.delta.comparing import compare

EPILOG = """\
Each of the two is a file that holds what /metrics answered, or an address that is asked now.
Exit code 0: compared; 1: compared, but the process was started anew between the two, so that growth is that since its
start; 2: a source cannot be read, or is no exposition.
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to those of `python -m chaos`."""
    parser = commands.add_parser(
        "delta", help="what happened between two looks at a gateway's metrics", epilog=EPILOG
    )
    parser.add_argument("before", metavar="BEFORE", help="a file or an address")
    parser.add_argument("after", metavar="AFTER", help="a file or an address")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="how far apart the two are, for rates (default: by the times of the files)",
    )
    parser.add_argument("--all", action="store_true", help="also what stayed as it was")
    parser.add_argument(
        "--output", choices=("table", "json"), default="table", help="for people, or for scripts"
    )
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Compares, prints, and returns the exit code."""
    try:
        before, after = sources.read(options.before), sources.read(options.after)
    except sources.Unusable as error:
        print(f"delta: {error}", file=sys.stderr)
        return 2
    seconds = after.at - before.at if options.seconds is None else options.seconds
    if seconds <= 0:
        print(
            "delta: the second is not later than the first, so that there are no rates; "
            "--seconds says how far apart they are",
            file=sys.stderr,
        )
    delta = compare(before.exposition, after.exposition, seconds=seconds)
    if options.output == "json":
        print(json.dumps(table.to_json(delta), indent=1, ensure_ascii=False))
    else:
        print(table.render(delta, everything=options.all), end="")
    return int(delta.restarted)
