"""One time limit for every request, cheaper than a timer each.

All requests have the same limit, so they fall due in the order in which they came: a single timer for the
oldest one is enough. What is past its limit is cancelled, as `asyncio.timeout` does it, and ends as a 503:
what was slow once may be quick at the sender's next attempt.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway.web.problems import Reason, try_again


class Deadlines:
    """The tasks that are under way, oldest first, with the time at which each is cancelled."""

    def __init__(self, limit: float, loop: asyncio.AbstractEventLoop) -> None:
        """`limit` in seconds."""
        self._limit = limit
        self._loop = loop
        self._due: dict[asyncio.Task[object], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def limit(self) -> Limit:
        """A context in which the current task has its time. Past it, it is cancelled and `Problem` raised."""
        return Limit(self, asyncio.current_task(self._loop))

    def close(self) -> None:
        """No timer remains."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def enter(self, task: asyncio.Task[object]) -> None:
        self._due[task] = due = self._loop.time() + self._limit
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def leave(self, task: asyncio.Task[object]) -> bool:
        """True if the task's time was over, and so a cancellation was asked for."""
        return self._due.pop(task, None) is None

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._due:
            task, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._expire)
                return
            del self._due[task]
            task.cancel()


class Limit:
    """The time of one task."""

    __slots__ = ("_deadlines", "_task")

    def __init__(self, deadlines: Deadlines, task: asyncio.Task[object] | None) -> None:
        if task is None:
            raise RuntimeError("a limit needs a task that it can cancel")
        self._deadlines = deadlines
        self._task = task

    def __enter__(self) -> None:
        self._deadlines.enter(self._task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._deadlines.leave(self._task):
            return
        # A body that ended in spite of the cancellation keeps its result; one that somebody else cancelled,
        # too, stays cancelled.
        if not self._task.uncancel() and kind is asyncio.CancelledError:
            detail = "the request took too long"
            raise try_again(Reason.TIMEOUT, detail, close=True) from error
