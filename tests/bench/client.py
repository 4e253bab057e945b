"""A load generator that costs little: raw HTTP/1.1 over kept connections, in a process of its own.

    python -m tests.bench.client HOST PORT FILE CONNECTIONS SECONDS [--rate N] [--authorization VALUE]

FILE holds bodies, one JSON document a line, which are posted round and round. Without a rate each connection posts as
soon as it is answered. With one, so many webhooks a second are due at even distances, whatever becomes of those before
them, and a latency begins when its webhook was due; one that is not answered at the end has taken until then, or the
slowest would not count. Prints one JSON object: requests (those that were answered), unanswered, errors, seconds, and
latency quantiles in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import cast

import uvloop

TICK = 0.001
"""Seconds between looks at what is due."""
LONGEST = 10.0
"""Seconds more that a round may take until anything is answered."""


class Connection(asyncio.Protocol):
    """One kept connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self.began: float | None = None
        """When what is under way was due; None where nothing is."""
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self._load.connections.append(self)
        self._load.free(self)

    def send(self, request: bytes, began: float) -> None:
        self.began = began
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        length = int(lowered.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        assert self.began is not None
        began, self.began = self.began, None
        self._load.answered(head[9:12], time.perf_counter() - began)
        self._load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._load.over:
            self._load.errors += 1


class Load:
    """What is sent, over which connections, and what they saw."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        """`rate`: webhooks a second, 0 for as many as are answered."""
        self._requests = itertools.cycle(requests)
        self._rate = rate
        self._idle: deque[Connection] = deque()
        self._late: deque[float] = deque()
        self._answered = asyncio.Event()
        self.over = False
        self.errors = 0
        self.connections: list[Connection] = []
        self.latencies: list[float] = []
        self.unanswered: list[float] = []
        """Seconds from when each was due until the end, of those that had no answer then: at a rate only."""

    def free(self, connection: Connection) -> None:
        """It has nothing under way."""
        if self.over:
            return
        if not self._rate:
            connection.send(next(self._requests), time.perf_counter())
        elif self._late:
            connection.send(next(self._requests), self._late.popleft())
        else:
            self._idle.append(connection)

    def answered(self, status: bytes, seconds: float) -> None:
        if not status.startswith(b"2"):
            self.errors += 1
        self.latencies.append(seconds)
        self._answered.set()

    async def last(self, seconds: float) -> None:
        """Go on for so long."""
        ends = time.perf_counter() + seconds
        due = time.perf_counter()
        if not self._rate:
            await asyncio.sleep(seconds)
            with suppress(TimeoutError):  # a short round on a busy machine
                await asyncio.wait_for(self._answered.wait(), LONGEST)
        while self._rate and (now := time.perf_counter()) < ends:
            while due <= now:
                if self._idle:
                    self._idle.popleft().send(next(self._requests), due)
                else:
                    self._late.append(due)
                due += 1 / self._rate
            await asyncio.sleep(TICK)
        self.over = True
        if self._rate:
            now = time.perf_counter()
            under_way = [one.began for one in self.connections if one.began is not None]
            self.unanswered = [now - began for began in (*under_way, *self._late)]


async def run(options: argparse.Namespace) -> dict[str, float]:
    """Post for so many seconds; what was seen."""
    head = (
        f"POST /v1/webhooks/prometheus HTTP/1.1\r\nHost: {options.host}\r\nContent-Type: application/json\r\n"
    )
    if options.authorization:
        head += f"Authorization: {options.authorization}\r\n"
    bodies = options.file.read_bytes().splitlines()
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    load = Load(requests, options.rate)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    transports = []
    for _ in range(options.connections):
        transport, _ = await loop.create_connection(lambda: Connection(load), options.host, options.port)
        transports.append(transport)
    await load.last(options.seconds)
    took = time.perf_counter() - began
    for transport in transports:
        transport.close()
    ordered = sorted([*load.latencies, *load.unanswered]) or [0.0]
    return {
        "requests": len(load.latencies),
        "unanswered": len(load.unanswered),
        "errors": load.errors,
        "seconds": took,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--authorization", default="")
    print(json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
