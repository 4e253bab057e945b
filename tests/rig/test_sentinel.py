"""The Sentinels of the rig promote a replica when the master is lost, and take the old one back as a replica."""

from __future__ import annotations

import redis

from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartSentinel


def test_a_killed_master_is_replaced_by_a_replica_with_its_data(start_sentinel: StartSentinel) -> None:
    # A machine that is busy for a while loses no master before the test does.
    group = start_sentinel(down_after_ms=3000)
    first = group.master()
    with first.client() as client:
        client.set("key", "value")
        assert client.wait(2, 5000) == 2
    assert group.kill_master() is first
    second = group.wait_for_failover(first)
    assert group.master() is second
    assert second is not first
    with second.client() as client:
        assert client.get("key") == "value"
        client.set("key", "newer")
    first.start()
    wait_until(lambda: group.replicas_in_step() == 2, "the old master to follow the new one", seconds=30)
    with first.client() as client:
        assert client.info("replication")["role"] == "slave"
        assert client.get("key") == "newer"


def test_a_client_finds_the_master_through_the_sentinels(start_sentinel: StartSentinel) -> None:
    group = start_sentinel(replicas=1, sentinels=1, master_name="alerts", down_after_ms=30_000)
    host, port = group.addresses[0]
    assert group.url == f"redis+sentinel://{host}:{port}/alerts"
    finder = redis.Sentinel([(host, port)], socket_timeout=5)  # type: ignore[no-untyped-call]
    found = finder.discover_master("alerts")  # type: ignore[no-untyped-call]
    assert found == group.current_master()
    for sentinel in finder.sentinels:
        sentinel.close()
