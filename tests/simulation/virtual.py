"""An event loop whose time is virtual: when nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.BaseSelector):
    """Waits for no file; a wait only moves the loop's clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is ready and no timer is set")
        if timeout > 0:
            self._loop.now += timeout
        return []

    def get_map(self) -> Any:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop without real time and without files."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Selector(self))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now

    def _make_self_pipe(self) -> None:
        """No signals and no threads reach this loop, so it needs no pipe."""

    def _close_self_pipe(self) -> None:
        pass


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to completion under virtual time, then cancel whatever is left.

    Raises what a task failed with that nobody waited for, if nothing else went wrong.
    """
    loop = VirtualLoop()
    missed: list[BaseException] = []

    def miss(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        missed.append(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(miss)
    try:
        result = loop.run_until_complete(main)
        if missed:
            raise missed[0]
        return result
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
