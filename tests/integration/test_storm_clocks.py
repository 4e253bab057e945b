"""Time is Redis's: a gateway whose clock is wrong ends no window early, and a Redis whose clock steps loses nothing."""

from __future__ import annotations

import time

from chaos.rig.api import Api
from chaos.rig.fake_clock import FakeClock
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.sight import fires, send, send_one, settled
from tests.integration.windows import STEADY, once, pods, quick, stands, windows_in
from tests.rig.fixtures import StartGateway, StartRedis


async def test_a_gateway_whose_clock_is_ahead_ends_nothing_early(
    start_gateway: StartGateway,
    redis_server: RedisServer,
    fake_clock: FakeClock,
    cluster: Api,
    namespace: str,
) -> None:
    settings = quick(hold="8s", inactivity="8s")
    right = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    wrong = start_gateway(redis=redis_server, cluster=cluster, settings=settings, env=fake_clock.env)

    # 0 s: two groups, one of them a storm; a clock that steps over the end of both windows meanwhile.
    began = time.monotonic()
    _, verdicts = send(right, *pods(namespace, 0, 1, 2), *pods(namespace, 10, name="NodeDown"))
    windows = windows_in(verdicts)
    fake_clock.step(65)
    windows |= windows_in([send_one(wrong, fires(namespace, "p11", name="NodeDown"))])
    assert len(windows) == 2
    # All of them wait until they are due, at 8 s.
    await eventually(lambda: cluster.requests(namespace), "the first request", seconds=30)
    assert time.monotonic() - began > 7.9
    await stands(cluster, namespace, storms=[once(0, 1, 2)], own=[("p10", 1), ("p11", 1)], seconds=20)
    await settled(right, wrong)


async def test_a_redis_whose_clock_steps_ends_windows_early_and_loses_none_of_their_alerts(
    start_gateway: StartGateway,
    start_redis: StartRedis,
    fake_clock: FakeClock,
    cluster: Api,
    namespace: str,
) -> None:
    redis = start_redis(source="wheel", env=fake_clock.env)
    gateway = start_gateway(redis=redis, cluster=cluster, settings={**STEADY, "storm": {}})

    # 0 s: two alerts, which wait for a minute, and a storm. Then it is 65 s later for Redis.
    before = windows_in(send(gateway, *pods(namespace, 0, 1))[1])
    windows_in(send(gateway, *pods(namespace, 10, 11, 12, name="NodeDown"))[1])
    fake_clock.step(65)
    await stands(cluster, namespace, own=[("p0", 1), ("p1", 1)], storms=[once(10, 11, 12)], seconds=10)
    # The third alert finds no window that could take it.
    after = windows_in([send_one(gateway, fires(namespace, "p2"))])
    assert before.isdisjoint(after)
    fake_clock.step(65)
    everything = [("p0", 1), ("p1", 1), ("p2", 1)]
    await stands(cluster, namespace, own=everything, storms=[once(10, 11, 12)], seconds=10)
    # Back to where it was: nothing is due for two minutes, and nothing is lost by that.
    fake_clock.step(-130)
    assert send_one(gateway, fires(namespace, "p2"))["outcome"] == "duplicate"
    windows_in([send_one(gateway, fires(namespace, "p3"))])
    fake_clock.step(200)
    everything = [("p0", 1), ("p1", 1), ("p2", 2), ("p3", 1)]
    await stands(cluster, namespace, own=everything, storms=[once(10, 11, 12)], seconds=20)
    await settled(gateway)
