"""Ten thousand senders at one replica: each is served or refused, in bounded time and memory; counts are exact."""

from __future__ import annotations

import json
import time

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.crowd import SLOW_BODY, Crowd, many_files, posted
from tests.integration.load import webhook
from tests.integration.sight import adds_up, fires
from tests.integration.test_memory import resident
from tests.rig.fixtures import StartGateway

SENDERS = 10_000
SLOW, IDLE = 3_000, 1_000
PODS = 100
FILES = SENDERS + 1000
SOON = {"header_timeout": "5s", "request_timeout": "5s"}
BOUND = 20.0
"""Seconds after which each sender knows: its time, two for the answer, and what a busy machine takes."""
WAVES = 20
EACH = 24 * 1024
"""Bytes of memory that an open connection may take."""


def contents(namespace: str, number: int) -> list[bytes]:
    """Webhooks about a hundred pods, in turns; no two are the same."""
    return [
        posted(json.dumps(webhook(fires(namespace, f"pod-{at % PODS}"), receiver=f"sender-{at}")).encode())
        for at in range(number)
    ]


async def test_ten_thousand_at_the_limits_as_delivered_are_served_or_refused_soon(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    """Three thousand begin a body that never ends, and take all places; the others have whole webhooks.

    Whoever was refused comes again, and is served when the slow ones had their time.
    """
    with many_files(FILES):
        gateway = start_gateway(redis=redis_server, cluster=cluster, settings={"server": SOON})
        before = resident(gateway.pid)
        async with Crowd(gateway.port) as crowd:
            await crowd.enter([SLOW_BODY] * SLOW)
            left = contents(namespace, SENDERS - SLOW)
            posting = await crowd.enter(left)
            await eventually(lambda: not crowd.unsettled(), "everybody to know", seconds=60, every=0.1)
            grown, statuses = resident(gateway.pid) - before, crowd.statuses()
            waves = 1
            while left := [
                content for content, sender in zip(left, posting, strict=True) if not sender.taken
            ]:
                assert waves < WAVES, f"{len(left)} were never taken"
                posting = await crowd.enter(left)
                await eventually(lambda: not crowd.unsettled(), "everybody to know", seconds=60, every=0.1)
                waves += 1
            slowest = crowd.slowest()
        print(
            f"as delivered: {grown / 2**20:.0f} MiB more; {statuses} at first, all taken at the {waves}th time;"
            f" each knew within {slowest:.1f} s of coming",
            end="",
        )
        assert slowest < BOUND
        assert grown < SENDERS * EACH
        assert set(statuses) <= {201, 202, 503, 0}
        assert statuses[503] + statuses[0] >= SLOW
        assert gateway.ready()
        await adds_up(cluster, namespace, [(SENDERS - SLOW) // PODS] * PODS)


async def test_ten_thousand_held_open_are_all_served_again_and_again(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    """With room for all, each posts, keeps its connection, and posts again; a thousand only hold theirs."""
    limits = {"max_connections": SENDERS + 500}
    with many_files(FILES):
        gateway = start_gateway(redis=redis_server, cluster=cluster, settings={"server": limits})
        before = resident(gateway.pid)
        async with Crowd(gateway.port) as crowd:
            await crowd.enter([b""] * IDLE)
            posting = await crowd.enter([b""] * (SENDERS - IDLE))
            webhooks = contents(namespace, SENDERS - IDLE)
            took = []
            for _ in range(2):
                began = time.monotonic()
                await crowd.post(list(zip(posting, webhooks, strict=True)))
                took.append(time.monotonic() - began)
            held = sum(sender.open for sender in crowd.senders)
            grown, statuses = resident(gateway.pid) - before, crowd.statuses()
        print(
            f"held: {grown / SENDERS / 1024:.1f} KiB each; {len(posting)} webhooks taken within {took[0]:.1f} s,"
            f" and again within {took[1]:.1f} s; {statuses}",
            end="",
        )
        assert held == SENDERS
        assert max(took) < 60
        assert set(statuses) <= {201, 202, 503, 0}
        assert grown < SENDERS * EACH
        await adds_up(cluster, namespace, [2 * len(posting) // PODS] * PODS)
