"""Somebody writes garbage over the gateway's keys while alerts come: it is set aside, told, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import redis

from chaos.rig.api import Api
from chaos.rig.garbage import WAYS
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually
from tests.integration.ordeals import SETTINGS, ordeal
from tests.integration.rivals import repeatedly
from tests.integration.windows import total
from tests.rig.fixtures import StartGateway

KINDS = (
    *(
        "gw:{0}:r:*",
        "gw:{0}:queue",
        "gw:{0}:queue:turn",
        "gw:{0}:queue:corrupt",
        "gw:{0}:notes",
        "gw:{0}:sentinel",
    ),
    *("gw:{0}:dead", "gw:{0}:windows", "gw:{0}:w:*", "gw:{0}:g:*", "gw:{0}:m:*", "alert:buffer:*"),
)
SELDOM = {"gw:{0}:m:*", "gw:{0}:g:*"}
"""May not be there whenever their turn comes."""


class Vandal:
    """Spoils keys of each kind in turn, each time in another way."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._turns = itertools.cycle(itertools.product(WAYS, KINDS))
        self.spoilt: dict[str, int] = dict.fromkeys(KINDS, 0)

    @property
    def never(self) -> set[str]:
        return {kind for kind, times in self.spoilt.items() if not times}

    def spoil(self) -> None:
        way, kind = next(self._turns)
        keys = self._client.keys(kind) or ([] if "*" in kind else [kind.encode()])  # type: ignore[union-attr]
        for key in sorted(keys)[:20]:  # type: ignore[arg-type]
            way(self._client, key)
            self.spoilt[kind] += 1


async def test_garbage_over_every_kind_of_key_under_load_neither_loses_nor_doubles(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    gateways = [start_gateway(redis=redis_server, cluster=cluster, settings=SETTINGS) for _ in range(2)]

    async with ordeal(gateways, cluster, namespace, tmp_path) as test:
        began = time.monotonic()
        with redis.Redis(port=redis_server.port) as client:
            vandal = Vandal(client)
            with repeatedly(vandal.spoil, 0.15):
                await asyncio.sleep(0.15 * 1.3 * len(WAYS) * len(KINDS))
                # Some live for moments only, and the turns of a slow machine may miss them for so long.
                await eventually(
                    lambda: vandal.never <= SELDOM, "every kind to be met", seconds=60, every=0.2
                )
        await asyncio.sleep(3)
    test.tell("garbage", opened=test.sight.opened(began), recovered=test.sight.closed(began))

    assert total(gateways, "gateway_redis_corrupt_entries_total") > 10
    assert test.load.refused < 0.05
