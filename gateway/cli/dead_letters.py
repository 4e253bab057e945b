"""`gateway dead-letters`: alerts whose request Kubernetes will never take as it is, and trying them again."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.state.records import DeadLetter
    from gateway.state.store import RedisStore

EXAMPLES = """\
examples:
  gateway dead-letters                                what is kept, since when and why
  gateway dead-letters list --output json
  gateway dead-letters retry                          try all of them again
  gateway dead-letters retry 1a2b3c4d5e               … or one, by the start of its fingerprint

An alert lands here when the API server refuses its request for good (422, a webhook's denial). Nothing of it is
lost: its count goes on, and `retry` queues it again once the reason is gone. It reads Redis (redis.url) directly.
"""

PATIENCE = 2.0
"""Seconds for one call. The gateway's own deadline is short for the sake of senders who wait; here a person does."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "dead-letters",
        help="list or retry what Kubernetes refused for good",
        description="List or retry the alerts whose request Kubernetes refused for good.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=("list", "retry"), default="list", help="default: list")
    parser.add_argument(
        "fingerprints",
        nargs="*",
        metavar="FINGERPRINT",
        help="retry only these; the first digits are enough (default: all)",
    )
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """List, or retry; 1 if a fingerprint to retry is not among them."""
    if args.action == "list" and args.fingerprints:
        raise CommandError(
            "`dead-letters list` takes no fingerprints", hint="Did you mean `dead-letters retry …`?"
        )
    return asyncio.run(_retry(args) if args.action == "retry" else _list(args))


async def _list(args: argparse.Namespace) -> Exit:
    async with _store(args) as store:
        letters = [letter for shard in range(store.shards) for letter in await store.dead_letters(shard)]
    rows = [_row(letter) for letter in letters]
    if args.output == "json":
        output.print_json(rows)
    elif rows:
        columns = ("fingerprint", "alert", "namespace", "occurrences", "since", "reason")
        output.table(columns, [[row[column] for column in columns] for row in rows])
    else:
        output.say("No dead letters.")
    return Exit.OK


async def _retry(args: argparse.Namespace) -> Exit:
    retried: list[str] = []
    async with _store(args) as store:
        wanted = {digits.lower(): False for digits in args.fingerprints}
        for shard in range(store.shards):
            for letter in await store.dead_letters(shard):
                matching = [digits for digits in wanted if letter.fingerprint.startswith(digits)]
                if wanted and not matching:
                    continue
                wanted |= dict.fromkeys(matching, True)
                if await store.exhume(shard, letter.fingerprint):
                    retried.append(letter.fingerprint)
    missing = [digits for digits, found in wanted.items() if not found]
    if args.output == "json":
        output.print_json({"retried": retried, "missing": missing})
    else:
        output.say(f"{len(retried)} queued again.")
    if missing:
        output.error(
            f"no dead letter {', '.join(missing)}", hint="`gateway dead-letters` lists those that are there."
        )
        return Exit.FINDING
    return Exit.OK


@asynccontextmanager
async def _store(args: argparse.Namespace) -> AsyncIterator[RedisStore]:
    settings = arguments.load_settings(args)
    from gateway.state.access import Access
    from gateway.state.client import Client
    from gateway.state.keys import Keys
    from gateway.state.store import RedisStore

    redis = settings.redis
    client = Client(Access.of(redis), timeout=max(redis.timeout, PATIENCE), pool_size=1)
    try:
        yield RedisStore(
            client,
            Keys(redis.prefix, redis.shards, redis.buffer_prefix),
            write_interval=settings.dedup.write_interval,
        )
    finally:
        await client.close()


def _row(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as it is shown; its payload is the alert as it was classified, or nothing readable."""
    import msgspec

    try:
        alert = msgspec.json.decode(letter.payload)
    except msgspec.DecodeError:
        alert = None
    known = alert if isinstance(alert, dict) else {}
    since = datetime.fromtimestamp(letter.since_ms / 1000, UTC)
    return {
        "fingerprint": letter.fingerprint,
        "alert": known.get("alertname", ""),
        "namespace": known.get("namespace", ""),
        "occurrences": letter.occurrences,
        "since": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": letter.reason,
    }
