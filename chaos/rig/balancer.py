"""A plain TCP balancer, in a process of its own: each connection goes to the next replica, and bytes to and fro.

It knows nothing of HTTP, as a Kubernetes service does not: a sender that keeps its connection stays with its replica. A
replica that does not take the connection is passed by.

    python -m chaos.rig.balancer PORT TARGET_PORT ...
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from chaos.rig.ports import free_port
from chaos.rig.processes import Process

ROOT = Path(__file__).parents[2]
BACKLOG = 1024


class Balancer(Process):
    """Before replicas on loopback. `url` is where senders post."""

    def __init__(self, folder: Path, targets: Sequence[int], *, name: str = "balancer") -> None:
        """`targets` are the replicas' ports."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "chaos.rig.balancer", str(self.port), *map(str, targets)]
        super().__init__(name, command, folder=folder, cwd=ROOT)

    def start(self) -> None:
        """Returns when it accepts connections."""
        super().start()
        self.until(lambda: "ready" in self.log(), seconds=60)


class _End(asyncio.Protocol):
    """One side of a connection; what comes in goes out of the other side, as fast as that takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Front(_End):
    """The side of a sender; what comes before a replica is there waits for it."""

    def __init__(self, targets: Iterator[int], number: int, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._targets = [next(targets) for _ in range(number)]
        self._tasks = tasks
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        task = asyncio.ensure_future(self._join(self.transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early += data
        else:
            super().data_received(data)

    async def _join(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        for port in self._targets:
            back = _End()
            back.other = self
            try:
                await loop.create_connection(lambda back=back: back, "127.0.0.1", port)  # type: ignore[misc]
            except OSError:
                continue
            assert back.transport is not None
            if transport.is_closing():
                back.transport.close()
            self.other = back
            back.transport.write(self._early)
            return
        transport.close()


async def balance(port: int, targets: Sequence[int]) -> None:
    """Serve until the process is ended."""
    tasks: set[asyncio.Task[None]] = set()
    places = itertools.count()

    def turn() -> _Front:
        # The next replica first, then those after it.
        begin = next(places) % len(targets)
        return _Front(itertools.islice(itertools.cycle(targets), begin, None), len(targets), tasks)

    server = await asyncio.get_running_loop().create_server(turn, "127.0.0.1", port, backlog=BACKLOG)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    import uvloop  # noqa: PLC0415 - whoever only starts the process needs none

    port, *targets = map(int, sys.argv[1:])
    uvloop.run(balance(port, targets))


if __name__ == "__main__":
    main()
