"""The connection to Redis: one bounded pool, a deadline for each call, and every error translated here.

A call has `timeout` seconds (10 ms by default). So short a limit is only fair if it measures Redis and not this
process: a reply that has already arrived when the timer fires counts as in time. An event loop that was busy runs its
overdue timers before it reads its sockets, so the timer gives the loop a few more turns before it believes that
nothing came.

`StoreRefused` means that Redis certainly did not perform the call; `StoreUnsure` that it may have. Everything that is
not known to be a refusal is unsure.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol, TypeVar, cast

import redis.asyncio as aredis
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import StoreError, StoreRefused, StoreUnsure

_T = TypeVar("_T")

GRACE_TURNS = 3
"""Turns of the event loop between a timer that fires and the verdict that nothing came."""

_REFUSALS: tuple[tuple[type[BaseException], str], ...] = (
    (redis_errors.OutOfMemoryError, "oom"),
    (redis_errors.ReadOnlyError, "readonly"),
    (redis_errors.BusyLoadingError, "loading"),
    (redis_errors.NoScriptError, "noscript"),
    (redis_errors.AuthenticationError, "auth"),
    (redis_errors.NoPermissionError, "auth"),
    (redis_errors.MaxConnectionsError, "pool"),
)


class Observer(Protocol):
    """Told of every call that failed."""

    def redis_failed(self, kind: str) -> None: ...


class NullObserver:
    def redis_failed(self, kind: str) -> None:
        pass


def translate(error: BaseException) -> StoreError:
    """The project's own error for one of the library's."""
    for family, kind in _REFUSALS:
        if isinstance(error, family):
            return StoreRefused(f"Redis refused the call: {_brief(error)}", kind=kind)
    if isinstance(error, redis_errors.ResponseError):
        text = str(error)
        if "OOM " in text or text.startswith("OOM"):
            return StoreRefused(f"Redis is out of memory: {_brief(error)}", kind="oom")
        if "READONLY" in text:
            return StoreRefused(f"Redis is a read-only replica: {_brief(error)}", kind="readonly")
        return StoreUnsure(f"Redis answered with an error: {_brief(error)}", kind="response")
    if isinstance(error, TimeoutError | redis_errors.TimeoutError):
        return StoreUnsure("Redis did not answer in time", kind="timeout")
    if _never_connected(error):
        return StoreRefused(f"Redis cannot be reached: {_brief(error)}", kind="connection")
    return StoreUnsure(f"The connection to Redis failed: {_brief(error)}", kind="connection")


def _never_connected(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _brief(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]


async def in_time(call: Awaitable[_T], seconds: float) -> _T:
    """Await `call` for so long, plus a few turns of the loop in which a reply that has arrived can be read.

    Raises TimeoutError; the call is cancelled then, and its connection with it.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(call)
    turns = GRACE_TURNS
    expired = False

    def fire() -> None:
        nonlocal turns, expired
        if task.done():
            return
        if turns > 0:
            turns -= 1
            loop.call_soon(fire)
            return
        expired = True
        task.cancel()

    timer = loop.call_later(seconds, fire)
    try:
        return await task
    except asyncio.CancelledError:
        if expired and not _cancelled_from_outside():
            raise TimeoutError(f"no answer within {seconds * 1000:g} ms") from None
        task.cancel()
        raise
    finally:
        timer.cancel()


def _cancelled_from_outside() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


class Scripts:
    """The Lua scripts by name, with their SHA-1, each prefixed with what it shares with others."""

    NAMES = (
        "admit",
        "arrange",
        "bury",
        "claim",
        "confirm",
        "confirm_window",
        "exhume",
        "note",
        "payloads",
        "postpone",
        "storms",
        "sweep",
        "take_notes",
    )
    WITH_WINDOWS = frozenset({"admit", "claim", "confirm_window", "storms", "sweep"})

    def __init__(self) -> None:
        folder = resources.files("gateway.state") / "scripts"
        common = (folder / "common.lua").read_text(encoding="utf-8")
        windows = (folder / "windows.lua").read_text(encoding="utf-8")
        self.source: Mapping[str, str] = {
            name: common
            + (windows if name in self.WITH_WINDOWS else "")
            + (folder / f"{name}.lua").read_text(encoding="utf-8")
            for name in self.NAMES
        }
        self.sha: Mapping[str, str] = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in self.source.items()
        }


class Client:
    """Redis, as far as the gateway uses it."""

    def __init__(self, url: str, *, timeout: float, pool_size: int, observer: Observer | None = None) -> None:
        self._timeout = timeout
        self._observer = observer or NullObserver()
        self._scripts = Scripts()
        self._pool = aredis.BlockingConnectionPool.from_url(
            url,
            max_connections=pool_size,
            timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=max(timeout, 0.25),
            protocol=2,
        )
        self._redis = aredis.Redis(connection_pool=self._pool)

    @property
    def active_connections(self) -> int:
        return len(getattr(self._pool, "_in_use_connections", ()))

    async def script(self, name: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        """Run a script; loads it where the server does not know it (that call was certainly not performed)."""
        try:
            return await self._evaluate(name, keys, arguments)
        except StoreRefused as refusal:
            if refusal.kind != "noscript":
                raise
        await self._call(lambda: self._redis.script_load(self._scripts.source[name]))
        return await self._evaluate(name, keys, arguments)

    async def _evaluate(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        sha = self._scripts.sha[name]
        return await self._call(
            lambda: self._execute("EVALSHA", sha, len(keys), *keys, *arguments), quiet="noscript"
        )

    def _execute(self, *arguments: str | bytes | int) -> Awaitable[Any]:
        return cast("Awaitable[Any]", self._redis.execute_command(*arguments))  # type: ignore[no-untyped-call]

    async def command(self, *arguments: str | bytes | int, timeout: float | None = None) -> Any:
        """One plain command."""
        return await self._call(lambda: self._execute(*arguments), timeout=timeout)

    async def _call(
        self, start: Callable[[], Awaitable[Any]], *, timeout: float | None = None, quiet: str | None = None
    ) -> Any:
        try:
            return await in_time(start(), timeout or self._timeout)
        except (redis_errors.RedisError, OSError, TimeoutError) as error:
            translated = translate(error)
            if translated.kind != quiet:
                self._observer.redis_failed(translated.kind)
            raise translated from error

    async def scan(self, match: str, count: int = 500) -> list[str]:
        """All keys that match, in steps that each have the usual deadline several times over."""
        found: list[str] = []
        cursor = 0
        while True:
            reply = await self.command(
                "SCAN", cursor, "MATCH", match, "COUNT", count, timeout=self._timeout * 20
            )
            cursor, keys = int(reply[0]), cast("list[bytes]", reply[1])
            found.extend(key.decode() for key in keys)
            if cursor == 0:
                return found

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.disconnect()
