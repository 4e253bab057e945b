"""The command line: one module a command, each thin over the package that does the work.

A command's module has `add(commands)`, which declares its options, and `run(args)`, which does it and returns an
`Exit`. Whatever takes long to import is imported inside `run`: `gateway --help` answers at once. Here are only the
parser and the one place where errors become messages and exit codes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.cli import (
    audit,
    chaos,
    config,
    dead_letters,
    demo,
    dev,
    doctor,
    explain,
    output,
    record,
    replay,
    send,
    serve,
    storms,
    token,
)
from gateway.cli.output import EXIT_CODES, CommandError, Exit
from gateway.errors import ConfigurationError, GatewayError, KubeError, StoreError

_COMMANDS = (
    serve,
    dev,
    demo,
    send,
    record,
    replay,
    storms,
    audit,
    explain,
    config,
    doctor,
    dead_letters,
    token,
    chaos,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command sets `run`."""
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Alertmanager webhooks in, RemediationRequest objects with exact counts out.",
        epilog=f"`gateway COMMAND --help` has examples.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (the process's own arguments) asks for, and return the exit code.

    Usage errors and `--help` end in `SystemExit`, as argparse has it. A fault that no command expects is printed with
    its traceback, which is the report.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest:
        # Before Python 3.12.7, argparse ends a list of words at the first option and does not go on with it.
        if not hasattr(args, "fingerprints") or any(word.startswith("-") for word in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        args.fingerprints += rest
    try:
        code: Exit = args.run(args)
        sys.stdout.flush()
        return code
    except CommandError as reason:
        output.error(reason.what, hint=reason.hint)
        return reason.exit_code
    except ConfigurationError as reason:
        output.error("the configuration cannot be used:")
        for fault in reason.faults:
            print(f"  {fault}", file=sys.stderr)
        return Exit.USAGE
    except KubeError as reason:
        output.error(
            f"the Kubernetes API: {reason}",
            hint="Set --kubeconfig, kubernetes.kubeconfig or KUBECONFIG, or check what its user may do.",
        )
        return Exit.UNREACHABLE
    except StoreError as reason:
        output.error(f"Redis: {reason}", hint="Check redis.url, and that it answers.")
        return Exit.UNREACHABLE
    except GatewayError as reason:
        output.error(str(reason))
        return Exit.FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough (`… | head`); Python must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception:  # noqa: BLE001 - left to Python it would be exit code 1, which says "a finding"
        import traceback

        from gateway.telemetry.redaction import redacted

        lines = redacted(traceback.format_exc()).splitlines()
        print(*map(output.printable, lines), sep="\n", file=sys.stderr)
        return Exit.FAILED
