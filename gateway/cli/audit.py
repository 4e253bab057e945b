"""`gateway audit`: what senders were told was accepted, against what the requests in the cluster hold."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import Exit

if TYPE_CHECKING:
    from gateway.cli.balance import Report
    from gateway.cli.holdings import Request
    from gateway.cli.sentlog import Attempt
    from gateway.config.settings import Settings
    from gateway.kube.connection import Connection

EXAMPLES = """\
examples:
  gateway audit --sent sent.jsonl                     after `gateway send … --output sent.jsonl`
  gateway audit --sent sent.jsonl --wait 30s
  gateway audit --sent one.jsonl --sent two.jsonl --kubeconfig kubeconfig --output json
  gateway audit --sent sent.jsonl --exclusive         nobody else sends: other requests are a surplus

For each fingerprint it compares the alerts that were accepted with the sum of occurrenceCount over its requests,
alone or as a member of a storm, and looks for more than one open request. For each request it compares the count
with its marks or members. A send without an answer counts as "0 or 1"; one that got 503 and was repeated counts
once. What a deleted request counted can no longer be seen, and what is a dead letter is in no request yet: both show
as a loss.

Exit code 0: everything adds up; 1: a loss, a surplus, or a request that contradicts itself.
"""

POLL = 1.0
"""Seconds between two looks while waiting."""
LISTINGS = 3
"""How often a list is begun whose pages the API server no longer has."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit",
        help="compare what was accepted with what the requests hold",
        description="Compare what was accepted with what the requests in the cluster hold.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sent",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a log of `gateway send --output` (repeatable; attempts that are in two files count once)",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="short for --set kubernetes.kubeconfig=FILE")
    parser.add_argument("--context", metavar="NAME", help="short for --set kubernetes.context=NAME")
    parser.add_argument(
        "--exclusive",
        action="store_true",
        help="nobody else sent alerts: requests of other fingerprints are a surplus",
    )
    parser.add_argument(
        "--wait",
        type=arguments.duration,
        default=0.0,
        metavar="TIME",
        help="look again until everything is settled and adds up, at most this long (default: look once)",
    )
    arguments.add_target_options(parser, "also wait until this gateway has nothing unconfirmed or queued")
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Compare, print the judgement, and return 1 if anything does not add up."""
    from gateway.cli.sentlog import read

    attempts = list(itertools.chain.from_iterable(read(path) for path in args.sent))
    if not attempts:
        output.warn("the logs hold no attempts: there is nothing to compare")
    overrides = [
        f"kubernetes.{key}={value}"
        for key, value in (("kubeconfig", args.kubeconfig), ("context", args.context))
        if value is not None
    ]
    settings = arguments.load_settings(args, *overrides)
    report = asyncio.run(_judge(args, settings, attempts))
    if args.output == "json":
        output.print_json(as_json(report))
    else:
        _print(report)
    return Exit.OK if report.clean else Exit.FINDING


async def _judge(args: argparse.Namespace, settings: Settings, attempts: list[Attempt]) -> Report:
    """Look until it is clean and nothing moves any more, or the time is up; at least once."""
    from gateway.cli.balance import judge
    from gateway.cli.status import idle
    from gateway.kube.connection import Connection

    connection = Connection(kubeconfig=settings.kubernetes.kubeconfig, context=settings.kubernetes.context)
    await connection.open()
    deadline = time.monotonic() + args.wait
    before: list[Request] | None = None
    try:
        with output.progress("waiting until everything is settled", None) as advance:
            for look in itertools.count(1):
                requests = await stored_requests(connection, settings)
                report = judge(attempts, requests, exclusive=args.exclusive)
                settled = requests == before and (args.url is None or await idle(args.url, args.token))
                if time.monotonic() + POLL > deadline or (report.clean and settled):
                    break
                findings = sum(1 for row in report.rows if row.findings)
                advance(look, f"{findings} fingerprints do not add up yet" if findings else "")
                before = requests
                await asyncio.sleep(POLL)
    finally:
        await connection.close()
    return report


async def stored_requests(connection: Connection, settings: Settings) -> list[Request]:
    """Return all requests, as of one moment, read as plain JSON: of the cluster, or of the configured namespaces."""
    from gateway.cli.holdings import read_request
    from gateway.errors import KubeExpired

    for attempt in range(1, LISTINGS + 1):
        try:
            return [
                read_request(item, settings.dedup.terminal_phases)
                for namespace in settings.kubernetes.namespaces or (None,)
                async for item in _items(connection, namespace)
            ]
        except KubeExpired:  # between two pages: the list must start over to be of one moment
            if attempt == LISTINGS:
                raise
    raise AssertionError("unreachable")


async def _items(connection: Connection, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
    from gateway.kube.connection import Call
    from gateway.kube.observing import Verb
    from gateway.model import API_GROUP, API_VERSION, PLURAL

    scope = f"/namespaces/{namespace}" if namespace else ""
    params = {"limit": "500"}
    while True:
        call = Call(Verb.LIST, "GET", f"/apis/{API_GROUP}/{API_VERSION}{scope}/{PLURAL}", dict(params))
        page = json.loads(await connection.call(call, timeout=connection.timeouts.page))
        for item in page.get("items") or ():
            yield item
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        params["continue"] = token


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
    output.say(f"{verdict}: {span} accepted, {summary['counted']} counted, {len(report.rows)} fingerprints.")
