"""`gateway audit`: what senders were told was accepted, against what the requests in the cluster hold.

With `--alertmanager` it asks something else of the same requests, in `anti_entropy`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.cli.balance import Report
    from gateway.cli.holdings import Request
    from gateway.cli.sentlog import Attempt
    from gateway.config.settings import Settings

EXAMPLES = """\
examples:
  gateway audit --sent sent.jsonl                     after `gateway send … --output sent.jsonl`
  gateway audit --sent sent.jsonl --wait 90s          windows that are open have time to close
  gateway audit --sent one.jsonl --sent two.jsonl --kubeconfig kubeconfig --output json
  gateway audit --sent sent.jsonl --exclusive         nobody else sends: other requests are a surplus
  gateway audit --sent sent.jsonl --deleted gone.jsonl    whoever deletes requests has written them down
  gateway audit --alertmanager http://alertmanager:9093 --receiver gateway --config gateway.yaml

With --sent: for each fingerprint it compares the alerts that were accepted with the sum of occurrenceCount over its
requests, alone or as a member of a storm, and looks for more than one open request. For each request it compares the
count with its marks or members. A send without an answer counts as "0 or 1"; one that got 503 and was repeated counts
once. What a deleted request counted can no longer be seen, unless --deleted names a file of what was deleted, and what
is a dead letter is in no request yet: both show as a loss. So does what a window still holds: with the defaults of
storm.hold and storm.inactivity it is in a request 60 s after the last new alert of its group (5 min after the first at
the latest), so give --wait more than that; `gateway storms` shows the windows that are open.

With --alertmanager: each alert that fires there must be held by one open request here, alone or as a member of a
storm. It is identified as the gateway would, so give it the gateway's own --config. An alert that began less than
--grace ago is pending: it may still wait for group_wait, or for group_interval where its group is known already, and
then in a window (storm.hold, at most storm.max_window); let --grace be more than their sum. What is silenced,
inhibited or muted needs no request, nor does what the policy denies. Open requests of alerts that fire no more are
listed, and are no finding: closing them is their controllers' business.

Exit code 0: everything adds up; 1: a loss, a surplus, or a request that contradicts itself; with --alertmanager, an
alert that fires and is missing, invalid, or held twice.
"""

POLL = 1.0
"""Seconds between two looks while waiting."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="compare what was accepted with what the requests hold",
        description="Compare what was accepted with what the requests in the cluster hold.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument(
        "--sent",
        type=Path,
        action="append",
        metavar="FILE",
        help="a log of `gateway send --output` (repeatable; attempts that are in two files count once)",
    )
    against.add_argument(
        "--alertmanager",
        type=arguments.base_url,
        metavar="URL",
        help="compare with what fires in this Alertmanager; for basic authentication https://user:password@host",
    )
    parser.add_argument(
        "--deleted",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --sent: deleted requests, each as the API last held it, one JSON object a line (repeatable)",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="short for --set kubernetes.kubeconfig=FILE")
    parser.add_argument("--context", metavar="NAME", help="short for --set kubernetes.context=NAME")
    parser.add_argument(
        "--exclusive",
        action="store_true",
        help="with --sent: nobody else sent alerts: requests of other fingerprints are a surplus",
    )
    parser.add_argument(
        "--wait",
        type=arguments.duration,
        default=0.0,
        metavar="TIME",
        help="look again until everything is settled and adds up, at most this long (default: look once)",
    )
    _add_alertmanager_options(parser)
    arguments.add_target_options(parser, "also wait until this gateway has nothing unconfirmed or queued")
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def _add_alertmanager_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --alertmanager")
    group.add_argument(
        "--receiver",
        action="append",
        default=[],
        metavar="NAME",
        help="look only at alerts that its routes send to this receiver, as named there (repeatable)",
    )
    group.add_argument(
        "--grace",
        type=arguments.duration,
        default=120.0,
        metavar="TIME",
        help="an alert that began less than this long ago may still be on its way (default: 2m)",
    )
    group.add_argument(
        "--include",
        action="append",
        default=[],
        choices=("silenced", "inhibited", "muted"),
        help="alerts that are this need a request, too (repeatable; muted is by a time interval)",
    )
    group.add_argument(
        "--alertmanager-token",
        default=os.environ.get("ALERTMANAGER_TOKEN"),
        metavar="TOKEN",
        help="bearer token (environment: ALERTMANAGER_TOKEN, which keeps it out of the process list)",
    )
    group.add_argument("--identity", default="", metavar="NAME", help="as whom the policy knows Alertmanager")
    group.add_argument("--source", default="", metavar="ADDRESS", help="… and from where it comes")
    group.add_argument("-v", "--verbose", action="store_true", help="list what is held, too")


def run(args: argparse.Namespace) -> Exit:
    """Compare, print the judgement, and return 1 if anything does not add up."""
    misplaced = (
        {"--exclusive": args.exclusive, "--deleted": args.deleted}
        if args.alertmanager is not None
        else {"--receiver": args.receiver, "--include": args.include}
    )
    for option, given in misplaced.items():
        if given:
            raise CommandError(
                f"{option} means nothing here", hint="`gateway audit --help` says which goes with which."
            )
    overrides = [
        f"kubernetes.{key}={value}"
        for key, value in (("kubeconfig", args.kubeconfig), ("context", args.context))
        if value is not None
    ]
    if args.alertmanager is not None:
        from gateway.cli import anti_entropy

        return anti_entropy.run(args, arguments.load_settings(args, *overrides))

    from gateway.cli.sentlog import read

    attempts = list(itertools.chain.from_iterable(read(path) for path in args.sent))
    if not attempts:
        output.warn("the logs hold no attempts: there is nothing to compare")
    report = asyncio.run(_judge(args, arguments.load_settings(args, *overrides), attempts))
    if args.output == "json":
        output.print_json(as_json(report))
    else:
        _print(report)
    return Exit.OK if report.clean else Exit.FINDING


async def _judge(args: argparse.Namespace, settings: Settings, attempts: list[Attempt]) -> Report:
    """Look until it is clean and nothing moves any more, or the time is up; at least once."""
    from gateway.cli.balance import judge
    from gateway.cli.status import idle
    from gateway.cli.stored import open_connection, stored_requests

    connection = await open_connection(settings)
    deadline = time.monotonic() + args.wait
    before: list[Request] | None = None
    try:
        with output.progress("waiting until everything is settled", None) as advance:
            for look in itertools.count(1):
                requests = await stored_requests(connection, settings, args.deleted)
                report = judge(attempts, requests, exclusive=args.exclusive)
                settled = requests == before and (args.url is None or await idle(args.url, args.token))
                if time.monotonic() + POLL > deadline or (report.clean and settled):
                    break
                advance(look, _unsettled(report))
                before = requests
                await asyncio.sleep(POLL)
    finally:
        await connection.close()
    return report


def _unsettled(report: Report) -> str:
    findings = sum(1 for row in report.rows if row.findings)
    if not findings:
        return ""
    held = f" ({output.counted(report.in_windows, 'alert')} in windows)" if report.in_windows else ""
    return f"{output.counted(findings, 'fingerprint')} to add up yet{held}"


def as_json(report: Report) -> dict[str, Any]:
    """Return the judgement as scripts read it."""
    from gateway.cli.balance import Finding

    return {
        "clean": report.clean,
        "deliveries": report.deliveries,
        "fingerprints": len(report.rows),
        "accepted": {
            "low": sum(row.accepted.low for row in report.rows),
            "high": sum(row.accepted.high for row in report.rows),
        },
        "counted": sum(row.counted for row in report.rows),
        "lost": report.total(Finding.LOSS),
        "inWindows": report.in_windows,
        "surplus": report.total(Finding.SURPLUS),
        "openTwice": report.total(Finding.OPEN_TWICE),
        "findings": [
            {
                "fingerprint": row.fingerprint or None,
                "alertname": row.alertname,
                "namespace": row.namespace,
                "accepted": {"low": row.accepted.low, "high": row.accepted.high},
                "counted": row.counted,
                "difference": row.difference,
                "requests": list(row.requests),
                "findings": [finding.value for finding in row.findings],
                "detail": row.detail,
            }
            for row in report.rows
            if row.findings
        ],
        "faults": [{"request": name, "fault": fault} for name, fault in report.faults],
    }


def _print(report: Report) -> None:
    summary = as_json(report)
    wrong = [row for row in report.rows if row.findings]
    if wrong:
        output.table(
            ("finding", "fingerprint", "alert", "namespace", "accepted", "counted", "difference", "detail"),
            [
                (
                    ", ".join(row.findings),
                    row.fingerprint[:10] or "unknown",
                    row.alertname,
                    row.namespace,
                    row.accepted,
                    row.counted,
                    f"{row.difference:+}",
                    row.detail or ", ".join(row.requests),
                )
                for row in wrong
            ],
        )
    if report.faults:
        output.table(("request", "fault"), report.faults)
    accepted = summary["accepted"]
    span = (
        str(accepted["low"])
        if accepted["low"] == accepted["high"]
        else f"{accepted['low']}..{accepted['high']}"
    )
    verdict = (
        "Everything adds up"
        if report.clean
        else (
            f"{summary['lost']} lost, {summary['surplus']} too many, {summary['openTwice']} fingerprints open twice, "
            f"{len(report.faults)} requests that contradict themselves"
        )
    )
    if report.in_windows:
        output.say(
            f"{output.counted(report.in_windows, 'alert')} of the lost may still be held in windows that are open: "
            "`gateway storms` shows them, and --wait 90s outlasts the default hold of 60s."
        )
    output.say(f"{verdict}: {span} accepted, {summary['counted']} counted, {len(report.rows)} fingerprints.")
