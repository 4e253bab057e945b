"""What gateways tell of the Kubernetes API while something is done to it: when its breaker opened and closed, and how
much waited to be written meanwhile. Looked at all the time, so that nothing short is missed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import eventually

CLOSED = 0.0
STANDING = 16
"""Requests that the load of `ordeals` keeps in the queue while all is well: ten known problems and a storm, which wait
until they may be written again, and a few new ones."""
BACKOFF = "gateway_k8s_api_retry_backoff_seconds"
BOUNDS = ("0.1", "0.2", "0.5", "1.0", "2.0", "4.0", "8.0", "16.0", "32.0", "60.0")


@dataclass(frozen=True, slots=True)
class Look:
    """One gateway at one moment (monotonic seconds): its breaker for Kubernetes, and its queue's depth."""

    at: float
    gateway: int
    state: float
    depth: float


class KubernetesSight:
    """All that was seen."""

    def __init__(self, gateways: Sequence[GatewayProcess]) -> None:
        self._gateways = gateways
        self._looks: list[Look] = []

    async def look(self) -> None:
        """Runs until cancelled."""
        while True:
            for number, one in enumerate(self._gateways):
                with contextlib.suppress(OSError):
                    state, depth = await asyncio.to_thread(_seen, one)
                    self._looks.append(Look(time.monotonic(), number, state, depth))
            await asyncio.sleep(0.1)

    def states(self) -> list[float]:
        """The newest state of each breaker that was seen."""
        newest = {look.gateway: look.state for look in self._looks}
        return [newest.get(number, CLOSED) for number in range(len(self._gateways))]

    def opened(self, since: float) -> float | None:
        """Seconds until the last of the breakers was seen open; None where one stayed closed."""
        first: dict[int, float] = {}
        for look in self._looks:
            if look.at >= since and look.state != CLOSED:
                first.setdefault(look.gateway, look.at - since)
        return max(first.values()) if len(first) == len(self._gateways) else None

    def closed(self, since: float) -> float | None:
        """Seconds until all breakers were closed for good, 0 for those that were; None where one is not."""
        if any(state != CLOSED for state in self.states()):
            return None
        return max(
            (look.at - since for look in self._looks if look.state != CLOSED and look.at > since), default=0
        )

    def deepest(self, since: float) -> float:
        """The most that waited in the queue."""
        return max((look.depth for look in self._looks if look.at >= since), default=0)

    async def open_everywhere(self, *, seconds: float) -> None:
        await eventually(
            lambda: all(state != CLOSED for state in self.states()), "the breakers to open", seconds=seconds
        )

    async def closed_everywhere(self, *, seconds: float = 30) -> None:
        await eventually(
            lambda: all(state == CLOSED for state in self.states()), "the breakers to close", seconds=seconds
        )

    async def all_written(self, *, seconds: float = 30) -> None:
        """Until the breakers are closed and no more waits in the queues than the load itself keeps there."""
        began = len(self._looks)

        def empty() -> bool:
            newest = {look.gateway: look for look in self._looks[began:]}
            return len(newest) == len(self._gateways) and all(
                look.state == CLOSED and look.depth <= STANDING for look in newest.values()
            )

        await eventually(empty, "everything to be written", seconds=seconds)


@contextlib.asynccontextmanager
async def watching(*gateways: GatewayProcess) -> AsyncIterator[KubernetesSight]:
    """Looks at the gateways for as long as the block lasts."""
    sight = KubernetesSight(gateways)
    looking = asyncio.create_task(sight.look())
    try:
        yield sight
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _seen(one: GatewayProcess) -> tuple[float, float]:
    state = depth = 0.0
    for line in one.metrics().splitlines():
        if line.startswith("gateway_circuit_breaker_state{") and 'component="k8s_api"' in line:
            state = float(line.rpartition(" ")[2])
        elif line.startswith("gateway_k8s_api_request_queue_depth "):
            depth = float(line.rpartition(" ")[2])
    return state, depth


def backoffs(gateway: GatewayProcess) -> dict[str, int]:
    """How many delays the histogram counted in each of its buckets (upper bound → number), without empty ones."""
    found, below = {}, 0.0
    for bound in BOUNDS:
        upto = gateway.metric(f"{BACKOFF}_bucket", le=bound)
        if upto > below:
            found[bound] = round(upto - below)
        below = upto
    return found
