"""A load generator that costs little: raw HTTP/1.1 over kept connections, in a process of its own.

    python -m tests.bench.client HOST PORT FILE CONNECTIONS SECONDS [AUTHORIZATION]

FILE holds bodies, one JSON document a line; each connection posts one after the other, round robin. Prints one JSON
object: requests, errors, seconds, and latency quantiles in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    """One kept connection that posts as soon as it is answered."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._next = number
        self._transport: asyncio.Transport | None = None
        self._began = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self._send()

    def _send(self) -> None:
        requests = self._load.requests
        self._next = (self._next + self._load.stride) % len(requests)
        self._began = time.perf_counter()
        assert self._transport is not None
        self._transport.write(requests[self._next])

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
        self._load.answered(head[9:12], time.perf_counter() - self._began)
        if not self._load.over:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._load.over:
            self._load.errors += 1


class Load:
    """All connections and what they saw."""

    def __init__(self, requests: list[bytes], connections: int) -> None:
        self.requests = requests
        self.stride = connections
        self.over = False
        self.errors = 0
        self.latencies: list[float] = []

    def answered(self, status: bytes, seconds: float) -> None:
        if not status.startswith(b"2"):
            self.errors += 1
        self.latencies.append(seconds)


async def run(
    host: str, port: int, bodies: list[bytes], connections: int, seconds: float, authorization: str = ""
) -> dict[str, float]:
    """Post for so many seconds; what was seen."""
    head = f"POST /v1/webhooks/prometheus HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    if authorization:
        head += f"Authorization: {authorization}\r\n"
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    load = Load(requests, connections)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    transports = []
    for number in range(connections):
        transport, _ = await loop.create_connection(
            lambda number=number: Connection(load, number), host, port
        )  # type: ignore[misc]
        transports.append(transport)
    await asyncio.sleep(seconds)
    load.over = True
    took = time.perf_counter() - began
    for transport in transports:
        transport.close()
    ordered = sorted(load.latencies) or [0.0]
    return {
        "requests": len(load.latencies),
        "errors": load.errors,
        "seconds": took,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
    }


def main() -> None:
    host, port, file, connections, seconds, *more = sys.argv[1:]
    bodies = Path(file).read_bytes().splitlines()
    print(json.dumps(uvloop.run(run(host, int(port), bodies, int(connections), float(seconds), *more))))


if __name__ == "__main__":
    main()
