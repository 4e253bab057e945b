"""Replicas that are stopped, killed and started again while alerts come in."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Sequence

import aiohttp

from tests.integration.load import PATH, Books
from tests.integration.sight import adds_up, body, counts, fires, settled
from tests.integration.test_counting import check_marks
from tests.rig.api import Api
from tests.rig.fixtures import StartGateway
from tests.rig.redis_server import RedisServer
from tests.rig.waiting import eventually

HEADERS = {"Content-Type": "application/json"}


class Load:
    """Senders that go to the other replica when one does not take their alert; each alert has its own problem's books.

    A body is sent once to each problem at a time, on a connection of its own, so that "no answer" never means a
    connection that was closed while idle.
    """

    def __init__(self, urls: Sequence[str], namespace: str, *, problems: int) -> None:
        self._urls = urls
        self._bodies = [body(fires(namespace, f"pod-{number}")) for number in range(problems)]
        self.books = [Books() for _ in range(problems)]
        self.stop = False

    @property
    def accepted(self) -> int:
        return sum(books.accepted for books in self.books)

    @property
    def unanswered(self) -> int:
        return sum(books.unanswered for books in self.books)

    @property
    def refused(self) -> int:
        return sum(books.refused for books in self.books)

    async def run(self) -> None:
        """Send until `stop`, then finish what is under way."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=20)
        ) as session:
            await asyncio.gather(*(self._send(session, number) for number in range(len(self._bodies))))

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        books = self.books[number]
        for url in itertools.cycle(self._urls[number % 2 :] + self._urls[: number % 2]):
            if self.stop:
                return
            books.attempts += 1
            try:
                async with session.post(url + PATH, data=self._bodies[number], headers=HEADERS) as answer:
                    if answer.status < 300:
                        books.accepted += 1
                    else:
                        assert answer.status == 503
                        books.refused += 1
            except aiohttp.ClientConnectorError:
                books.refused += 1  # nobody listens: nothing was sent
                await asyncio.sleep(0.02)
            except (aiohttp.ClientError, TimeoutError):
                books.unanswered += 1


async def test_sigterm_under_load_loses_nothing_answers_what_is_under_way_and_exits_with_0(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    leaving, staying = (start_gateway(redis=redis_server, cluster=cluster) for _ in range(2))
    load = Load([leaving.url, staying.url], namespace, problems=12)

    running = asyncio.create_task(load.run())
    await eventually(lambda: load.accepted > 300, "some load", seconds=20)
    leaving.signal(signal.SIGTERM)
    code = await asyncio.to_thread(leaving.wait, seconds=30)
    after = load.accepted
    await eventually(lambda: load.accepted > after + 100, "the other replica to go on", seconds=20)
    load.stop = True
    await running
    await adds_up(cluster, namespace, [books.accepted for books in load.books])
    await settled(staying)

    assert code == 0
    assert load.refused > 0
    assert counts(cluster, namespace) == sorted(books.accepted for books in load.books)
    assert '"msg": "stopped"' in leaving.log()
    assert "not confirmed" not in leaving.log()
    check_marks(cluster.requests(namespace))


async def test_a_replica_killed_and_started_again_under_load_counts_all_that_was_answered_and_none_twice(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    victim, other = (start_gateway(redis=redis_server, cluster=cluster) for _ in range(2))
    load = Load([victim.url, other.url], namespace, problems=8)

    running = asyncio.create_task(load.run())
    for _ in range(3):
        before = load.accepted
        await eventually(lambda: load.accepted > before + 150, "some load", seconds=20)  # noqa: B023
        victim.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(victim.start)
    load.stop = True
    await running
    await settled(victim, other)
    await eventually(lambda: within(load, cluster, namespace), "the books to agree", seconds=40, every=0.3)

    assert load.unanswered > 0
    check_marks(cluster.requests(namespace))


def within(load: Load, cluster: Api, namespace: str) -> bool:
    """Each problem's count is what was answered 2xx, and at most what was never answered besides."""
    found = {
        request["spec"]["signalLabels"]["pod"]: int(request["spec"]["deduplication"]["occurrenceCount"])
        for request in cluster.requests(namespace)
    }
    return len(found) == len(load.books) and all(
        books.accepted <= found[f"pod-{number}"] <= books.accepted + books.unanswered
        for number, books in enumerate(load.books)
    )
