"""`gateway replay`: recorded webhooks sent to a gateway again, with their gaps, and a log that the audit can judge."""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.cli.playing import Manner, Played
    from gateway.cli.sending import Tally
    from gateway.cli.timeline import Selection, Survey

EXAMPLES = """\
examples:
  gateway replay webhooks.jsonl.gz                    as it happened, with the recorded gaps
  gateway replay webhooks.jsonl.gz --speed 10         ten times as fast
  gateway replay webhooks.jsonl.gz --speed max --output sent.jsonl
  gateway audit --sent sent.jsonl                     … and prove that each alert was counted
  gateway replay webhooks.1.jsonl.gz webhooks.jsonl.gz --shift-times --max-gap 1m
                                                      a rotated recording, as if it began now, without the quiet hours

Bodies are sent byte for byte as they were recorded. With --shift-times the startsAt and endsAt of their alerts are
moved, all by the same amount, so that the first webhook is now; at a speed above 1 later alerts then name times ahead
of the clock. An alert whose answer was lost, or that got 503 and was sent again, is in a recording as often as it came,
and is counted as often: --accepted-only leaves out what was not answered with 2xx.

Answers do not hold up what follows, but at most --concurrency webhooks are under way; those of one moment may overtake
each other, unless --concurrency is 1.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "replay",
        help="send recorded webhooks to a gateway again",
        description="Send the webhooks of a recording (`gateway record`, or record.path) to a gateway again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a recording; several are played as one"
    )
    arguments.add_target_options(parser)
    what = parser.add_argument_group("what is sent")
    what.add_argument("--limit", type=arguments.positive, metavar="N", help="only the first N webhooks")
    what.add_argument(
        "--accepted-only", action="store_true", help="only what was answered with 2xx when it was recorded"
    )
    what.add_argument(
        "--repeat", type=arguments.positive, default=1, metavar="N", help="all of it N times (default: 1)"
    )
    what.add_argument(
        "--shift-times", action="store_true", help="move the times of alerts so that the first webhook is now"
    )
    how = parser.add_argument_group("how fast")
    how.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="N",
        help="N times as fast as it was recorded, or max: as fast as answers come (default: 1)",
    )
    how.add_argument(
        "--max-gap", type=arguments.duration, metavar="TIME", help="cut longer pauses to TIME, before --speed"
    )
    how.add_argument(
        "--concurrency",
        type=arguments.positive,
        default=64,
        metavar="N",
        help="webhooks under way at once, those that wait for a retry included (default: 64)",
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
    """Play the files, print the summary, and return 0 if every webhook and every alert was taken."""
    from gateway.cli import results
    from gateway.cli.playing import Manner
    from gateway.cli.timeline import Selection

    selection = Selection(args.files, args.limit, args.accepted_only, args.max_gap)
    extent = _survey(selection)
    speed = None if math.isinf(args.speed) else args.speed
    manner = Manner(speed, args.repeat, args.concurrency, args.shift_times)
    started = time.perf_counter()
    tally, played = asyncio.run(_replay(args, selection, extent, manner))
    seconds = time.perf_counter() - started
    results.print_summary(args.summary, tally, seconds, _more(extent, manner, played))
    if args.summary == "table":
        _print_more(played)
    code = results.judge(args.url, tally)
    left = extent.webhooks * args.repeat - tally.webhooks
    if left:
        output.error(f"interrupted before the end: {output.counted(left, 'webhook')} left")
        return Exit.INTERRUPTED
    return code


def _speed(text: str) -> float:
    """The factor of `10`, `0.5` or `10x`; infinity for `max`."""
    if text == "max":
        return math.inf
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no speed like 10, 0.5 or max")
    return factor


def _survey(selection: Selection) -> Survey:
    """Read through the files before anything is sent. Raises `CommandError`."""
    from gateway.cli.timeline import survey
    from gateway.recording.reading import RecordingError

    try:
        extent = survey(selection, output.warn)
    except RecordingError as reason:
        raise CommandError(
            str(reason), hint="`gateway replay` takes files that `gateway record` or record.path wrote."
        ) from reason
    except OSError as reason:
        raise CommandError(f"cannot read {reason.filename}: {reason.strerror}") from reason
    if not extent.webhooks:
        raise CommandError("there is nothing to play: no webhook is left")
    return extent


async def _replay(
    args: argparse.Namespace, selection: Selection, extent: Survey, manner: Manner
) -> tuple[Tally, Played]:
    import aiohttp

    from gateway import __version__
    from gateway.cli.interrupts import stop_on_interrupt
    from gateway.cli.playing import play
    from gateway.cli.sending import Sender
    from gateway.cli.sentlog import Writer

    stop = asyncio.Event()
    headers = {"User-Agent": f"gateway-replay/{__version__}"}
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
            total = extent.webhooks * args.repeat
            with output.progress(f"replaying{_expected(extent, manner)}", total) as advance:
                played = await play(sender, selection, extent, manner, advance)
    return sender.tally, played


def _expected(extent: Survey, manner: Manner) -> str:
    """How long it takes, where the gaps decide that."""
    if manner.speed is None:
        return ""
    minutes, seconds = divmod(round(extent.seconds * manner.repeat / manner.speed), 60)
    return f" {minutes}m{seconds:02}s" if minutes else f" {seconds}s"


def _more(extent: Survey, manner: Manner, played: Played) -> dict[str, Any]:
    return {
        "recordedSeconds": round(extent.seconds, 3),
        "speed": manner.speed or "max",
        "late": {"webhooks": played.late, "maxSeconds": round(played.latest, 3)},
        "answers": [
            {"recorded": recorded, "now": now, "webhooks": number}
            for (recorded, now), number in played.answers.most_common()
        ],
    }


def _print_more(played: Played) -> None:
    if played.late:
        output.say(
            f"{output.counted(played.late, 'webhook')} left late, up to {played.latest:.1f} s: "
            "the gaps were not kept (raise --concurrency, or lower --speed)"
        )
    other = [
        (recorded, "none" if now is None else now, number)
        for (recorded, now), number in played.answers.most_common()
        if recorded is not None and (now is None or now // 100 != recorded // 100)
    ]
    if other:
        output.table(
            ("recorded", "now", "webhooks"), other, title="Answered in another way than when it was recorded"
        )
