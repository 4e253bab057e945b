"""Webhooks on their way into a recording, beside the path of the request.

What is recorded is every body that passed authentication and the limits of size, with the status that was answered:
a storm can be played again, and compared with what it got then. A request pays for an entry in a queue and nothing
else. The queue is bounded; a task writes it in batches, in a thread. Where that cannot keep up, or the disk is full,
webhooks are left out of the recording, counted and logged, and served all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from aiohttp import hdrs

from gateway import __version__
from gateway.errors import ConfigurationError
from gateway.recording.lines import VERSION, Entry, Header, encode, stamp
from gateway.recording.writing import Rotation, may_pass
from gateway.telemetry.metrics import Metrics
from gateway.web.reports import RecordingReport
from gateway.web.routes import Call

log = structlog.get_logger(__name__)

HELD: Final = 32 << 20
"""Bytes of bodies that wait to be written, at most."""
WAITING: Final = 50_000
"""Webhooks that wait to be written, at most."""
BATCH: Final = 1 << 20
"""Bytes of bodies after which a batch is full: the thread that packs them gives the others their turn."""
GATHER: Final = 0.25
"""Seconds between two batches. A killed gateway has lost no more than these, and what the batch itself took."""
PAUSE: Final = 5.0
"""Seconds until a write is tried again after it failed."""
TELL: Final = 10.0
"""Seconds between two lines of the log about what is left out."""


class _Taken(NamedTuple):
    """A webhook that waits to be written. Times in nanoseconds of the wall clock and seconds of the run."""

    wall: int
    offset: float
    status: int
    content_type: str
    user_agent: str
    body: bytes


class Recorder:
    """Records webhooks into one file, and its predecessor once that is full."""

    def __init__(
        self,
        path: str,
        limit: int,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], int] = time.time_ns,
        gather: float = GATHER,
        pause: float = PAUSE,
    ) -> None:
        """`limit` in bytes of a file, `gather` and `pause` in seconds. `clock` is the one that `offer` gets its times
        of; `wall` in nanoseconds.
        """
        self._path = path
        self._clock = clock
        self._wall = wall
        self._gather = gather
        self._pause = pause
        self._began = clock()
        header = Header(recording=VERSION, started_at=stamp(wall()), by=f"gateway/{__version__}")
        self._file = Rotation(Path(path), header, limit)
        self._errors = metrics.errors["recording"]
        self._waiting: deque[_Taken] = deque()
        self._held = 0
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._closed = asyncio.Event()
        self._written = 0
        self._dropped = 0
        self._untold = 0
        self._told = -TELL
        self._failure = ""

    def open(self) -> None:
        """Begin the run. A full disk is met again later; raises `ConfigurationError` for a path that cannot be."""
        try:
            self._file.open()
        except OSError as error:
            if not may_pass(error):
                fault = f"record.path: {self._path} cannot be written: {error.strerror}"
                raise ConfigurationError([fault]) from error
            self._note(error)

    def offer(self, call: Call, status: int, began: float) -> None:
        """Take a webhook that was answered with `status` and came when the clock said `began`. Never waits."""
        body = call.body or b""
        if self._held + len(body) > HELD or len(self._waiting) >= WAITING:
            self._drop(1, "more webhooks wait to be recorded than fit in memory")
            return
        headers = call.request.headers
        taken = self._clock() - began
        self._waiting.append(
            _Taken(
                self._wall() - int(taken * 1e9),
                began - self._began,
                status,
                headers.get(hdrs.CONTENT_TYPE, ""),
                headers.get(hdrs.USER_AGENT, ""),
                body,
            )
        )
        self._held += len(body)
        self._wake.set()

    async def run(self) -> None:
        """Write what waits, until `close`. For the supervisor."""
        while not self._closing.is_set():
            await self._wake.wait()
            await self._rest(self._gather)
            self._wake.clear()
            if not await self._write():
                self._wake.set()
                await self._rest(self._pause)
        if self._waiting:
            await self._write()
        if self._waiting:
            self._drop(len(self._waiting), "the gateway stops before they could be written")
            self._waiting.clear()
        await asyncio.to_thread(self._file.close)
        self._closed.set()

    async def close(self) -> None:
        """Write what waits and end the file. To be called when nothing is offered any more, while `run` runs."""
        self._closing.set()
        self._wake.set()
        await self._closed.wait()

    def state(self) -> RecordingReport:
        """How it is doing, for the status."""
        return RecordingReport(
            path=self._path,
            written=self._written,
            waiting=len(self._waiting),
            left_out=self._dropped,
            error=self._failure,
        )

    async def _write(self) -> bool:
        """Write all that waits; False where it could not be, and still waits."""
        while self._waiting:
            batch, size = [], 0
            for taken in self._waiting:
                batch.append(taken)
                size += len(taken.body)
                if size >= BATCH:
                    break
            try:
                await asyncio.to_thread(self._store, batch)
            except OSError as error:
                self._note(error)
                return False
            for _ in batch:
                self._waiting.popleft()
            self._held -= size
            self._written += len(batch)
            if self._failure:
                log.info("recording goes on", path=self._path)
                self._failure = ""
        return True

    def _store(self, batch: list[_Taken]) -> None:
        """Runs in a thread, one at a time."""
        self._file.append(
            encode(
                Entry(
                    offset=taken.offset,
                    time=stamp(taken.wall),
                    body=taken.body,
                    content_type=taken.content_type,
                    user_agent=taken.user_agent,
                    status=taken.status,
                )
            )
            for taken in batch
        )

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _note(self, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        if isinstance(error, BlockingIOError):
            reason = "another process writes to it"
        if reason != self._failure:
            log.error(
                "the recording cannot be written; webhooks wait for it in memory",
                path=self._path,
                error=reason,
            )
        self._failure = reason

    def _drop(self, webhooks: int, reason: str) -> None:
        self._dropped += webhooks
        self._untold += webhooks
        self._errors.inc(webhooks)
        now = self._clock()
        if now - self._told >= TELL:
            log.warning(
                "webhooks left out of the recording", webhooks=self._untold, reason=self._failure or reason
            )
            self._told, self._untold = now, 0
