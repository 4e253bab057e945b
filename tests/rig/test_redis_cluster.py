"""The Redis Cluster of the rig is whole, replaces a lost master, and moves slots under its clients."""

from __future__ import annotations

import pytest
import redis
from redis.cluster import ClusterNode
from redis.exceptions import AskError, MovedError, TryAgainError

from chaos.rig.redis_cluster import SLOTS, RedisCluster
from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartRedisCluster

STEADY = 15_000
"""Milliseconds for which a node may be silent where none is to be lost: a busy machine takes some."""


def _client(cluster: RedisCluster) -> redis.RedisCluster:
    nodes = [ClusterNode("127.0.0.1", node.port) for node in cluster.nodes]  # type: ignore[no-untyped-call]
    return redis.RedisCluster(startup_nodes=nodes, decode_responses=True, protocol=2, socket_timeout=5)


def test_a_killed_master_is_replaced_and_comes_back_as_a_replica(
    start_redis_cluster: StartRedisCluster,
) -> None:
    cluster = start_redis_cluster(masters=3, replicas_per_master=1)
    assert sorted(slot for node in cluster.view() for slot in node.slots) == list(range(SLOTS))
    with _client(cluster) as client:
        for number in range(30):
            client.set(f"key{number}", number)
    slot = cluster.slot_of("key7")
    lost = cluster.master_of(slot)
    (heir,) = cluster.replicas_of(lost)
    with lost.client() as client:
        client.set("key7", 7)  # what is waited for is what this connection wrote, and all before it
        assert client.wait(1, 5000) == 1
    assert cluster.kill_master(slot) is lost
    cluster.wait_for_failover(lost)
    assert cluster.master_of(slot) is heir
    with _client(cluster) as client:
        assert [client.get(f"key{number}") for number in range(30)] == [str(number) for number in range(30)]
    lost.start()
    wait_until(
        lambda: lost in cluster.replicas_of(heir) and cluster.settled(),
        "the lost one as a replica",
        seconds=30,
    )


def test_a_migrated_slot_has_its_keys_at_the_new_place(start_redis_cluster: StartRedisCluster) -> None:
    cluster = start_redis_cluster(masters=3, replicas_per_master=0, node_timeout_ms=STEADY)
    slot = cluster.slot_of("{a}1")
    source = cluster.master_of(slot)
    target = next(node for node in cluster.nodes if node is not source)
    with _client(cluster) as client:
        for number in range(250):
            client.set(f"{{a}}{number}", number)
        cluster.migrate_slot(slot, target)
        assert cluster.master_of(slot) is target
        assert client.get("{a}249") == "249"
    with source.client() as direct, pytest.raises(MovedError):
        direct.get("{a}1")
    with target.client() as direct:
        assert direct.dbsize() == 250


def test_a_slot_can_stay_between_two_nodes(start_redis_cluster: StartRedisCluster) -> None:
    cluster = start_redis_cluster(masters=3, replicas_per_master=0, node_timeout_ms=STEADY)
    slot = cluster.slot_of("{a}")
    source = cluster.master_of(slot)
    target = next(node for node in cluster.nodes if node is not source)
    with source.client() as direct:
        direct.mset({"{a}1": "1", "{a}2": "2"})
        cluster.begin_migration(slot, target)
        assert cluster.move_keys(slot, target, most=1) == 1
        with pytest.raises((AskError, TryAgainError)):
            direct.mget("{a}1", "{a}2")
        with pytest.raises(AskError):
            direct.get("{a}3")
    assert cluster.move_keys(slot, target) == 1
    cluster.finish_migration(slot, source, target)
    with target.client() as direct:
        assert direct.mget("{a}1", "{a}2") == ["1", "2"]
