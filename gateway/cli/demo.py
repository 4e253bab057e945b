"""`gateway demo`: `gateway dev`, with recorded webhooks posted to it and the requests that come of them."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.cli import arguments, output
from gateway.cli.output import Exit

if TYPE_CHECKING:
    from gateway.dev.demo import Delivery, Row

EXAMPLES = """\
examples:
  gateway demo                                        shows the requests, and stays up to be tried
  gateway demo --exit                                 shows the requests, and ends

The storm is played as it was recorded, with windows of 2s; the webhooks before it are posted at once, and a rule lets
their alerts pass without waiting. Everything is in memory and ends with Ctrl-C. The ports are server.port and
server.metrics_port where they are free.
"""

COLUMNS = ("namespace", "name", "severity", "priority", "problems", "occurrences", "state")
COUNTED = frozenset({"created", "duplicate", "queued", "buffered"})
"""Outcomes of alerts that a request holds, now or soon."""
UNHELD = """storm.rules=[{matchers: ['cluster="demo"', 'alertname!="KubePodNotReady"'], mode: immediate}]"""
"""The incident is posted at once: with windows, all of it would be in there before the first one ends."""
PATIENCE = 10.0
"""Seconds to wait for the last counts."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="see it work: recorded webhooks, and the requests they make",
        description="Run the gateway with everything embedded, post recorded webhooks to it, and show the requests.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--exit", action="store_true", help="end after showing the requests")
    arguments.add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Show what becomes of the recordings; then stay up until a signal ends it, unless `--exit`."""
    arguments.run_loop(_demo(args))
    return Exit.OK


async def _demo(args: argparse.Namespace) -> None:
    from gateway.cli import embedded, watching
    from gateway.dev import demo

    output.say("Starting a Redis, a Kubernetes API and the gateway, all in this process.")
    # A laptop that is busy must not look like a Redis that is down.
    quiet = ("log.format=text", "log.level=warning", "redis.timeout=500ms")
    async with embedded.embedded(args, *quiet, UNHELD) as running:
        deliveries = await demo.play(running.url)
        output.say("Posted recorded webhooks:")
        for title, group in itertools.groupby(deliveries, key=lambda delivery: delivery.title):
            output.say(f"  {title}: {_told(list(group))}")
        output.say()
        output.say("Posting a storm: a bad roll-out, forty pods do not become ready, a webhook each:")
        deliveries += await watching.storm(running)
        await _settled(running.url)
        rows = await demo.table(running.kubeconfig)
        output.say()
        output.table(COLUMNS, map(_cells, rows), title="RemediationRequests")
        output.say()
        output.say(_summed_up(deliveries, rows))
        if args.exit:
            return
        output.say()
        output.say("It stays up until Ctrl-C:")
        output.say()
        embedded.print_addresses(running)
        output.say()
        embedded.print_windows(running)
        output.say()
        embedded.print_next_steps(running)
        output.say()
        await embedded.until_interrupted(running)


def _told(deliveries: list[Delivery]) -> str:
    outcomes = Counter(outcome for delivery in deliveries for outcome in delivery.outcomes)
    alerts = output.counted(sum(delivery.alerts for delivery in deliveries), "alert")
    webhooks = f" in {len(deliveries)} webhooks" if len(deliveries) > 1 else ""
    return f"{alerts}{webhooks}, {', '.join(f'{number} {outcome}' for outcome, number in outcomes.items())}"


def _summed_up(deliveries: list[Delivery], rows: list[Row]) -> str:
    """What the table shows, in a sentence: how many alerts fired, and how many the requests hold."""
    outcomes = Counter(outcome for delivery in deliveries for outcome in delivery.outcomes)
    fired = sum(number for outcome, number in outcomes.items() if outcome in COUNTED)
    held = sum(row.occurrences for row in rows)
    over = f", and {outcomes['resolved']} said that a problem is over" if outcomes["resolved"] else ""
    once = ": each alert that fired, once" if held == fired else ""
    return (
        f"{output.counted(fired, 'alert')} fired{over}. "
        f"The {output.counted(len(rows), 'request')} hold {output.counted(held, 'occurrence')}{once}."
    )


async def _settled(url: str) -> None:
    """Return once everything accepted is in the requests, or after `PATIENCE`: a demo shows what there is."""
    from gateway.cli.status import idle

    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not await idle(url):  # noqa: ASYNC110 - asked over HTTP, as a script would
                await asyncio.sleep(0.1)


def _cells(row: Row) -> tuple[object, ...]:
    state = row.phase or ("resolved" if row.resolved else "open")
    return row.namespace, row.name, row.severity, row.priority, row.problems, row.occurrences, state
