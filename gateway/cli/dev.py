"""`gateway dev`: the gateway with a Redis and a Kubernetes API of its own, on this machine."""

from __future__ import annotations

import argparse

from gateway.cli import arguments, output
from gateway.cli.output import Exit

EXAMPLES = """\
examples:
  gateway dev
  gateway dev --set server.port=9000 --set log.level=debug
  gateway dev --set storm.hold=60s --set storm.inactivity=60s
  gateway dev --config gateway.yaml                   … with the file's rules; Redis and Kubernetes stay embedded

Windows are short (storm.hold and storm.inactivity are 2s), unless they are configured; serve's defaults are 60s.
Everything is in memory and ends with Ctrl-C. The ports are server.port and server.metrics_port where they are free.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "dev",
        help="run the gateway with everything it needs embedded",
        description="Run the gateway with a Redis and a Kubernetes API of its own, until Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_config_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Run until a signal ends it."""
    arguments.run_loop(_dev(args))
    return Exit.OK


async def _dev(args: argparse.Namespace) -> None:
    from gateway.cli import embedded

    async with embedded.embedded(args, "log.format=text") as running:
        output.say("The gateway is up, with a Redis and a Kubernetes API of its own. Ctrl-C ends all of it.")
        output.say()
        embedded.print_addresses(running)
        output.say()
        embedded.print_windows(running)
        output.say()
        embedded.print_next_steps(running)
        output.say()
        await embedded.until_interrupted(running)
