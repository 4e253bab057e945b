"""`gateway doctor`: what is wrong with the configuration, Redis, Kubernetes and an Alertmanager's configuration, where,
and what to do about it.

    configured    what there is to say about the gateway's own configuration
    alertmanager  … and about an Alertmanager's that posts to it
    receivers     … which webhooks that has                                (pure, but for the files)
    redis         what is asked of Redis
    kubernetes    what is asked of the API server
    permissions   … what the account may do there
    schema        … and whether requests fit its definition of them    (pure)
    clocks        … and what its clock says                                (pure)
    timing        limits of time, latencies

Every check ends in bounded time with a `Diagnosis`; a dependency that is dead or hangs is a finding like any other.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import arguments, output
from gateway.cli.output import Exit

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.resilience.diagnosis import Diagnosis

EXAMPLES = """\
examples:
  gateway doctor --config gateway.yaml
  gateway doctor --set redis.url=redis://redis:6379/0 --kubeconfig kubeconfig
  gateway doctor --config gateway.yaml --alertmanager-config alertmanager.yml
  gateway doctor --output json | jq '.checks[] | select(.result != "ok")'

Run it where the gateway runs, with the gateway's own configuration and account: it looks with their eyes. It changes
nothing: what it creates in Kubernetes is only rehearsed there, and in Redis it deletes two keys that nobody writes.
Of an Alertmanager only the file is looked at: the webhooks whose path is one of the gateway's.
A check that cannot be made, say because the account may not ask, is a warning and says so.

Exit code 0: all well, or only warnings; 1: something is wrong, a dependency that does not answer included; 2: the
configuration cannot be used, and nothing else was looked at.
"""

COLUMNS = ("result", "part", "check", "where", "found")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="check the configuration, Redis and Kubernetes, and say what to do",
        description="Check the configuration, Redis, Kubernetes and, if given, an Alertmanager's configuration: what "
        "is wrong, where, and what to do.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="short for --set kubernetes.kubeconfig=FILE")
    parser.add_argument("--context", metavar="NAME", help="short for --set kubernetes.context=NAME")
    parser.add_argument(
        "--alertmanager-config",
        type=Path,
        metavar="FILE",
        help="check the webhooks of this Alertmanager configuration, too",
    )
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Look at everything, print what was found, and return 1 if anything is wrong."""
    from gateway.cli.doctor import alertmanager
    from gateway.cli.doctor.configured import configured
    from gateway.errors import ConfigurationError
    from gateway.resilience.diagnosis import Diagnosis, Grade

    overrides = [
        f"kubernetes.{key}={value}"
        for key, value in (("kubeconfig", args.kubeconfig), ("context", args.context))
        if value is not None
    ]
    try:
        settings = arguments.load_settings(args, *overrides)
    except ConfigurationError as error:
        if args.output != "json":
            raise
        source = str(args.config or "the environment and --set")
        remedy = "see `gateway config schema`"
        _print_json(
            [
                Diagnosis("configuration", "settings", source, Grade.WRONG, fault, remedy)
                for fault in error.faults
            ]
        )
        return Exit.USAGE
    found = configured(settings, str(args.config or "no file"))
    if args.alertmanager_config is not None:
        found += alertmanager.examine(args.alertmanager_config, settings)
    found += asyncio.run(_examine(settings))
    if args.output == "json":
        _print_json(found)
    else:
        _print(found)
    return Exit.FINDING if any(one.grade is Grade.WRONG for one in found) else Exit.OK


async def _examine(settings: Settings) -> list[Diagnosis]:
    from gateway.cli.doctor import kubernetes, redis
    from gateway.cli.doctor.configured import reviews

    # One after the other: each measures times, and the other's work would be part of them.
    with output.progress("looking at", 2) as advance:
        advance(0, "Redis")
        found = await redis.examine(settings.redis)
        advance(1, "Kubernetes")
        return [*found, *await kubernetes.examine(settings.kubernetes, reviews(settings.auth))]


def _print_json(found: Sequence[Diagnosis]) -> None:
    output.print_json(
        {
            "ok": not _count(found, "wrong"),
            "wrong": _count(found, "wrong"),
            "warnings": _count(found, "warning"),
            "checks": [
                {
                    "part": one.part,
                    "check": one.check,
                    "where": one.where,
                    "result": one.grade.value,
                    "seen": one.seen,
                    "found": one.found,
                    "remedy": one.remedy or None,
                }
                for one in found
            ],
        }
    )


def _print(found: Sequence[Diagnosis]) -> None:
    output.table(COLUMNS, [(one.grade.value, one.part, one.check, one.where, one.found) for one in found])
    for grade, title in (("wrong", "Wrong; what to do:"), ("warning", "Warnings; what to do:")):
        if _count(found, grade):
            output.say()
            output.say(title)
            for one in found:
                if one.grade == grade:
                    output.say(output.printable(f"  {one.part} {one.check} ({one.where}): {one.remedy}"))
    output.say()
    wrong, warnings = _count(found, "wrong"), _count(found, "warning")
    verdict = (
        "All is well" if not wrong + warnings else f"{wrong} wrong, {output.counted(warnings, 'warning')}"
    )
    output.say(f"{verdict}: {output.counted(len(found), 'check')}.")


def _count(found: Sequence[Diagnosis], grade: str) -> int:
    return sum(one.grade == grade for one in found)
