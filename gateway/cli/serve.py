"""`gateway serve`: the service itself."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import resource

from gateway.cli import arguments
from gateway.cli.output import CommandError, Exit

OPEN_FILES = 65_536

EXAMPLES = """\
examples:
  gateway serve --config gateway.yaml
  gateway serve --set redis.url=redis://redis:6379/0 --set log.level=debug
  GATEWAY__SERVER__HOST=0.0.0.0 gateway serve --set auth.mode=bearer --set auth.tokens_file=tokens

The policy and the rules of priorities are read again when the file of --config changes, and at SIGHUP; a file that
cannot be used changes nothing, and /readyz tells.
SIGTERM or Ctrl-C stop it in order: it is no longer ready, finishes what is under way, hands back its leases and
exits with 0 within server.shutdown_timeout.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Run the gateway until SIGTERM or Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_config_options(parser)
    parser.set_defaults(run=run)


def collect_seldom() -> None:
    """Let the cyclic garbage collector look less often, and never at what is loaded once.

    Alerts on their way are thousands of small objects that reference counting frees by itself. With the default
    thresholds the collector would look at all of them, and at everything else that lives, many times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def open_many_files() -> None:
    """Let this process open more files than the usual 1024, as far as the system lets it: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # the listener goes by what there is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(args: argparse.Namespace) -> Exit:
    """Load the configuration, and serve until a signal ends it."""
    source = arguments.source(args)
    settings = source.load()
    from gateway.app import serve

    collect_seldom()
    open_many_files()
    try:
        arguments.run_loop(serve(settings, source))
    except OSError as reason:
        if reason.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        raise CommandError(
            f"cannot listen: {reason.strerror}",
            hint="Set server.host, server.port and server.metrics_port to an address and ports that are free.",
        ) from reason
    return Exit.OK
