"""Options that several commands share, and the types of their values.

A value's type function raises `argparse.ArgumentTypeError`, so a bad value ends the command with a usage error that
names the option. Whatever needs the configuration package imports it inside: parsing `gateway --help` stays quick.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateway.config.reload import Source
    from gateway.config.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8080"
WEBHOOK_PATH = "/v1/webhooks/prometheus"

Result = TypeVar("Result")

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|min|h))?")
_PER = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--set`; `load_settings` reads them."""
    group = parser.add_argument_group(
        "configuration", "In rising order: the file, the environment (GATEWAY__SECTION__KEY), --set."
    )
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML file with the configuration")
    group.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="set one key, for example --set server.port=9000 (repeatable)",
    )


def load_settings(args: argparse.Namespace, *overrides: str) -> Settings:
    """Return the settings that the command line, the environment and the file give; `overrides` rank lowest of
    the `--set` values, so that the command line still wins.

    Raises `ConfigurationError` with all faults.
    """
    return source(args, *overrides).load()


def source(args: argparse.Namespace, *overrides: str) -> Source:
    """Return what `load_settings` reads, so that it can be read again."""
    from gateway.config.reload import Source

    return Source(args.config, os.environ, (*overrides, *args.sets))


def add_target_options(parser: argparse.ArgumentParser, purpose: str = "") -> None:
    """Add `--url` and `--token`, which say where a running gateway is.

    Without a `purpose` the command is about that gateway, and `--url` has a default; with one, naming a gateway is
    a further wish, and `--url` defaults to none.
    """
    parser.add_argument(
        "--url",
        type=base_url,
        default=None if purpose else os.environ.get("GATEWAY_URL", DEFAULT_URL),
        help=purpose or f"the gateway (environment: GATEWAY_URL; default: {DEFAULT_URL})",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("GATEWAY_TOKEN"),
        help="bearer token (environment: GATEWAY_TOKEN, which keeps it out of the process list)",
    )


def base_url(text: str) -> str:
    """Return an `http` or `https` URL without a trailing slash."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL like {DEFAULT_URL}")
    return text.rstrip("/")


def duration(text: str) -> float:
    """Return the seconds of a duration like `250ms`, `60s`, `5m` or `1h30m`."""
    from gateway.config.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError as reason:
        raise argparse.ArgumentTypeError(f"{text!r} {reason}") from None


def rate(text: str) -> float:
    """Return the alerts a second of a rate like `5/s`, `10/min`, `600/h` or `5` (a second)."""
    match = _RATE.fullmatch(text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate like 5/s, 10/min or 600/h")
    return float(match[1]) / _PER[match[2] or "s"]


def count(text: str) -> int:
    """Return a whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    number = count(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return number


def label(text: str) -> tuple[str, str]:
    """Return name and value of a label written `name=value`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no label like team=payments")
    return name, value


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` on uvloop where it is installed (it is not on Windows), else on asyncio's own loop."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
