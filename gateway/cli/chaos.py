"""`gateway chaos`: inject faults into a running gateway, for rehearsals, see what acts, and end it."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any
from urllib.parse import quote

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

EXAMPLES = """\
examples:
  gateway chaos inject redis timeout --pct 30 --ttl 5m
  gateway chaos inject kubernetes latency --delay 500ms --ttl 2m --url http://gateway:8080
  gateway chaos list                                  what acts, how long yet, and how often it struck
  gateway chaos end redis                             at once, instead of when its time is over

The gateway must have chaos.enabled, and the token must be that of one of chaos.admins. A fault acts in the one process
that is asked: with several replicas, ask each. Send alerts meanwhile with `gateway send --output sent.jsonl`, and see
with `gateway audit --sent sent.jsonl` that every one of them was counted once.

Exit code 0: done; 1: there was nothing to end; 2: that makes no sense; 3: no answer, or not allowed.
"""

PATH = "/v1/admin/chaos"
LIMIT = 10.0
"""Seconds for an answer."""
COLUMNS = ("target", "mode", "pct", "delay", "left", "calls", "struck", "by")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "chaos",
        help="inject faults into a running gateway, for a rehearsal",
        description="Inject faults into a running gateway, list those that act, or end one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    inject = actions.add_parser("inject", help="begin a fault", description="Begin a fault.")
    inject.add_argument("target", help="redis, kubernetes or webhook")
    inject.add_argument("mode", help="timeout, error, jitter, latency, 429, conflict or oom")
    inject.add_argument(
        "--pct", type=float, default=100.0, help="per cent of the calls that it strikes (default: 100)"
    )
    inject.add_argument("--delay", help="how late what is struck is, like 500ms; of latency and jitter")
    inject.add_argument("--ttl", default="1m", help="when it ends by itself, at most 1h (default: 1m)")
    inject.set_defaults(run=run_inject)
    listing = actions.add_parser(
        "list", help="show the faults that act", description="Show the faults that act."
    )
    listing.set_defaults(run=run_list)
    end = actions.add_parser("end", help="end a fault now", description="End a fault now.")
    end.add_argument("target", help="redis, kubernetes or webhook")
    end.set_defaults(run=run_end)
    for action in (inject, listing, end):
        arguments.add_target_options(action)
        output.add_output_option(action)


def run_inject(args: argparse.Namespace) -> Exit:
    """Begin a fault."""
    wish = {"target": args.target, "mode": args.mode, "pct": args.pct, "ttl": args.ttl}
    _show(args, [asyncio.run(_ask(args, "POST", PATH, wish | ({"delay": args.delay} if args.delay else {})))])
    return Exit.OK


def run_list(args: argparse.Namespace) -> Exit:
    """Show what acts."""
    _show(args, asyncio.run(_ask(args, "GET", PATH))["faults"])
    return Exit.OK


def run_end(args: argparse.Namespace) -> Exit:
    """End a fault; 1 where there is none."""
    if args.target not in [one["target"] for one in asyncio.run(_ask(args, "GET", PATH))["faults"]]:
        raise CommandError(
            f"no fault is injected into {args.target}",
            hint="`gateway chaos list` shows those that are.",
            exit_code=Exit.FINDING,
        )
    _show(args, [asyncio.run(_ask(args, "DELETE", f"{PATH}/{quote(args.target, safe='')}"))])
    return Exit.OK


async def _ask(
    args: argparse.Namespace, method: str, path: str, wish: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the gateway answers. Raises `CommandError`."""
    import aiohttp

    headers = {"Authorization": f"Bearer {args.token}"} if args.token else {}
    timeout = aiohttp.ClientTimeout(total=LIMIT)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            session.request(method, args.url + path, json=wish, allow_redirects=False) as response,
        ):
            status, body = response.status, await response.read()
    except (aiohttp.ClientError, TimeoutError) as reason:
        raise CommandError(
            f"no answer from {args.url}: {str(reason) or 'not in time'}",
            hint="Say where the gateway is with --url.",
            exit_code=Exit.UNREACHABLE,
        ) from reason
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandError(f"{args.url} does not answer as a gateway does", exit_code=Exit.UNREACHABLE)
    if status >= 400:
        raise _refused(args, status, str(answer.get("detail", "")))
    return answer


def _refused(args: argparse.Namespace, status: int, detail: str) -> CommandError:
    if status == 422:
        return CommandError(detail)
    hints = {
        401: "Give a token with --token or GATEWAY_TOKEN.",
        403: "Add the identity of the token to chaos.admins.",
        404: "Set chaos.enabled, and start the gateway again.",
    }
    what = f"{args.url} injects nothing: {status} {detail}".rstrip()
    return CommandError(what, hint=hints.get(status, ""), exit_code=Exit.UNREACHABLE)


def _show(args: argparse.Namespace, faults: list[dict[str, Any]]) -> None:
    if args.output == "json":
        output.print_json({"faults": faults})
    elif faults:
        rows = [{**fault, "left": f"{fault['remainingSeconds']:.0f}s"} for fault in faults]
        output.table(COLUMNS, [["" if row[name] is None else row[name] for name in COLUMNS] for row in rows])
    else:
        output.say("No fault is injected.")
