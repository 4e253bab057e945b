"""What holds for every test: the rig's fixtures, hypothesis's settings, and nothing left behind.

A test that leaves a task or a process behind has failed, even if it passed. (Sockets and files that nobody closed are
found by Python itself: their ResourceWarning is an error, as every warning is.)
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from chaos.rig import processes

pytest_plugins = ["tests.rig.fixtures"]

# Time limits on single examples fail on a busy machine, not on a wrong program.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves tasks on its event loop, or child processes that the rig does not know."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        # Set up before anything else of the test's loop, so torn down after it.
        request.getfixturevalue("_no_task_left_behind")
    before = _children()
    yield
    known = {process.pid for process in processes.running} | processes.lasting_pids
    left = _children() - before - known
    deadline = time.monotonic() + 5
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left &= _children()
    assert not left, f"processes left behind: {[_command(pid) for pid in left]}"


@pytest.fixture
async def _no_task_left_behind() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # What was just cancelled or closed gets a moment to end; what has nobody to end it does not.
    current = asyncio.current_task()
    deadline = time.monotonic() + 5
    while left := {task for task in asyncio.all_tasks() - before if task is not current and not task.done()}:
        if time.monotonic() >= deadline:
            pytest.fail(f"tasks left behind: {sorted(map(repr, left))}", pytrace=False)
        await asyncio.sleep(0.01)


def _children() -> set[int]:
    """The living child processes of this one, where the system tells."""
    found = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            found |= {int(pid) for pid in listing.read_text().split()}
        except OSError:  # a thread that has just ended
            continue
    return {pid for pid in found if _lives(pid)}


def _lives(pid: int) -> bool:
    """Whether it is there, and does not only wait to be reaped."""
    try:
        # The state follows the name, which stands in parentheses and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _command(pid: int) -> str:
    """Its command line; empty for one that is gone, or that has not quite begun."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
