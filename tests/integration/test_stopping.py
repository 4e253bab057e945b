"""Replicas that are stopped, killed and started again while alerts come in."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Sequence

import aiohttp

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import PATH, Books
from tests.integration.sight import PATIENT, adds_up, ask, body, counts, fires, send_one, settled
from tests.integration.test_counting import check_marks
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartFaultProxy, StartGateway, StartRedis

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
    kills = 0
    # Of three kills most meet somebody who waits for an answer, but all may fall between the answers.
    while kills < 3 or (not load.unanswered and kills < 20):
        before = load.accepted
        await eventually(lambda: load.accepted > before + 150, "some load", seconds=20)  # noqa: B023
        victim.kill()
        kills += 1
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


def told(gateway: GatewayProcess) -> tuple[int, dict[str, bool]]:
    """What `/readyz` answers, and which of the two dependencies it calls well."""
    status, text = gateway.get("/readyz")
    answer = json.loads(text)
    components = answer["components"]
    return status, {name: components[name]["ok"] for name in ("redis", "kubernetes")}


async def test_it_starts_with_both_dependencies_down_says_so_and_takes_up_each_as_it_comes(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis()
    redis.kill()
    proxy = start_fault_proxy(cluster, [Rule(Fault.RESET)])
    gateway = start_gateway(redis=redis, cluster=proxy, settings={**STEADY, **PATIENT}, wait="alive")

    assert told(gateway) == (503, {"redis": False, "kubernetes": False})
    refused = ask(gateway, body(fires(namespace)))
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert gateway.metric("gateway_requests_total", code="503", method="POST") == 1
    assert "Traceback" not in gateway.log()

    redis.restart()
    returned = time.monotonic()
    await eventually(
        lambda: told(gateway) == (200, {"redis": True, "kubernetes": False}), "Redis", seconds=15
    )
    took = [time.monotonic() - returned]
    assert send_one(gateway, fires(namespace))["outcome"] == "queued"
    proxy.clear()
    returned = time.monotonic()
    await eventually(lambda: told(gateway) == (200, {"redis": True, "kubernetes": True}), "both", seconds=15)
    took.append(time.monotonic() - returned)
    await adds_up(cluster, namespace, [1])
    await settled(gateway)
    print("taken up after " + " and ".join(f"{seconds:.1f} s" for seconds in took))


async def test_it_starts_with_redis_down_and_writes_alerts_directly(
    start_gateway: StartGateway, start_redis: StartRedis, cluster: Api, namespace: str
) -> None:
    redis = start_redis()
    redis.kill()
    gateway = start_gateway(redis=redis, cluster=cluster, settings=PATIENT, wait="ready")

    assert told(gateway) == (200, {"redis": False, "kubernetes": True})
    assert send_one(gateway, fires(namespace))["outcome"] == "created"
    redis.restart()
    await eventually(lambda: told(gateway)[1]["redis"], "Redis to be taken up", seconds=15)
    assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [2])
    await settled(gateway)


async def test_a_stop_that_waits_in_vain_ends_in_its_time_and_a_second_signal_ends_it_at_once(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    start_fault_proxy: StartFaultProxy,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis()
    proxy = start_fault_proxy(cluster)
    gateways = [
        start_gateway(redis=redis, cluster=proxy, settings={**STEADY, "server": {"shutdown_timeout": limit}})
        for limit in ("6s", "60s")
    ]
    proxy.set_rules([Rule(Fault.SWALLOWED, write=True)])
    for number, gateway in enumerate(gateways):
        assert send_one(gateway, fires(namespace, f"pod-{number}"))["outcome"] == "queued"
    redis.kill()  # now only the processes know of the alerts, and Kubernetes does not take them
    await eventually(
        lambda: all(gateway.metric("gateway_fallback_active") for gateway in gateways), "it to be noticed"
    )

    for gateway in gateways:
        gateway.signal(signal.SIGTERM)
    began = time.monotonic()
    patient, hasty = gateways
    assert await asyncio.to_thread(patient.wait, seconds=30) == 0
    took = time.monotonic() - began
    assert took < 11  # not twice its time
    assert "not confirmed" in patient.log()
    assert hasty.get("/readyz")[0] == 503
    hasty.signal(signal.SIGTERM)
    again = time.monotonic()
    assert await asyncio.to_thread(hasty.wait, seconds=30) == -signal.SIGTERM
    print(f"ended {took:.1f} s after the signal, and {time.monotonic() - again:.1f} s after the second")
    assert time.monotonic() - again < 3
