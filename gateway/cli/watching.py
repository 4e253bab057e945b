"""The storm of `gateway demo`, told while it happens: posted as it was recorded, its window looked at meanwhile."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from gateway.cli import output
from gateway.cli.embedded import Embedded
from gateway.cli.output import CommandError
from gateway.cli.windows import Asking, Window, asking
from gateway.dev import demo
from gateway.dev.demo import Delivery, Row

LOOK = 0.1
"""Seconds between two looks."""
PATIENCE = 10.0
"""Seconds to wait for the request, beyond the time that the window has left."""


async def storm(running: Embedded) -> list[Delivery]:
    """Post the storm and tell what becomes of it, until its request is there. Raises `DemoFailed`."""
    story = Story()
    posting = asyncio.create_task(demo.play(running.url, "storm", paced=True))
    try:
        async with asking(running.url) as gateway:
            while not posting.done():
                story.see(await _look(gateway))
                await asyncio.sleep(LOOK)
            deliveries = await posting
            story.posted(deliveries)
            await _written(running, gateway, story)
    finally:
        posting.cancel()
    return deliveries


async def _written(running: Embedded, gateway: Asking, story: Story) -> None:
    """Wait until no window is open and the request is there, or as long as that should take and a bit more."""
    times = running.settings.storm
    deadline = time.monotonic() + max(times.hold, times.inactivity) + PATIENCE
    while time.monotonic() < deadline:
        windows = await _look(gateway)
        rows = [row for row in await demo.table(running.kubeconfig) if row.storm]
        if windows == [] and (rows or not story.storming):
            story.ended(rows)
            return
        story.see(windows)
        await asyncio.sleep(LOOK)
    story.tell("its window is still open: `gateway storms` shows until when")


async def _look(gateway: Asking) -> list[Window] | None:
    """The windows; None where nobody tells them now."""
    try:
        return await gateway.windows()
    except CommandError:
        return None


class Story:
    """Lines with the seconds since the beginning; on a terminal, how it stands is below them and goes on changing."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._opened = False
        self.storming = False

    def see(self, windows: Sequence[Window] | None) -> None:
        """Tell what is new since the last look."""
        if not windows:
            return
        window = windows[0]
        if not self._opened:
            self._opened = True
            self.tell(f"a window opens; it holds the first of {window.group}")
        if not self.storming and window.state == "storming":
            self.storming = True
            self.tell(f"{window.threshold} different problems of one group in it: this is a storm")
        left = max(0.0, window.due_in)
        self._meanwhile(f"{output.counted(window.members, 'problem')} held, {left:.1f} s left")

    def posted(self, deliveries: Sequence[Delivery]) -> None:
        """Tell what the answers were, now that all are there."""
        outcomes = [outcome for delivery in deliveries for outcome in delivery.outcomes]
        held = outcomes.count("buffered")
        waiting = " in Redis, and no request yet: the window waits for more" if held else ""
        self.tell(f"{output.counted(len(outcomes), 'alert')} taken, {held} of them held{waiting}")

    def ended(self, rows: Sequence[Row]) -> None:
        """Tell what it came to."""
        if not rows:
            self.tell("no window is open, and there was no storm: each problem has a request of its own")
        for row in rows:
            self.tell(
                f"the window closes, and one request has all: {row.problems} problems, "
                f"{output.counted(row.occurrences, 'occurrence')}"
            )

    def tell(self, what: str) -> None:
        """Print a line that stays."""
        output.say(("\r\x1b[K" if self._terminal else "") + self._line(what))

    def _meanwhile(self, what: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{self._line(what)}", end="", flush=True)

    def _line(self, what: str) -> str:
        return f"  {time.monotonic() - self._began:4.1f} s  {what}"
