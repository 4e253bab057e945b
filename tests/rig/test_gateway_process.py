"""The gateway as a process of the rig: it becomes ready, or says why not."""

from __future__ import annotations

import pytest

from chaos.faults.rules import Fault, Rule
from chaos.rig.api import Api
from chaos.rig.processes import Died
from chaos.rig.redis_server import RedisServer
from tests.rig.fixtures import StartFaultProxy, StartGateway


def test_it_becomes_ready_and_keeps_its_ports_over_a_kill(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster)
    gateway.kill()
    assert gateway.get("/healthz")[0] == 0
    gateway.restart()
    assert gateway.whole()
    assert gateway.metric("gateway_build_info") == 1
    assert gateway.terminate(seconds=30) == 0


def test_one_that_has_not_seen_the_requests_is_ready_and_not_whole(
    start_gateway: StartGateway, start_fault_proxy: StartFaultProxy, redis_server: RedisServer, cluster: Api
) -> None:
    proxy = start_fault_proxy(cluster, [Rule(Fault.RESET)])
    gateway = start_gateway(redis=redis_server, cluster=proxy, wait="ready")
    assert not gateway.whole()
    proxy.clear()
    gateway.until(gateway.whole, seconds=30)


def test_one_that_cannot_start_says_why(start_gateway: StartGateway) -> None:
    with pytest.raises(Died, match=r"storm\.holdd"):
        start_gateway(settings={"storm": {"holdd": "60s"}})
