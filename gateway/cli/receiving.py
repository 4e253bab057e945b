"""The receiver of `gateway record`: takes webhooks as a gateway does, records them, and may hand them on.

It understands no body. What it answers is 202, or, where it forwards, what the one behind it answered; so it can stand
between Alertmanager and a gateway. There it never gets in the way: with a file that is full or cannot be written it
goes on forwarding. Credentials are handed on and never recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from gateway import __version__
from gateway.cli import output
from gateway.recording.lines import VERSION, Entry, Header, encode, stamp
from gateway.recording.writing import RecordingFile

PATHS: Final = ("/v1/webhooks/prometheus", "/api/v1/signals/prometheus")
LARGEST: Final = 16 << 20
"""Bytes of a body: as many as a gateway takes by default."""
FLUSH: Final = 0.5
"""Seconds for which a webhook may wait before it is in the file: a kill loses no more than these."""
BATCH: Final = 1 << 20
"""Bytes that wait at most."""
FORWARD_TIMEOUT: Final = 30.0
KEEPALIVE: Final = 360.0
"""Seconds; Alertmanager keeps idle connections for five minutes."""
FORWARDED: Final = (hdrs.AUTHORIZATION, hdrs.CONTENT_TYPE, hdrs.USER_AGENT, "X-Request-Id")
RETURNED: Final = (hdrs.CONTENT_TYPE, hdrs.RETRY_AFTER, hdrs.WWW_AUTHENTICATE, "X-Request-Id")


class Tape:
    """The file, and how much went into it. `full` is set once it is past `limit` bytes or cannot be written."""

    def __init__(self, path: Path, limit: int) -> None:
        """Raises `OSError`; `BlockingIOError` where another process writes to the file."""
        self._origin = time.monotonic()
        self._file = RecordingFile(
            path,
            Header(recording=VERSION, started_at=stamp(time.time_ns()), by=f"gateway-record/{__version__}"),
        )
        self._limit = limit
        self._waiting: list[tuple[bytes, int]] = []
        self._size = 0
        self.webhooks = 0
        self.body_bytes = 0
        self.full = asyncio.Event()
        self.failure = ""
        if self._file.began >= limit:
            self.full.set()

    @property
    def written(self) -> int:
        """Bytes that this run added to the file."""
        return self._file.size - self._file.began

    @property
    def seconds(self) -> float:
        """Since the start of the run."""
        return time.monotonic() - self._origin

    def record(self, entry: Entry) -> bool:
        """Take a webhook; False where the tape is full."""
        if self.full.is_set():
            return False
        line = encode(entry)
        self._waiting.append((line, len(entry.body)))
        self._size += len(line)
        self.webhooks += 1
        self.body_bytes += len(entry.body)
        if self._size >= BATCH:
            self.flush()
        return not self.failure

    def flush(self) -> None:
        """Write what waits."""
        batch, self._waiting, self._size = self._waiting, [], 0
        if not batch or self.failure:
            return
        try:
            self._file.append(line for line, _ in batch)
        except OSError as error:
            self.failure = error.strerror or str(error)
            self.webhooks -= len(batch)
            self.body_bytes -= sum(size for _, size in batch)
            self.full.set()
        if self._file.size >= self._limit:
            self.full.set()

    def close(self) -> None:
        """Write what waits, and end the file."""
        self.flush()
        self._file.close()


class Receiver:
    """Takes webhooks on a port of its own."""

    def __init__(self, tape: Tape, forward: str | None) -> None:
        """`forward` is the base URL of a gateway, or the whole URL where it has a path."""
        self._tape = tape
        self._forward = forward
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.statuses: Counter[int] = Counter()
        """What was answered."""
        self.url = ""
        """Where it listens, without a trailing slash; known once it is started."""

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `OSError` where the address cannot be had."""
        if self._forward is not None:
            timeout = aiohttp.ClientTimeout(total=FORWARD_TIMEOUT)
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=True)
        application = web.Application(client_max_size=LARGEST)
        application.on_response_prepare.append(_nameless)
        for path in PATHS:
            application.router.add_post(path, self._take)
            application.router.add_post(path + "/", self._take)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=FORWARD_TIMEOUT, keepalive_timeout=KEEPALIVE
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Take nothing more, let what is under way be answered, and close."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _take(self, request: web.Request) -> web.Response:
        offset, wall = self._tape.seconds, time.time_ns()
        body = await request.read()
        if self._session is not None:
            response = await self._hand_on(self._session, request, body)
        else:
            response = web.json_response({"status": "recorded"}, status=202)
        recorded = self._tape.record(
            Entry(
                offset=offset,
                time=stamp(wall),
                body=body,
                content_type=request.headers.get(hdrs.CONTENT_TYPE, ""),
                user_agent=request.headers.get(hdrs.USER_AGENT, ""),
                status=response.status,
            )
        )
        if not recorded and self._session is None:
            response = web.json_response({"detail": "the recording has ended"}, status=503)
        self.statuses[response.status] += 1
        return response

    async def _hand_on(
        self, session: aiohttp.ClientSession, request: web.Request, body: bytes
    ) -> web.Response:
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        try:
            async with session.post(
                self._target(request),
                data=body,
                headers=headers,
                skip_auto_headers=(hdrs.CONTENT_TYPE, hdrs.USER_AGENT),
                allow_redirects=False,
            ) as answer:
                returned = {name: answer.headers[name] for name in RETURNED if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=returned)
        except TimeoutError:
            return web.json_response({"detail": "no answer in time from where this forwards to"}, status=504)
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            return web.json_response({"detail": f"cannot forward: {reason}"}, status=502)

    def _target(self, request: web.Request) -> URL:
        forward = self._forward or ""
        return URL(forward if urlsplit(forward).path.strip("/") else forward + request.raw_path, encoded=True)


async def _nameless(_request: web.Request, response: web.StreamResponse) -> None:
    """Take the library's name and version out of an answer."""
    response.headers.pop(hdrs.SERVER, None)


async def flushing(tape: Tape, told: output.Advance) -> None:
    """Flush the tape again and again, and tell how it stands; for a task."""
    while True:
        await asyncio.sleep(FLUSH)
        tape.flush()
        told(tape.webhooks, size(tape.body_bytes))


def size(number: int) -> str:
    """Bytes for people: `812 B`, `3.4 KiB`."""
    if number < 1024:
        return f"{number} B"
    value = float(number)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"
