"""Ctrl-C and SIGTERM while something is under way: the first one ends it in order, the second one at once."""

from __future__ import annotations

import asyncio
import signal


def stop_on_interrupt(stop: asyncio.Event) -> None:
    """Let the first signal set `stop`, and the next one cancel the current task. Needs a running loop."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
