"""Redis as far as the gateway uses it: a call with a deadline, sent to the server that has the key, and its failures.

A call has `timeout` seconds (10 ms by default, see `deadlines`) for everything: a connection, the answer, and being
sent on where a cluster moved the key. What takes longer than a call may, connecting and finding the servers, goes on in
the background. Nothing is tried again here, except a script that the server did not know, which it certainly did not
run: what a failure means is decided by whoever called.

A breaker may say that Redis is not to be called now; every call tells it how it ended. Injected faults act below both:
on whatever is about to be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from redis import exceptions as redis_errors

from gateway.config.redis_url import parse
from gateway.errors import StoreError, StoreRefused
from gateway.resilience.breakers import Breaker, Outcome
from gateway.resilience.faults import FaultMode, FaultPoint
from gateway.resilience.probing import Finding
from gateway.state.access import Access, Login
from gateway.state.answers import translate
from gateway.state.deadlines import in_time
from gateway.state.inspection import Inspector
from gateway.state.pool import Pool
from gateway.state.routes import route_of
from gateway.state.scripting import SETTLED_LIFE, Scripts
from gateway.state.spoiling import STORES_NOTHING, spared_by, spoil

MOST_MOVES = 4
"""How often a call is sent on to another server."""

LOOK_AROUND = 1.0
"""Seconds between looks at what moved without anybody noticing."""

INSPECT = 60.0
"""Seconds between looks at how the servers are configured."""

PROBE_CONNECTS = 0.25
"""Seconds that a probe waits for a connection: longer than a call, so that a breaker closes at the first chance."""

_HEALTHY = frozenset({"oom", "noscript", "tryagain", "response"})
"""Kinds of failure with which Redis shows that it is well: the breaker counts them as answers."""


class Observer(Protocol):
    """Told of what happens to calls and connections."""

    def redis_failed(self, kind: str) -> None:
        """A call failed."""

    def redis_reconnected(self) -> None:
        """A connection was made in the place of one that was lost."""


class NullObserver:
    def redis_failed(self, kind: str) -> None:
        pass

    def redis_reconnected(self) -> None:
        pass


@dataclass(slots=True)
class _Sending:
    """Whether a call has left this process."""

    sent: bool = False
    spared: frozenset[FaultMode] = STORES_NOTHING
    """Injected faults that do not concern it."""

    def done(self) -> None:
        self.sent = True


PATIENCE = 5
"""How many times the usual deadline a call has that no sender waits for: a claim or a confirmation of hundreds."""


class Client:
    """Redis, whatever shape it has."""

    def __init__(
        self,
        access: Access | str,
        *,
        timeout: float,
        pool_size: int,
        observer: Observer | None = None,
        breaker: Breaker | None = None,
        faults: FaultPoint | None = None,
        probes: Sequence[str] = ("probe",),
        settled_life: float = SETTLED_LIFE,
    ) -> None:
        """`access` may be a URL alone. `timeout` in seconds; `pool_size` connections to each server at most; `probes`
        are keys that nobody writes, one for each shard; `settled_life` is that of settled records, in seconds.
        """
        if isinstance(access, str):
            where = parse(access)
            access = Access(where, Login(where.username, where.password))
        self._timeout = timeout
        self._size = pool_size
        self._observer = observer or NullObserver()
        self._breaker = breaker
        self._faults = faults
        self._probes = probes
        self._scripts = Scripts(settled_life)
        self._route = route_of(access, size=pool_size, reconnected=self._observer.redis_reconnected)
        self._inspector = Inspector()

    @property
    def active_connections(self) -> int:
        return sum(pool.in_use for pool in self._route.pools)

    @property
    def most_connections(self) -> int:
        """How many there may be at most, to all servers that are known."""
        return self._size * max(1, len(self._route.pools))

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know about how Redis is configured, as far as it tells."""
        return self._inspector.warnings

    async def script(
        self, name: str, keys: Sequence[str], *arguments: str | bytes | int, patient: bool = False
    ) -> Any:
        """Run a script where its first key is; sends its text where that server does not know it.

        `patient`: no sender waits for it, and it may be long.
        """
        scripts, rest = self._scripts, (len(keys), *keys, *arguments)
        timeout = self._timeout * PATIENCE if patient else None
        spared = spared_by(name)
        try:
            return await self._call(
                lambda version: ("EVALSHA", scripts.get(name, version).sha, *rest),
                keys[0],
                timeout=timeout,
                quiet="noscript",
                spared=spared,
            )
        except StoreRefused as refusal:
            if refusal.kind != "noscript":
                raise
        return await self._call(
            lambda version: ("EVAL", scripts.get(name, version).text, *rest),
            keys[0],
            timeout=timeout,
            spared=spared,
        )

    async def command(
        self, *arguments: str | bytes | int, key: str | None = None, timeout: float | None = None
    ) -> Any:
        """One plain command, its answer as Redis words it; `key` says which server of a cluster is meant."""
        return await self._call(lambda _: arguments, key, timeout=timeout)

    async def scan(self, match: str, *, key: str | None = None, count: int = 500) -> list[str]:
        """All keys that match on the server that has `key`, in steps that each have the usual deadline several times
        over.
        """
        found: list[str] = []
        cursor = 0
        while True:
            reply = await self.command(
                "SCAN", cursor, "MATCH", match, "COUNT", count, key=key, timeout=self._timeout * 20
            )
            cursor, keys = int(reply[0]), cast("list[bytes]", reply[1])
            found.extend(one.decode("utf-8", "replace") for one in keys)
            if cursor == 0:
                return found

    async def probe(self) -> Finding:
        """See whether every server that has keys of ours can take a write, full or not. Raises nothing.

        Does not ask the breaker and does not tell it: that is for who probes.
        """

        async def one(key: str) -> None:
            sending = _Sending()
            try:
                pool = await in_time(self._route.pool(key), PROBE_CONNECTS)
                link = await in_time(pool.take(), PROBE_CONNECTS)
                pool.give_back(link)
                # Deleting nothing is a write that needs no memory: a replica refuses it, a full master does not.
                await in_time(self._perform(sending, lambda _: ("DEL", key), key), self._timeout)
            except (redis_errors.RedisError, OSError, TimeoutError, StoreError) as error:
                raise self._failed(error, sending) from error

        findings = await asyncio.gather(*(one(key) for key in self._probes), return_exceptions=True)
        for found in findings:
            if isinstance(found, StoreError):
                if found.kind not in _HEALTHY:
                    return Finding(Outcome.FAILURE, str(found))
            elif isinstance(found, BaseException):
                raise found
        return Finding(Outcome.SUCCESS)

    async def watch(self) -> None:
        """Runs until cancelled: notices what moved, and how the servers are configured."""
        loop = asyncio.get_running_loop()
        next_look = 0.0
        while True:
            self._route.look_around()
            if loop.time() >= next_look:
                await self._inspector.inspect(self._ask_at_leisure)
                next_look = loop.time() + (INSPECT if self._inspector.complete else LOOK_AROUND)
            await asyncio.sleep(LOOK_AROUND)

    async def close(self) -> None:
        await self._route.close()

    async def _ask_at_leisure(self, *arguments: str) -> Any:
        """A question that no alert waits for, to any server that has keys; not the breaker's business."""
        sending = _Sending()
        try:
            return await in_time(self._perform(sending, lambda _: arguments, self._probes[0]), 1.0)
        except (redis_errors.RedisError, OSError, TimeoutError, StoreError) as error:
            raise translate(error, sent=sending.sent) from error

    async def _call(
        self,
        build: Callable[[int], Sequence[str | bytes | int]],
        key: str | None,
        *,
        timeout: float | None = None,
        quiet: str | None = None,
        spared: frozenset[FaultMode] = STORES_NOTHING,
    ) -> Any:
        """`build` makes the command for a server of a version; failures of the kind `quiet` are told to nobody;
        injected faults that are `spared` do not concern the call.
        """
        breaker = self._breaker
        if breaker is not None and not breaker.allow():
            raise StoreRefused(f"Redis is left alone for now: {breaker.reason}", kind="breaker_open")
        sending = _Sending(spared=spared)
        try:
            reply = await in_time(self._perform(sending, build, key), timeout or self._timeout)
        except (redis_errors.RedisError, OSError, TimeoutError, StoreError) as error:
            failure = self._failed(error, sending, quiet)
            if breaker is not None:
                healthy = failure.kind in _HEALTHY
                breaker.record(
                    Outcome.SUCCESS if healthy else Outcome.FAILURE, "" if healthy else str(failure)
                )
            raise failure from error
        if breaker is not None:
            breaker.record(Outcome.SUCCESS)
        return reply

    def _failed(self, error: Exception, sending: _Sending, quiet: str | None = None) -> StoreError:
        failure = translate(error, sent=sending.sent)
        self._route.refused(failure.kind)
        if failure.kind != quiet:
            self._observer.redis_failed(failure.kind)
        return failure

    def _perform(
        self, sending: _Sending, build: Callable[[int], Sequence[str | bytes | int]], key: str | None
    ) -> Awaitable[Any]:
        """The call, or what an injected fault makes of it."""
        faults = self._faults
        if faults is not None and faults.fault is not None:
            blow = faults.strike(sending.spared)
            if blow is not None:
                return spoil(blow, lambda: self._send(sending, build, key), sending.done)
        return self._send(sending, build, key)

    async def _send(
        self, sending: _Sending, build: Callable[[int], Sequence[str | bytes | int]], key: str | None
    ) -> Any:
        pool: Pool | None = await self._route.pool(key)
        asking = False
        for _ in range(MOST_MOVES):
            assert pool is not None
            link = await pool.take()
            sending.sent = True
            try:
                if asking:
                    await link.ask("ASKING")
                reply = await link.ask(*build(link.version))
            except redis_errors.ResponseError as error:
                pool.give_back(link)
                pool = self._route.moved(error)
                if pool is None:
                    raise
                # It is somewhere else, and was not performed here.
                sending.sent = False
                asking = not isinstance(error, redis_errors.MovedError)
            except BaseException:
                pool.drop(link)
                raise
            else:
                pool.give_back(link)
                return reply
        raise StoreRefused("the key moves from server to server", kind="moved")
