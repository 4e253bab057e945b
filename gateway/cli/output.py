"""What the commands print, and the codes that they exit with.

Results go to standard output; progress, warnings and errors go to standard error, so that a pipe carries results
only. On a terminal tables are drawn by rich; elsewhere they are plain aligned columns that are never cut, as
`kubectl` prints them. `rich` is imported only where it draws: `gateway --help` must not wait for it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.table import Table


class Exit(IntEnum):
    """The exit codes of all commands; `EXIT_CODES` is their table in `gateway --help`."""

    OK = 0
    FINDING = 1
    USAGE = 2
    UNREACHABLE = 3
    FAILED = 4
    INTERRUPTED = 130


EXIT_CODES = """\
exit codes:
  0    done, and nothing to report
  1    done, and there is a finding: a loss or surplus, or an alert that fires without a request (audit), an alert
       that was not taken (send, replay), an alert or a payload that would be refused (explain), a dead letter that
       is not known (dead-letters retry), no fault to end (chaos end), a dependency that is not as it should be (doctor)
  2    the command line or the configuration cannot be used; nothing was done
  3    something that the command needs cannot be reached or refuses: the gateway, Redis, the Kubernetes API
  4    a fault inside the gateway; the traceback says where
  130  interrupted by Ctrl-C before the work was done
"""


_NARROW, _FOLDED = 16, 20
"""Widths of table columns: up to the first one is never folded; a wider one may be folded down to the second."""


class CommandError(Exception):
    """Ends a command with a message for people: what is wrong, where, and what to do about it."""

    def __init__(self, what: str, *, hint: str = "", exit_code: Exit = Exit.USAGE) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.exit_code = exit_code


def error(what: str, *, hint: str = "") -> None:
    """Print an error to standard error; `hint` says what to do about it."""
    print(f"gateway: {what}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def warn(what: str) -> None:
    """Print a warning to standard error; the command goes on."""
    print(f"gateway: warning: {what}", file=sys.stderr)


def say(text: str = "") -> None:
    """Print one line of the result, and flush: another program may be waiting for it."""
    print(text, flush=True)


def print_json(value: Any) -> None:
    """Print a result for scripts: one indented JSON document, keys in the order given."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def add_output_option(parser: argparse.ArgumentParser) -> None:
    """Add `--output table|json`."""
    parser.add_argument(
        "-o",
        "--output",
        choices=("table", "json"),
        default="table",
        help="table for people (the default) or json for scripts",
    )


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    stream: TextIO | None = None,
) -> None:
    """Print a table to `stream` (standard output). A column whose cells are all numbers is set flush right."""
    out = sys.stdout if stream is None else stream
    cells = [[printable(cell) for cell in row] for row in rows]
    numeric = _numeric(columns, cells)
    heads = [column.upper() for column in columns]
    widths = [max(len(row[at]) for row in [heads, *cells]) for at in range(len(columns))]
    if out.isatty() and _fits(widths):
        from rich.console import Console

        Console(file=out).print(_drawn(columns, cells, title))
        return
    if title:
        print(title, file=out)
    for row in [heads, *cells]:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print("   ".join(aligned).rstrip(), file=out)
    out.flush()


def _fits(widths: Sequence[int]) -> bool:
    """Whether a table can be drawn in the terminal with only its wide columns folded; else it is left unfolded."""
    needed = sum(width if width <= _NARROW else _FOLDED for width in widths) + 2 * len(widths)
    return needed <= shutil.get_terminal_size().columns


def _numeric(columns: Sequence[str], cells: list[list[str]]) -> list[bool]:
    return [
        bool(cells) and all(row[at].lstrip("+-").replace(".", "", 1).isdigit() for row in cells)
        for at in range(len(columns))
    ]


def _drawn(columns: Sequence[str], cells: list[list[str]], title: str = "") -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    numeric = _numeric(columns, cells)
    drawn = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for at, (column, right) in enumerate(zip(columns, numeric, strict=True)):
        narrow = max(len(row[at]) for row in [columns, *cells]) <= _NARROW
        drawn.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=narrow)
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


class Show(Protocol):
    """What redraws a table with a line below it."""

    def __call__(self, columns: Sequence[str], rows: Sequence[Sequence[object]], line: str) -> None: ...


@contextmanager
def live() -> Iterator[Show]:
    """Keep a table on standard output, which is a terminal, up to date while the block runs; nothing else prints."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=sys.stdout), auto_refresh=False, vertical_overflow="crop") as drawing:

        def show(columns: Sequence[str], rows: Sequence[Sequence[object]], line: str) -> None:
            cells = [[printable(cell) for cell in row] for row in rows]
            parts = [_drawn(columns, cells)] if cells else []
            drawing.update(Group(Text(printable(line)), *parts), refresh=True)

        yield show


def printable(cell: object) -> str:
    """Return the text of a cell. Labels come from strangers: control characters could drive the terminal."""
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """Return `1 alert`, `2 alerts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Advance(Protocol):
    """What reports progress: how much is done now, beside a short note on how it goes."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs, if that is a terminal; else nothing.

    `total` is None where the end is not known.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total, note="")

        def advance(done: int, note: str = "") -> None:
            bar.update(task, completed=done, note=note)

        yield advance


def _silent(done: int, note: str = "") -> None:
    pass
