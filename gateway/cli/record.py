"""`gateway record`: takes Alertmanager's webhooks and keeps them in a file, by itself or on their way to a gateway."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.cli.receiving import Receiver, Tape

EXAMPLES = """\
examples:
  gateway record                                      into webhooks.jsonl.gz, until Ctrl-C
  gateway record --output storm.jsonl --duration 10m  not compressed, for ten minutes
  gateway record --listen 127.0.0.1:8081 --forward http://127.0.0.1:8080
                                                      between Alertmanager and a gateway
  gateway replay webhooks.jsonl.gz --speed 10         … and play it again

It takes the webhooks of /v1/webhooks/prometheus and /api/v1/signals/prometheus and answers 202 without looking into
them; with --forward it answers what the gateway answers. Bodies are kept byte for byte, with the time, the content
type and the sender's program; credentials never are. Alerts themselves may be confidential: only you may read the file.

A file that exists is continued. At --max-size it ends; with --forward it goes on without recording. A kill loses half a
second at most, and the file stays readable. A gateway can also record by itself: set record.path.
"""

DEFAULT_FILE = Path("webhooks.jsonl.gz")
DEFAULT_LISTEN = "127.0.0.1:8081"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "record",
        help="record webhooks into a file",
        description="Take Alertmanager's webhooks and record them into a file, which `gateway replay` plays.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"the recording, compressed if it ends in .gz (default: {DEFAULT_FILE})",
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=_address(DEFAULT_LISTEN),
        metavar="HOST:PORT",
        help=f"where to take webhooks; port 0 takes a free one (default: {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--forward",
        type=arguments.base_url,
        metavar="URL",
        help="hand each webhook on to this gateway, and answer what it answers",
    )
    parser.add_argument(
        "--max-size",
        type=_size,
        default=1 << 30,
        metavar="SIZE",
        help="stop recording when the file has this size, as 100MiB (default: 1GiB)",
    )
    parser.add_argument(
        "--duration", type=arguments.duration, metavar="TIME", help="end after this long, as 90s or 10m"
    )
    parser.add_argument(
        "--summary", choices=("table", "json"), default="table", help="form of the summary (default: table)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Record until a signal, the duration or the size ends it, and print the summary."""
    from gateway.config.settings import is_loopback

    if not is_loopback(args.listen[0]):
        output.warn(f"whoever reaches {args.listen[0]} may send webhooks here: nobody is asked who they are")
    tape, receiver = asyncio.run(_record(args))
    _print_summary(args, tape, receiver)
    if tape.failure:
        raise CommandError(
            f"{args.output} could not be written to its end: {tape.failure}", exit_code=Exit.UNREACHABLE
        )
    return Exit.OK


def _address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8081`, `[::1]:8081` or `:8081` (every address)."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no address like {DEFAULT_LISTEN}")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - it was asked for


def _size(text: str) -> int:
    from gateway.config.quantities import parse_size

    try:
        return parse_size(text)
    except ValueError as reason:
        raise argparse.ArgumentTypeError(f"{text!r} {reason}") from None


async def _record(args: argparse.Namespace) -> tuple[Tape, Receiver]:
    from gateway.cli.interrupts import stop_on_interrupt
    from gateway.cli.receiving import PATHS, Receiver, flushing

    tape = _tape(args)
    receiver = Receiver(tape, args.forward)
    stop = asyncio.Event()
    stop_on_interrupt(stop)
    try:
        await _start(receiver, *args.listen)
        hint = f", forwarding to {args.forward}" if args.forward else ""
        print(
            f"Recording {receiver.url}{PATHS[0]} into {args.output}{hint}. Ctrl-C ends it.", file=sys.stderr
        )
        with output.progress("recording", None) as advance:
            flusher = asyncio.create_task(flushing(tape, advance))
            try:
                await _until_end(args, tape, stop)
            finally:
                flusher.cancel()
    finally:
        await receiver.stop()
        tape.close()
    return tape, receiver


def _tape(args: argparse.Namespace) -> Tape:
    from gateway.cli.receiving import Tape

    try:
        tape = Tape(args.output, args.max_size)
    except BlockingIOError as reason:
        raise CommandError(f"another process writes to {args.output}") from reason
    except OSError as reason:
        raise CommandError(f"cannot write {args.output}: {reason.strerror}") from reason
    if tape.full.is_set():
        tape.close()
        raise CommandError(
            f"{args.output} has --max-size already", hint="Name another file, or a larger size."
        )
    return tape


async def _start(receiver: Receiver, host: str, port: int) -> None:
    try:
        await receiver.start(host, port)
    except OSError as reason:
        raise CommandError(
            f"cannot listen on {host}:{port}: {reason.strerror}", hint="Name another address with --listen."
        ) from reason


async def _until_end(args: argparse.Namespace, tape: Tape, stop: asyncio.Event) -> None:
    """Return when a signal came, the time is up, or, where nobody is behind this, when the tape is full."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(args.duration):
            ends = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(tape.full.wait())]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not stop.is_set() and args.forward:
                    reason = tape.failure or f"it has its {args.max_size} bytes"
                    output.warn(f"{args.output} ends here ({reason}); forwarding goes on")
                    await stop.wait()
            finally:
                for end in ends:
                    end.cancel()


def _print_summary(args: argparse.Namespace, tape: Tape, receiver: Receiver) -> None:
    from gateway.cli.receiving import size

    summary: dict[str, Any] = {
        "file": str(args.output),
        "webhooks": tape.webhooks,
        "bodyBytes": tape.body_bytes,
        "fileBytes": tape.written,
        "seconds": round(tape.seconds, 3),
        "answers": {str(status): number for status, number in sorted(receiver.statuses.items())},
        "full": tape.full.is_set(),
    }
    if args.summary == "json":
        output.print_json(summary)
        return
    output.say(
        f"{output.counted(tape.webhooks, 'webhook')} with {size(tape.body_bytes)} in {tape.seconds:.1f} s: "
        f"{size(tape.written)} in {args.output}" + (" (full)" if tape.full.is_set() else "")
    )
    if args.forward:
        output.table(("answer", "webhooks"), sorted(receiver.statuses.items()))
