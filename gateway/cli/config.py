"""`gateway config`: the configuration in force, the faults of a file, and what may stand in one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gateway.cli import arguments, output
from gateway.cli.output import Exit

if TYPE_CHECKING:
    from gateway.config.settings import Settings

EXAMPLES = """\
examples:
  gateway config show --config gateway.yaml           every key with its value in force, as YAML
  gateway config check --config gateway.yaml          all faults at once; exit code 2 if there are any
  gateway config check --config gateway.yaml --output json
  gateway config schema > gateway.schema.json         for editors and CI
  gateway config docs > configuration.md              every key: its type, default and meaning, as Markdown

`show` prints a password in a URL as ***.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "config",
        help="show, check or describe the configuration",
        description="Show the configuration in force, check it, or print what may stand in one: as JSON Schema, or "
        "for people.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("show", "check", "schema", "docs"))
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Print what was asked for; faults of the configuration are exit code 2."""
    if args.action == "schema":
        from gateway.config.rendering import json_schema

        output.print_json(json_schema())
        return Exit.OK
    if args.action == "docs":
        from gateway.config.documenting import markdown

        output.say(markdown().rstrip())
        return Exit.OK
    if args.action == "check":
        return _check(args)
    return _show(args, arguments.load_settings(args))


def _check(args: argparse.Namespace) -> Exit:
    from gateway.errors import ConfigurationError

    faults: list[str] = []
    try:
        arguments.load_settings(args)
    except ConfigurationError as reason:
        if args.output != "json":
            raise
        faults = reason.faults
    if args.output == "json":
        output.print_json({"ok": not faults, "faults": faults})
    else:
        output.say("The configuration can be used.")
    return Exit.USAGE if faults else Exit.OK


def _show(args: argparse.Namespace, settings: Settings) -> Exit:
    from gateway.config.rendering import effective, effective_yaml

    if args.output == "json":
        output.print_json(effective(settings, hide_secrets=True))
    else:
        output.say(effective_yaml(settings, hide_secrets=True).rstrip())
    return Exit.OK
