"""`gateway storms`: the windows that collect alerts now, once or as they change."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.windows import Asking, Window

EXAMPLES = """\
examples:
  gateway storms                                      on a terminal: as they change, until Ctrl-C
  gateway storms --once
  gateway storms --url http://gateway:8080 --output json | jq '.windows[].group'

A window opens with the first new problem of a group and holds its alerts: below the threshold each will get a request
of its own when the window is due (holding), from it on all of them will be one request (storming). A window that was
closed is not listed any more; its request is (`kubectl get rr -A -l remediation.kubernaut.io/storm=true`).
"""

COLUMNS = ("group", "state", "members/threshold", "opened", "due in", "window")
PAUSE = 1.0
"""Seconds between two looks."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "storms",
        help="show the windows that collect alerts now",
        description="Show the open windows of a running gateway: what is held, and until when.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_target_options(parser)
    parser.add_argument(
        "--once", action="store_true", help="look once (the default unless standard output is a terminal)"
    )
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Show the windows; on a terminal, until Ctrl-C ends it."""
    live = args.output == "table" and not args.once and sys.stdout.isatty()
    asyncio.run(_follow(args) if live else _look(args))
    return Exit.OK


async def _look(args: argparse.Namespace) -> None:
    import msgspec

    from gateway.cli.windows import asking

    async with asking(args.url, args.token) as gateway:
        windows = await gateway.windows()
    if args.output == "json":
        output.print_json({"windows": msgspec.to_builtins(windows)})
        return
    if windows:
        output.table(COLUMNS, map(_cells, windows))
    output.say(summed_up(windows))


async def _follow(args: argparse.Namespace) -> None:
    """Redraw the windows each second, until Ctrl-C. Raises `CommandError` where the first look fails."""
    from gateway.cli.interrupts import stop_on_interrupt
    from gateway.cli.sending import paused
    from gateway.cli.windows import asking

    stop = asyncio.Event()
    stop_on_interrupt(stop)
    async with asking(args.url, args.token) as gateway:
        windows: Sequence[Window] = await gateway.windows()
        note = ""
        with output.live() as show:
            while not stop.is_set():
                show(COLUMNS, [_cells(window) for window in windows], note or summed_up(windows))
                await paused(stop, PAUSE)
                windows, note = await _again(gateway, windows)


async def _again(gateway: Asking, before: Sequence[Window]) -> tuple[Sequence[Window], str]:
    """The windows, or, while nobody tells them, those seen last and what is wrong."""
    try:
        return await gateway.windows(), ""
    except CommandError as reason:
        return before, f"Seen last; now: {reason.what}"


def summed_up(windows: Sequence[Window]) -> str:
    """Return how many windows are open, in a sentence."""
    if not windows:
        return "No window is open."
    held = output.counted(sum(window.members for window in windows), "problem")
    return f"{output.counted(len(windows), 'window')} open, {held} held."


def _cells(window: Window) -> tuple[object, ...]:
    return (
        window.group,
        window.state,
        f"{window.members}/{window.threshold}",
        f"{span(window.open_for)} ago",
        span(window.due_in) if window.due_in > 0 else "now",
        window.id,
    )


def span(seconds: float) -> str:
    """Return a time in whole seconds for people: `42s`, `1m05s`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
