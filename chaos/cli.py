"""The command line. `make chaos` and the scripts are thin shells around it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos import collecting, delta, reports, validating
from chaos.cluster.settings import Place
from chaos.cluster.way import cluster_way
from chaos.load import cli as load
from chaos.local.way import local_way
from chaos.rig.processes import end_everything
from chaos.running import campaign, told
from chaos.scenario import Scenario
from chaos.scenarios import ALL, BY_NAME
from chaos.verdicts import Verdict

RESULTS = Path("results") / "chaos"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Rehearse failures of the gateway's world, and judge what comes of it.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands)
    _add_metrics(commands)
    _add_validate(commands)
    _add_report(commands)
    delta.add_to(commands)
    load.add(commands)
    options = parser.parse_args(arguments)
    found: int = options.act(options)
    return found


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="play scenarios",
        epilog="Exit code 0: all that were played have passed; 1: one failed, or none could be played.",
    )
    run.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="names or numbers; all without any")
    run.add_argument("--full", action="store_true", help="the original times instead of shortened ones")
    run.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    run.add_argument("--cooldown", type=float, default=0.0, metavar="SECONDS", help="between two scenarios")
    run.add_argument(
        "--cluster",
        action="store_true",
        help="in a cluster, or on whatever gateway GATEWAY_URL names, instead of processes on this machine",
    )
    run.add_argument("--list", action="store_true", help="only name the scenarios")
    run.set_defaults(act=_run)


def _add_metrics(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("metrics", help="look at a gateway's metrics before or after something")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--baseline", action="store_true", help="before: the default file is baseline.json")
    when.add_argument("--post-chaos", action="store_true", help="after: the default file is post-chaos.json")
    parser.add_argument("--sent", type=Path, metavar="LOG", help="what `gateway send --output` wrote")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to; - is standard output")
    parser.set_defaults(act=_metrics)


def _add_validate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "validate",
        help="compare two looks with what a scenario must leave",
        epilog="Exit code 0: passed; 1: failed; 2: no such scenario, or a file that is none.",
    )
    parser.add_argument("--scenario", required=True, metavar="SCENARIO", help="a name or a number")
    parser.add_argument("--baseline", type=Path, required=True, metavar="FILE")
    parser.add_argument("--post-chaos", type=Path, required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, metavar="FILE", help="takes the verdict as JSON")
    parser.set_defaults(act=_validate)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "report",
        help="write the reports over a folder of results",
        epilog="Exit code 0: all that were played have passed; 1: not; 2: there are no results.",
    )
    parser.add_argument(
        "--results-dir", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}"
    )
    parser.set_defaults(act=_report)


def _metrics(options: argparse.Namespace) -> int:
    try:
        found = asyncio.run(collecting.collect(Place.of().targets, options.sent))
    except (collecting.Unreachable, ValueError, OSError) as error:
        return _complain(f"metrics: {error}; GATEWAY_METRICS_URL says where they are")
    text = json.dumps(found, indent=1) + "\n"
    path: Path = options.output or Path("baseline.json" if options.baseline else "post-chaos.json")
    if str(path) == "-":
        print(text, end="")
        return 0
    path.write_text(text, encoding="utf-8")
    _say(f"wrote {path}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    try:
        (scenario,) = _chosen([options.scenario])
        looks = [
            json.loads(path.read_text(encoding="utf-8")) for path in (options.baseline, options.post_chaos)
        ]
        verdict = validating.validate(scenario, *looks)
    except (LookupError, ValueError, OSError) as error:
        return _complain(f"validate: {error}")
    for line in told(verdict):
        _say(line)
    if options.output is not None:
        options.output.write_text(json.dumps(verdict.to_json(), indent=1) + "\n", encoding="utf-8")
    return reports.exit_code([verdict])


def _report(options: argparse.Namespace) -> int:
    try:
        verdicts = reports.read(options.results_dir)
    except reports.Unreadable as error:
        return _complain(f"report: {error}")
    for path in reports.write(verdicts, options.results_dir):
        _say(f"wrote {path}")
    return reports.exit_code(verdicts)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _run(options: argparse.Namespace) -> int:
    if options.list:
        for one in ALL:
            _say(f"{one.number:>2}  {one.name:<26} {one.title}")
        return 0
    try:
        chosen = _chosen(options.scenarios)
    except LookupError as error:
        return _complain(str(error))
    results: Path = options.results
    results.mkdir(parents=True, exist_ok=True)
    try:
        verdicts = asyncio.run(_played(chosen, results, options))
    finally:
        end_everything()
    for path in reports.write(verdicts, results):
        _say(f"wrote {path}")
    return reports.exit_code(verdicts)


async def _played(chosen: Sequence[Scenario], results: Path, options: argparse.Namespace) -> list[Verdict]:
    full, cooldown = options.full, options.cooldown
    if options.cluster:
        async with cluster_way(Place.of()) as there:
            return await campaign(chosen, there, results, full=full, say=_say, cooldown=cooldown)
    logs = (results / "logs").absolute()
    # Processes append to their logs, and what they say is read: an earlier run's lines are none of this one's.
    shutil.rmtree(logs, ignore_errors=True)
    async with local_way(logs) as way:
        return await campaign(chosen, way, results, full=full, say=_say, cooldown=cooldown)


def _chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names or numbers. Raises `LookupError`."""
    by_number = {str(one.number): one for one in ALL}
    found = []
    for name in names:
        scenario = BY_NAME.get(name) or by_number.get(name)
        if scenario is None:
            raise LookupError(f"there is no scenario {name!r}; there are {', '.join(BY_NAME)}")
        found.append(scenario)
    return found or list(ALL)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}" if os.environ.get("CI") else text, flush=True)
