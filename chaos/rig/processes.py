"""One child process: started, watched, paused, ended; its output in a file. And the guard that outlives us.

Every process leads a process group of its own, so ending it ends what it started too. A test run that is killed
cannot end anything: for that a guard, a tiny Python process of its own, reads from a pipe which groups exist. When
the pipe closes, whatever closed it, it kills those that are left. (PR_SET_PDEATHSIG would follow the *thread* that
started the process, and pytest's fixtures do not always run on one that lives as long as the run.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from chaos.rig.waiting import wait_until

_GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

running: list[Process] = []
"""Every process of this rig that was started and not ended yet, in order of their start."""

lasting_pids: set[int] = set()
"""Children that are there for the whole run and belong to no test: the guard, and who holds what workers share."""

started_logs: list[Path] = []
"""The logs of all that was started, until somebody clears the list: what a failed test is told by."""


class Died(RuntimeError):
    """A process ended before it was ready; the message has the end of its log."""


class Process:
    """A program with its arguments, which can be started again and again; its log (stdout and stderr) is appended to.

    `name` is for people: log files and messages carry it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.folder = folder
        self.log_path = folder / f"{name}.log"
        self._env = env
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the program; it must not be running. Returns at once, ready or not."""
        if self.alive:
            raise RuntimeError(f"{self.name} is running already")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=None if self._env is None else dict(self._env),
                cwd=self._cwd,
            )
        _guard.watch(self._child.pid)
        running.append(self)
        started_logs.append(self.log_path)

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._child is None else self._child.poll()

    def log(self) -> str:
        """All that it has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def signal(self, number: int) -> None:
        """Sends a signal to the process alone, as an operator would."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the whole group, and waits for its leader's end; nothing where it has ended."""
        self._end_group()

    def terminate(self, *, seconds: float = 30.0) -> int:
        """SIGTERM, then waits for the end and returns the exit code; kills it and raises `TimeoutError` after that."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        self._child.terminate()
        return self.wait(seconds=seconds)

    def wait(self, *, seconds: float = 30.0) -> int:
        """Waits for the end by itself and returns the exit code; raises `TimeoutError` (and kills it) after that."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        try:
            return self._child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} had not ended after {seconds:g} s\n{self.tail()}") from None
        finally:
            self._end_group()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def until(self, ready: Callable[[], object], *, seconds: float) -> None:
        """Waits until `ready()` is true; raises `Died` as soon as the process ends, `TimeoutError` when it is late."""

        def is_ready() -> bool:
            if not self.alive:
                raise Died(f"{self.name} ended with {self.returncode} before it was ready\n{self.tail()}")
            return bool(ready())

        try:
            wait_until(is_ready, f"{self.name} to be ready", seconds=seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}") from None

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for messages."""
        return "\n".join(self.log().splitlines()[-lines:])

    def _end_group(self) -> None:
        if self._child is None:
            return
        # The group may live on when its leader has ended: what that had started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        _guard.forget(self._child.pid)
        if self in running:
            running.remove(self)


class _Guard:
    """Our end of the guard's pipe. The guard itself starts with the first process, whichever thread starts it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def watch(self, group: int) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _GUARD],
                    stdin=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                lasting_pids.add(self._process.pid)
            self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def close(self) -> None:
        """Ends the guard, which kills what is left."""
        if self._process is not None and self._owner == os.getpid():
            pipe: IO[str] | None = self._process.stdin
            if pipe is not None:
                pipe.close()
            self._process.wait()
        self._process = None

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()


_guard = _Guard()


def end_everything() -> None:
    """Kills whatever of this rig still runs, newest first, and the guard: the end of a test run."""
    for process in reversed(list(running)):
        process.kill()
    _guard.close()
