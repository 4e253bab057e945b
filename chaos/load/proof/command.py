"""The command line of the report: `python -m chaos load report FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from chaos.load.proof import Unreadable, write

EPILOG = (
    "Exit code 0: every target that was measured is met, the audit exact, and nothing else was found wrong when the "
    "campaign ended; 1: not; 2: no such campaign."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command by itself."""
    parser = argparse.ArgumentParser(prog="python -m chaos.load.proof", epilog=EPILOG)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("folder", type=Path, nargs="+", metavar="FOLDER", help="of a campaign")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where the report goes (default: beside the data)"
    )


def run(options: argparse.Namespace) -> int:
    """Writes the report of each folder, tells each finding and target, and returns the exit code."""
    folders: list[Path] = options.folder
    passed = True
    for folder in folders:
        into: Path = folder if options.output is None else options.output
        if options.output is not None and len(folders) > 1:
            into = options.output / folder.name
        try:
            verdict = write(folder, into)
        except (Unreadable, OSError) as error:
            print(f"report: {error}", file=sys.stderr)
            return 2
        print(f"{folder.name}: {into / 'report.html'}")
        for line in verdict.lines:
            print(f"  {line}")
        passed = passed and verdict.passed
    return 0 if passed else 1
