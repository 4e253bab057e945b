"""Windows outlive whoever opened them: killed and paused replicas, crashes in the middle of closing, an empty Redis."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.load import flood
from tests.integration.sight import body, fires, send, send_one, settled
from tests.integration.windows import (
    STEADY,
    holdings,
    once,
    pods,
    quick,
    stands,
    storms,
    total,
    until_known,
    window_of,
    windows_in,
)
from tests.rig.fixtures import StartFaultProxy, StartGateway

OURS = "remediationrequests"


async def test_a_window_of_the_default_times_survives_a_kill(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings={**STEADY, "storm": {}})
    began = time.monotonic()
    windows = set()

    # 0 s, 2 s, … 58 s: an alert; at 10 s the gateway is killed and started again.
    for number in range(30):
        await asyncio.sleep(max(0, began + 2 * number - time.monotonic()))
        if number == 5:
            gateway.kill()
            await gateway.start_async()
        windows |= windows_in([await asyncio.to_thread(send_one, gateway, fires(namespace, f"p{number}"))])
    assert cluster.requests(namespace) == []
    # 118 s: a minute without a new alert.
    (request,) = await stands(cluster, namespace, storms=[once(*range(30))], seconds=90)
    await settled(gateway)

    assert time.monotonic() - began > 115
    assert windows == {window_of(request)}
    assert gateway.metric("gateway_storm_buffer_recovered_total") >= 1
    assert gateway.metric("gateway_storm_buffer_expirations_total") == 0


@pytest.mark.parametrize("number", [2, 3])
async def test_one_replica_is_killed_and_one_paused_while_it_closes_the_window(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    number: int,
) -> None:
    proxy = start_fault_proxy(cluster)
    # Longer than a gateway needs to come back.
    settings = quick(hold="8s", inactivity="8s") | {"queue": {"lease": "2s"}}
    replicas = [start_gateway(redis=redis_server, cluster=proxy, settings=settings) for _ in range(number)]
    verdicts = []

    # 0 s: six alerts, one after another, to each replica in turn.
    for pod, replica in zip(range(6), itertools.cycle(replicas)):
        verdicts.append(send_one(replica, fires(namespace, f"p{pod}")))
    # The first replica dies. Of two it comes back; of three it does not.
    replicas[0].kill()
    if number == 2:
        await replicas[0].start_async()
    living = [replica for replica in replicas if replica.alive]
    for pod, replica in zip((6, 7, 8, 9, 0), itertools.cycle(living)):
        verdicts.append(send_one(replica, fires(namespace, f"p{pod}")))
    assert len(windows_in(verdicts)) == 1
    # 8 s later one of them closes the window. Its write is on its way, and will take 6 s: it is paused then.
    proxy.set_rules([Rule(Fault.LATE, verbs=("create",), resource=OURS, times=1, seconds=6)])
    await eventually(lambda: proxy.count(Fault.LATE), "the create to be on its way", seconds=20)
    (closer,) = (replica for replica in living if "Storm window ID done: window closed" in replica.log())
    (other,) = (replica for replica in living if replica is not closer)
    closer.pause()
    # Its lease ends after 2 s, and the other one writes the request. Members count on it from then on.
    await stands(cluster, namespace, storms=[{**once(*range(1, 10)), "p0": 2}], seconds=20)
    await until_known(other, verdicts[1]["fingerprint"])
    assert send_one(other, fires(namespace, "p1"))["outcome"] == "duplicate"
    # The late write finds the request there. Only then does the first one go on.
    closer.resume()
    await eventually(closer.ready, "the paused replica to be ready", seconds=20)
    assert send_one(closer, fires(namespace, "p2"))["outcome"] == "duplicate"
    (request,) = await stands(cluster, namespace, storms=[{**once(*range(3, 10)), "p0": 2, "p1": 2, "p2": 2}])
    await settled(*living)

    assert windows_in(verdicts) == {window_of(request)}
    assert total(living, "gateway_storm_buffer_expirations_total") == 0


async def test_what_falls_due_while_nobody_lives_is_closed_by_the_next_one(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    settings = quick(hold="5s", inactivity="5s")
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=settings)

    # 0 s: a storm, and a group below the threshold. Then there is no gateway.
    (storm,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2, 3))[1])
    windows_in(send(gateway, *pods(namespace, 10, 11, name="NodeDown"))[1])
    gateway.kill()
    # 7 s: all of it was due at 5 s.
    await asyncio.sleep(7)
    assert cluster.requests(namespace) == []
    await gateway.start_async()
    (request,) = await stands(
        cluster, namespace, storms=[once(0, 1, 2, 3)], own=[("p10", 1), ("p11", 1)], seconds=10
    )
    await settled(gateway)

    assert window_of(request) == storm


@pytest.mark.parametrize("killed", [True, False])
async def test_a_crash_after_the_request_was_written_changes_nothing(
    start_gateway: StartGateway,
    start_fault_proxy: StartFaultProxy,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    killed: bool,
) -> None:
    fault = Fault.HANG if killed else Fault.ANSWER_LOST
    proxy = start_fault_proxy(cluster, [Rule(fault, verbs=("create",), resource=OURS, times=1)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, settings=quick())

    (window,) = windows_in(send(gateway, *pods(namespace, 0, 1, 2, 3))[1])
    # 3 s: the request is written, and the gateway never hears of it.
    await eventually(lambda: proxy.count(fault), "the request to be written", seconds=20)
    assert len(storms(cluster, namespace)) == 1
    if killed:
        gateway.kill()
        await gateway.start_async()
    await settled(gateway)
    windows = {window_of(one) for one in await stands(cluster, namespace, storms=[once(0, 1, 2, 3)])}
    # The window is over: members count on the request, others open another one.
    assert send_one(gateway, fires(namespace, "p0"))["outcome"] == "duplicate"
    assert windows_in([send_one(gateway, fires(namespace, "p9"))]) != windows == {window}
    await stands(cluster, namespace, storms=[{**once(1, 2, 3), "p0": 2}], own=[("p9", 1)])


@pytest.mark.parametrize("pause", [0, 2])
@pytest.mark.parametrize("number", [1, 2])
async def test_emptying_redis_in_the_middle_of_a_window_neither_loses_nor_doubles_anything(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
    number: int,
    pause: float,
) -> None:
    settings = quick(hold="6s", inactivity="6s")
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=settings) for _ in range(number)]
    turns = itertools.cycle(replicas)

    # Twelve alerts, then all data of Redis are gone, then eight more, at once or after a while.
    before = [send_one(next(turns), fires(namespace, f"p{pod}")) for pod in range(12)]
    with redis_server.client() as client:
        client.flushall()
    await asyncio.sleep(pause)
    after = [send_one(next(turns), fires(namespace, f"p{pod}")) for pod in range(12, 20)]
    (request,) = await stands(cluster, namespace, storms=[once(*range(20))], seconds=20)
    await settled(*replicas)

    assert windows_in(before) == windows_in(after) == {window_of(request)}


async def test_emptying_redis_again_and_again_during_a_storm_counts_everything_once(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replicas = [start_gateway(redis=redis_server, cluster=cluster, settings=quick()) for _ in range(2)]
    bodies = [body(*pods(namespace, *(number % 40 for number in range(n, n + 4)))) for n in range(400)]

    load = asyncio.create_task(flood([replica.url for replica in replicas], bodies, at_once=4))
    with redis_server.client() as client:
        for _ in range(6):
            await asyncio.sleep(0.4)
            client.flushall()
    books = await load
    assert books.accepted == books.attempts == 400
    await settled(*replicas)

    held: dict[str, int] = {}
    aggregated, own = holdings(cluster, namespace)
    for counts in [*aggregated, dict(own)]:
        for pod, count in counts.items():
            held[pod] = held.get(pod, 0) + count
    assert held == {f"p{pod}": 40 for pod in range(40)}
