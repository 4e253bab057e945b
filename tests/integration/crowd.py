"""Ten thousand senders on real sockets: each with a connection that it keeps, and what it was told on it."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import pytest

from tests.integration.load import PATH
from tests.rig.fixtures.requiring import MISSING

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SLOW_BODY = f"{HEAD}Content-Length: 10000\r\n\r\n".encode()
"""The headers of a body of which a byte comes now and then."""
ENTERING = 200
"""Connections that are made at once: those that wait to be accepted have 1024 places."""
POSTING = 300
PER_ADDRESS = 1000
FIRST_WAIT = 0.5
"""Seconds; each further wait is half as long again, and all are spread by half."""


class Sender(asyncio.Protocol):
    """One connection. Times are those of `time.monotonic`."""

    def __init__(self) -> None:
        self.came = time.monotonic()
        self.told: list[int] = []
        """The status of each answer."""
        self.settled_at = 0.0
        """When the first answer came, or the connection was closed."""
        self.taken = 0
        """How many of its webhooks were answered 2xx."""
        self.open = True
        self._news = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, data: bytes) -> None:
        """As it is, once."""
        if self._transport is not None and self.open:
            self._transport.write(data)

    async def post(self, webhook: bytes) -> None:
        """Until it is taken, with Alertmanager's waits between two attempts; no further where the connection ends."""
        wait, wanted = FIRST_WAIT, self.taken + 1
        while self.open:
            told = len(self.told)
            self.send(webhook)
            while self.open and len(self.told) == told:
                self._news.clear()
                await self._news.wait()
            if self.taken == wanted:
                return
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))
            wait *= 1.5

    def data_received(self, data: bytes) -> None:
        self._settle()
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            if len(rest) < length:
                return
            self.told.append(int(head[9:12]))
            self.taken += self.told[-1] in (201, 202)
            self._news.set()
            self._rest = rest[length:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._news.set()
        self._settle()

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _settle(self) -> None:
        self.settled_at = self.settled_at or time.monotonic()


class Crowd:
    """Senders at one port; leaving the block closes all connections."""

    def __init__(self, port: int) -> None:
        self.senders: list[Sender] = []
        self._port = port
        self._gate = asyncio.Semaphore(ENTERING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for sender in self.senders:
            sender.leave()
        await asyncio.sleep(0.1)

    async def enter(self, first: Sequence[bytes]) -> list[Sender]:
        """So many connect, as fast as they are accepted; each sends its bytes at once."""
        come = await asyncio.gather(*(self._enter(data) for data in first))
        return list(come)

    async def _enter(self, data: bytes) -> Sender:
        async with self._gate:
            number = len(self.senders)
            sender = Sender()
            self.senders.append(sender)
            # A system gives one address some 28,000 connections to one port, and the gateway bounds them, too.
            address = f"127.0.0.{2 + number // PER_ADDRESS}"
            await asyncio.get_running_loop().create_connection(
                lambda: sender, "127.0.0.1", self._port, local_addr=(address, 0)
            )
            sender.send(data)
            return sender

    async def post(self, webhooks: Sequence[tuple[Sender, bytes]]) -> None:
        """Each posts its own, a few hundred at once."""
        at_work = asyncio.Semaphore(POSTING)

        async def one(sender: Sender, webhook: bytes) -> None:
            async with at_work:
                await sender.post(webhook)

        await asyncio.gather(*(one(*pair) for pair in webhooks))

    def unsettled(self) -> int:
        """How many have no answer, and are not closed either."""
        return sum(not sender.settled_at for sender in self.senders)

    def slowest(self) -> float:
        """Seconds from the coming of a sender to its first answer or its end, at the most."""
        return max(sender.settled_at - sender.came for sender in self.senders)

    def statuses(self) -> Counter[int]:
        """The answers; 0 for who was closed without one."""
        told = Counter(status for sender in self.senders for status in sender.told)
        told[0] = sum(not sender.told and not sender.open for sender in self.senders)
        return told


def posted(content: bytes) -> bytes:
    """A whole webhook, as bytes on the wire."""
    return f"{HEAD}Content-Length: {len(content)}\r\n\r\n".encode() + content


@contextmanager
def many_files(number: int) -> Iterator[None]:
    """Lets this process, and those that it starts, open so many files; where the system forbids it, the test is
    skipped in capitals."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"{MISSING}{number} open files; the hard limit of this system is {hard}")
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
