"""Readiness and its lines go by the breakers, and say what a person could do."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.engine.health import Health
from gateway.engine.ports import Breakers, Ports
from gateway.engine.reports import BreakerReport
from gateway.kube.index import Index
from gateway.resilience.breakers import Breaker, Outcome, Policy

POLICY = Policy(failure_rate=0.5, window=10.0, min_calls=3, open_for=4.0, proofs=1)


class World:
    """What health is told from."""

    def __init__(self) -> None:
        self.redis = Breaker("redis", POLICY, clock=lambda: 0.0)
        self.kubernetes = Breaker("k8s_api", POLICY, clock=lambda: 0.0)
        self.synced = True
        self.answering = True
        self.missing: list[str] = []

    def health(self, *, breakers: bool = True) -> Health:
        nothing = cast("Any", None)
        ports = Ports(
            store=nothing,
            cluster=nothing,
            index=Index(),
            spaces=nothing,
            synced=lambda: self.synced,
            fallback_namespace="fallback",
            clock=nothing,
            metrics=nothing,
            breakers=Breakers(self.redis, self.kubernetes) if breakers else Breakers(),
            watch_error=lambda: "401: Unauthorized",
            missing_permissions=lambda: self.missing,
        )
        return Health(ports, answering=lambda: self.answering)


def trip(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.record(Outcome.FAILURE, "it is broken")
    assert not breaker.closed


def test_nothing_is_well_before_it_has_answered_once() -> None:
    world = World()
    world.synced = False
    assert not world.health().durable()
    assert world.health().redis().detail == "has not answered yet"
    world.redis.record(Outcome.FAILURE, "refused")
    assert world.health().redis().detail == "has not answered yet: refused"
    world.redis.record(Outcome.SUCCESS)
    assert world.health().redis().ok
    assert world.health().durable()


@pytest.mark.parametrize(
    ("redis_down", "kubernetes_down", "durable"),
    [(False, False, True), (True, False, True), (False, True, True), (True, True, False)],
)
def test_either_of_the_two_is_enough(redis_down: bool, kubernetes_down: bool, durable: bool) -> None:
    world = World()
    world.redis.record(Outcome.SUCCESS)
    if redis_down:
        trip(world.redis)
    if kubernetes_down:
        trip(world.kubernetes)
    health = world.health()
    assert health.durable() is durable
    assert health.redis().ok is not redis_down
    assert health.kubernetes().ok is not kubernetes_down
    assert health.writes(3, failing=False).ok is not kubernetes_down


def test_single_failures_make_nobody_unready() -> None:
    world = World()
    world.synced = False
    world.redis.record(Outcome.SUCCESS)
    for _ in range(100):
        world.redis.record(Outcome.FAILURE)
        world.redis.record(Outcome.SUCCESS)
        world.redis.record(Outcome.SUCCESS)
        assert world.health().durable()


def test_it_says_why() -> None:
    world = World()
    trip(world.kubernetes)
    assert world.health().kubernetes().detail == "fails and is left alone for now: it is broken"
    with world.kubernetes.probing() as probe:
        probe.outcome = Outcome.SUCCESS
    world.synced = False
    assert world.health().kubernetes().detail == "requests are not being watched: 401: Unauthorized"
    world.missing = ["create a in namespace b", "list a in all namespaces"]
    assert world.health().permissions().detail == "missing: create a in namespace b; list a in all namespaces"
    assert world.health().writes(4, failing=True).detail == "4 requests wait to be written"


def test_the_status_shows_each_breaker() -> None:
    world = World()
    trip(world.kubernetes)
    assert world.health().breakers() == {
        "redis": BreakerReport(state="closed"),
        "k8s_api": BreakerReport(state="open", reason="it is broken", retry_after_seconds=4.0),
    }


def test_without_breakers_the_last_answer_counts() -> None:
    world = World()
    world.synced = False
    assert world.health(breakers=False).durable()
    world.answering = False
    assert not world.health(breakers=False).durable()
    assert world.health(breakers=False).redis().detail == "does not answer"
