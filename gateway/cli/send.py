"""`gateway send`: test alerts for a running gateway, at a rate, and a log that `gateway audit` can judge."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.cli.sending import Tally
    from gateway.cli.testalerts import Problems, TestAlert

EXAMPLES = """\
examples:
  gateway send                                        one alert
  gateway send --count 10                             ten times the same problem: one request, count 10
  gateway send --count 50 --distinct 50               fifty problems, once each
  gateway send --storm --alert-name PodOOMKilled --namespace prod-api
                                                      thirty pods of one deployment at once
  gateway send --rate 10/min --duration 2m            twenty alerts, one every six seconds
  gateway send --count 0 --resolve                    say that the problem is over
  gateway send --count 5000 --batch 10 --retries 8 --output sent.jsonl
  gateway audit --sent sent.jsonl                     … and prove that each one was counted

With --rate or --duration and no --count it goes on until the time is up, or Ctrl-C. The log of --output is
continued, never overwritten: one JSON line for each attempt to deliver one alert.
"""

WARN_BEYOND = 1000


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "send",
        help="send test alerts to a gateway",
        description="Send test alerts to a running gateway, as Alertmanager would.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_target_options(parser)
    what = parser.add_argument_group("what is sent")
    what.add_argument("--alert-name", default="GatewayTestAlert", metavar="NAME", help="label alertname")
    what.add_argument("--namespace", default="default", metavar="NAME", help="label namespace")
    what.add_argument("--severity", default="warning", metavar="WORD", help="label severity")
    what.add_argument(
        "--label",
        type=arguments.label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further label, or another value for one of the above (repeatable)",
    )
    what.add_argument(
        "--distinct",
        type=arguments.positive,
        metavar="K",
        help="how many different problems take turns (default: 1, so that its count grows)",
    )
    what.add_argument(
        "--storm",
        action="store_true",
        help="the problems are pods of one deployment; by default 30, and each alert another one",
    )
    what.add_argument(
        "--resolve", action="store_true", help="at the end, send each problem once more as resolved"
    )
    how = parser.add_argument_group("how much, and how fast")
    how.add_argument("--count", type=arguments.count, metavar="N", help="how many alerts (default: 1)")
    how.add_argument(
        "--rate",
        type=arguments.rate,
        metavar="N/UNIT",
        help="alerts per s, min or h, as 10/min (default: no limit)",
    )
    how.add_argument("--duration", type=arguments.duration, metavar="TIME", help="for how long, as 90s or 2m")
    how.add_argument(
        "--batch", type=arguments.positive, default=1, metavar="N", help="alerts a webhook (default: 1)"
    )
    how.add_argument(
        "--concurrency",
        type=arguments.positive,
        default=16,
        metavar="N",
        help="webhooks under way at once (default: 16)",
    )
    how.add_argument(
        "--retries",
        type=arguments.count,
        default=0,
        metavar="N",
        help="send a webhook up to N times again after 5xx or no answer, like Alertmanager (default: 0)",
    )
    how.add_argument(
        "--timeout",
        type=arguments.duration,
        default=10.0,
        metavar="TIME",
        help="give an attempt up after this long (default: 10s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="append a log of all attempts, for `gateway audit --sent`"
    )
    parser.add_argument(
        "--summary", choices=("table", "json"), default="table", help="form of the summary (default: table)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Send, print the summary, and return 0 if every alert was taken."""
    problems = _problems(args)
    limit = _limit(args)
    if not _is_loopback(args.url) and (limit is None or limit > WARN_BEYOND):
        output.warn(f"{args.url} is not this machine, and this sends {limit or 'alerts without an end'}")
    from gateway.cli import results

    started = time.perf_counter()
    tally = asyncio.run(_send(args, problems, limit))
    seconds = time.perf_counter() - started
    results.print_summary(args.summary, tally, seconds)
    return results.judge(args.url, tally)


def _problems(args: argparse.Namespace) -> Problems:
    from gateway.cli.sending import timestamp
    from gateway.cli.testalerts import Problems

    if args.storm and args.count is None and args.rate is None and args.duration is None:
        args.count = 30
    distinct = args.distinct or (args.count or 30 if args.storm else 1)
    labels = dict(args.label)
    if distinct > 1 and "pod" in labels:
        raise CommandError(
            "--label pod=… gives all problems the same pod, so they would be one problem",
            hint="Leave it out, or send one problem (no --storm, no --distinct).",
        )
    return Problems(
        alertname=args.alert_name,
        namespace=args.namespace,
        severity=args.severity,
        labels=labels,
        distinct=distinct,
        storm=args.storm,
        starts_at=timestamp(),
    )


def _limit(args: argparse.Namespace) -> int | None:
    """Return how many alerts to send at most; None where only time or Ctrl-C ends it."""
    if args.count is not None:
        return int(args.count)
    return None if args.rate is not None or args.duration is not None else 1


async def _send(args: argparse.Namespace, problems: Problems, limit: int | None) -> Tally:
    import aiohttp

    from gateway import __version__
    from gateway.cli.interrupts import stop_on_interrupt
    from gateway.cli.sending import Pace, Sender, pump
    from gateway.cli.sentlog import Writer

    stop = asyncio.Event()
    headers = {"User-Agent": f"gateway-send/{__version__}"}
    if args.token:
        headers["Authorization"] = f"Bearer {args.token}"
    with ExitStack() as stack:
        log = stack.enter_context(Writer(args.output)).write if args.output is not None else None
        stop_on_interrupt(stop)
        async with aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=args.timeout),
            connector=aiohttp.TCPConnector(limit=args.concurrency),
        ) as session:
            sender = Sender(
                session, args.url + arguments.WEBHOOK_PATH, retries=args.retries, log=log, stop=stop
            )
            pace = Pace(args.rate, args.duration, args.batch, args.concurrency)
            total = limit if limit is not None else pace.expected()
            with output.progress("sending", total) as advance:
                numbers = itertools.count() if limit is None else range(limit)
                await pump(sender, (problems.alert(at) for at in numbers), pace, advance)
            if args.resolve and not stop.is_set():
                await pump(sender, _ends(problems, limit), Pace(None, None, args.batch, args.concurrency))
    return sender.tally


def _ends(problems: Problems, limit: int | None) -> Iterator[TestAlert]:
    """Yield each problem that may have been sent, resolved; with a count of 0, all of them."""
    from gateway.cli.sending import timestamp
    from gateway.cli.testalerts import resolved

    for number in range(min(limit or problems.distinct, problems.distinct)):
        yield resolved(problems.alert(number), timestamp())


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
