"""Long-lived tasks that do not die quietly.

Every task that runs for as long as the process does is started here, under a name. None of them is meant to
end by itself: if one does, by an error or by returning, that is logged and told to an observer, and then, as
declared, the task is started again after a growing delay, or the process is asked to stop.

Tasks are stopped in the reverse order of their start, each with the rest of one common deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from gateway.resilience.backoff import expo

log = structlog.get_logger(__name__)

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
"""Seconds. Well below the 15 s within which the gateway has recovered after a dependency's return."""
HEALTHY_AFTER: Final = 30.0
"""A task that ran for so many seconds starts over with the first delay when it fails again."""


class OnEnd(StrEnum):
    """What an unexpected end of a task leads to."""

    RESTART = "restart"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Ended:
    """A task ended although nobody asked it to."""

    name: str
    error: BaseException | None
    """None where it returned."""
    action: OnEnd


@dataclass(frozen=True, slots=True)
class TaskState:
    """How a task is doing."""

    name: str
    running: bool
    restarts: int
    error: str
    """The type of the last error, empty if there was none."""


class Supervisor:
    """Starts, watches and stops the long-lived tasks of one event loop."""

    def __init__(
        self,
        *,
        observe: Callable[[Ended], object] = lambda _ended: None,
        stop_process: Callable[[str], object] = lambda _name: None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`stop_process` gets the name of a task whose end was declared fatal; `clock` is monotonic."""
        self._observe = observe
        self._stop_process = stop_process
        self._clock = clock
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}
        self._winding_down = False
        self._stopping = False

    def start(self, name: str, run: Callable[[], Awaitable[None]], *, on_end: OnEnd = OnEnd.RESTART) -> None:
        """Run `run()` as a task. A name is used once; `run` is called again for each restart."""
        if self._stopping:
            raise RuntimeError(f"cannot start {name!r}: the supervisor is stopping")
        if name in self._watched:
            raise ValueError(f"a task {name!r} exists already")
        watched = _Watched(name, run, on_end)
        self._watched[name] = watched
        watched.task = asyncio.create_task(self._keep(watched), name=name)

    def states(self) -> list[TaskState]:
        """How every task is doing, in the order of their start."""
        return [
            TaskState(watched.name, watched.running, watched.restarts, watched.error)
            for watched in self._watched.values()
        ]

    def wind_down(self) -> None:
        """From now on a task may end by itself, as part of an orderly stop: its return is no fault."""
        self._winding_down = True

    async def stop(self, grace: float) -> list[str]:
        """Cancel all tasks, last started first, each awaited before the next. Never raises for a task's
        error.

        Returns the names of those that had not ended when `grace` seconds were over; they stay cancelled.
        """
        self._stopping = True
        deadline = self._clock() + grace
        late: list[str] = []
        while self._watched:
            name, watched = self._watched.popitem()
            task = watched.task
            task.cancel()
            # Even past the deadline a task gets a few turns of the loop, which is all that most of them need.
            await asyncio.wait([task], timeout=max(0.02, deadline - self._clock()))
            if not task.done():
                late.append(name)
        if late:
            log.warning("tasks did not stop in time", tasks=late)
        return late

    async def _keep(self, watched: _Watched) -> None:
        delays = expo(FIRST_DELAY, LONGEST_DELAY)
        while True:
            began = self._clock()
            error: BaseException | None = None
            watched.running = True
            try:
                await watched.run()
            except asyncio.CancelledError as cancelled:
                # Only who cancels *this* task ends it; a cancellation that leaked out of `run` is an error.
                current = asyncio.current_task()
                if self._stopping or (current is not None and current.cancelling()):
                    raise
                error = cancelled
            except Exception as failed:  # noqa: BLE001 - whatever it is, it is told and acted upon
                error = failed
            finally:
                watched.running = False
            if self._winding_down and error is None:
                return
            self._tell(watched, error)
            if watched.on_end is OnEnd.STOP:
                self._stop_process(watched.name)
                return
            if self._clock() - began >= HEALTHY_AFTER:
                delays = expo(FIRST_DELAY, LONGEST_DELAY)
            await self._sleep(next(delays))
            watched.restarts += 1

    def _tell(self, watched: _Watched, error: BaseException | None) -> None:
        watched.error = type(error).__name__ if error is not None else "returned"
        log.error(
            "task ended unexpectedly", task=watched.name, action=watched.on_end.value, exc_info=error or False
        )
        self._observe(Ended(watched.name, error, watched.on_end))


class _Watched:
    __slots__ = ("error", "name", "on_end", "restarts", "run", "running", "task")

    task: asyncio.Task[None]

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], on_end: OnEnd) -> None:
        self.name = name
        self.run = run
        self.on_end = on_end
        self.running = False
        self.restarts = 0
        self.error = ""
