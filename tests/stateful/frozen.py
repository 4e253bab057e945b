"""A real Redis under the time of a simulated loop: its clock stands still but when the loop's does not.

The client blocks, so that no reply ever comes early or late, and a sequence of steps ends the same each time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import redis
from redis import exceptions as redis_errors

from chaos.rig.fake_clock import FakeClock
from chaos.rig.redis_server import RedisServer, blocking_client
from gateway.state.scripting import Scripts
from tests.rig.fixtures.stores import StartRedis

_DAY = 1767225600  # 2026-01-01, which `moment` of the simulation counts from


class FrozenRedis:
    """One Redis server for many runs. `set` is its clock."""

    def __init__(self, fake_clock: FakeClock, start_redis: StartRedis) -> None:
        self._file = os.open(Path(fake_clock.env["FAKETIME_TIMESTAMP_FILE"]), os.O_WRONLY | os.O_TRUNC)
        self._shown = -1
        self.set(0.0)
        # Frozen times are read as local ones.
        self.server: RedisServer = start_redis(source="wheel", env={**fake_clock.env, "TZ": "UTC"})
        self.raw: redis.Redis = blocking_client(self.server.port)
        self._redis = redis.Redis(port=self.server.port, protocol=2, socket_timeout=5.0)
        scripts = Scripts()
        self._scripts = {name: scripts.get(name, 6).text for name in Scripts.FILES}
        self._sha: dict[str, str] = {}

    def alter(self, text: str, other: str) -> None:
        """Other scripts from now on: where one says `text`, it says `other`."""
        assert any(text in source for source in self._scripts.values()), f"no script says {text!r}"
        self._scripts = {name: source.replace(text, other) for name, source in self._scripts.items()}
        self._sha.clear()

    def set(self, seconds: float) -> None:
        """The clock shows so many seconds of the day, in whole milliseconds."""
        shown = int(seconds * 1000)
        if shown != self._shown:
            self._shown = shown
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_DAY + shown // 1000))
            # Half a millisecond more, so that no rounding makes it less. Always as long, so that no line is torn.
            os.pwrite(self._file, f"{text}.{shown % 1000:03d}5\n".encode(), 0)

    def clean(self) -> None:
        """As new, for the next run."""
        self.raw.flushall()

    def close(self) -> None:
        self.raw.close()
        self._redis.close()
        os.close(self._file)

    # --- what a store asks of its client

    async def script(self, name: str, keys: list[str], *arguments: str | bytes | int, **_: Any) -> Any:
        if name not in self._sha:
            self._sha[name] = str(self._redis.script_load(self._scripts[name]))
        try:
            return self._redis.execute_command("EVALSHA", self._sha[name], len(keys), *keys, *arguments)
        except redis_errors.ResponseError as error:
            # Nothing may take it for an outage.
            raise AssertionError(f"the script {name} failed: {error}") from error

    async def command(self, *arguments: str | bytes | int, **_: Any) -> Any:
        return self._redis.execute_command(*arguments)

    async def scan(self, match: str, count: int = 500, **_: Any) -> list[str]:
        return sorted(key.decode() for key in self._redis.scan_iter(match, count))
