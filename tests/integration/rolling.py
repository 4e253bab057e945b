"""Replicas that are replaced one after the other, as a Deployment does it, while webhooks come in through a Service."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.waiting import eventually
from tests.integration.load import PATH
from tests.integration.sight import body, fires

HEADERS = {"Content-Type": "application/json"}
STORMY = "Stormy"
"""The alertname of what is held in windows."""
PAUSE = 1.0
"""Seconds between a replica's leaving the Service and its SIGTERM: `preStopSeconds` of the chart, in small."""


class Service:
    """What the cluster's Service knows: where new connections go."""

    def __init__(self, replicas: Sequence[GatewayProcess]) -> None:
        self.endpoints = [one.url for one in replicas]
        self.visits: Counter[str] = Counter()
        """URL → webhooks on new connections that went there and are not answered."""

    async def replace(self, old: GatewayProcess, new: GatewayProcess) -> float:
        """As Kubernetes does it under the chart: no new connections, a pause, SIGTERM; the next joins when it is ready.

        Returns the seconds from the signal to the end.
        """
        self.endpoints.remove(old.url)
        await asyncio.sleep(PAUSE)
        # Whom the Service sent there before is served by the end of the chart's pause; this short one may be too short.
        await eventually(lambda: not self.visits[old.url], "the last of the new connections", seconds=20)
        began = asyncio.get_running_loop().time()
        old.signal(signal.SIGTERM)
        code = await asyncio.to_thread(old.wait, seconds=40)
        assert code == 0, old.tail()
        took = asyncio.get_running_loop().time() - began
        await new.start_async(seconds=40)
        self.endpoints.append(new.url)
        return took


class Sending:
    """Senders, and their books. What is not answered 2xx is sent again at once, to wherever the Service leads.

    Half of the senders make a connection for each webhook; nothing of theirs may fail even once. The others keep theirs
    for as long as it works, as Alertmanager does: they reach a replica that has left the Service, and are told 503, or
    meet a closed connection, when it stops.
    """

    def __init__(self, service: Service, namespace: str, *, senders: int = 4) -> None:
        self._service = service
        self._namespace = namespace
        self._senders = senders
        self._numbers = itertools.count()
        self._stop = False
        self.storms = True
        """Whether new problems of a group come, and the old ones again."""
        self.accepted: Final[Counter[str]] = Counter()
        """Pod → webhooks about it that were answered 2xx."""
        self.outcomes: Final[Counter[str]] = Counter()
        self.windows: Final[set[str]] = set()
        """Those in which alerts were said to be held."""
        self.failed: Final[list[str]] = []
        """Each attempt on a connection of its own that was not answered 2xx."""
        self.repeated = 0
        """Attempts on kept connections that were sent again."""

    @property
    def total(self) -> int:
        return self.accepted.total()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Senders run; at the end each finishes the webhook that it has begun."""
        running = [asyncio.create_task(self._run(number)) for number in range(self._senders)]
        try:
            yield
        finally:
            self._stop = True
            await asyncio.gather(*running)

    async def _run(self, number: int) -> None:
        keep = number % 2 == 1
        connector = aiohttp.TCPConnector(force_close=not keep, limit=1)
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            url = ""
            for pod, name in self._problems(number):
                if self._stop:
                    return
                content = body(fires(self._namespace, pod, name=name))
                for _ in range(10):
                    if not keep or not url:
                        url = random.choice(self._service.endpoints)
                    self._service.visits[url] += not keep
                    said = await self._post(session, url, content)
                    self._service.visits[url] -= not keep
                    if not said:
                        self.accepted[pod] += 1
                        break
                    url = ""
                    if keep:
                        self.repeated += 1
                    else:
                        self.failed.append(said)
                else:
                    self.failed.append(f"given up: {said}")
                await asyncio.sleep(0.01)  # a load under which a window does not fill up before the end

    def _problems(self, sender: int) -> Iterator[tuple[str, str]]:
        """One problem of the sender's own again and again; and, while it storms, others of one group, each twice."""
        while True:
            for _ in range(8):
                yield f"own-{sender}", "PodOOMKilled"
            if self.storms:
                number = next(self._numbers)
                yield f"storm-{number}", STORMY
                yield f"storm-{max(0, number - 5)}", STORMY

    async def _post(self, session: aiohttp.ClientSession, url: str, content: bytes) -> str:
        """Empty where it was answered 2xx, else what happened."""
        try:
            async with session.post(url + PATH, data=content, headers=HEADERS) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        if answer.status >= 300:
            return f"{answer.status} {text.decode()[:200]}"
        (one,) = json.loads(text)["alerts"]
        self.outcomes[one["outcome"]] += 1
        if "window" in one:
            self.windows.add(one["window"]["id"])
        return ""
