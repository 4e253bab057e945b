"""What each injection is on this machine: a function that does it to a stage and returns the one that undoes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from chaos import rules
from chaos.injections import Injection
from chaos.local.stage import Stage

Undo = Callable[[], None]
Act = Callable[[Stage], Undo]

SKEW = 65.0
MEGABYTE = 1024 * 1024
CHUNK = 64 * 1024


def _master_failure(stage: Stage) -> Undo:
    assert stage.sentinels is not None
    lost = stage.sentinels.kill_master()
    stage.down.add(lost.name)

    def undo() -> None:
        lost.start()
        stage.down.discard(lost.name)

    return undo


def _gone(stage: Stage) -> Undo:
    assert stage.redis is not None
    server = stage.redis
    server.kill()
    stage.down.add(server.name)

    def undo() -> None:
        server.start()
        stage.down.discard(server.name)

    return undo


def _partition(stage: Stage) -> Undo:
    assert stage.link is not None
    stage.link.add("timeout", stream="upstream", timeout=0)
    stage.link.add("timeout", stream="downstream", timeout=0)
    return stage.link.clear


def _latency(stage: Stage) -> Undo:
    assert stage.link is not None
    stage.link.add("latency", latency=500, jitter=100)
    return stage.link.clear


def _toxic(injection: Injection) -> Act:
    def act(stage: Stage) -> Undo:
        assert stage.link is not None
        for toxic in rules.toxics(injection) or ():
            stage.link.add(
                toxic["type"], stream=toxic["stream"], toxicity=toxic["toxicity"], **toxic["attributes"]
            )
        # Connections that are open already know nothing of a toxic that resets.
        stage.link.disable()
        stage.link.enable()
        return stage.link.clear

    return act


def _answered(injection: Injection) -> Act:
    def act(stage: Stage) -> Undo:
        assert stage.api is not None
        stage.api.set_rules(rules.fault_rules(injection) or ())
        return stage.api.clear

    return act


def _memory_pressure(stage: Stage) -> Undo:
    """Redis may hold 512 MB, evicts what was used least recently, and others fill 400 MB of it."""
    with _client(stage) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", 512 * MEGABYTE)
        _fill(client, 400 * MEGABYTE, "pressure")
    return lambda: _relieve(stage)


def _eviction(stage: Stage) -> Undo:
    """Others write half as much again as Redis may hold, so that nothing older than that is left but by luck."""
    with _client(stage) as client:
        limit = int(client.config_get("maxmemory")["maxmemory"]) or 512 * MEGABYTE
        _fill(client, limit * 3 // 2, "flood")
    return lambda: None


def _refuse_writes(stage: Stage) -> Undo:
    with _client(stage) as client:
        before = client.config_get("maxmemory*")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)

    def undo() -> None:
        with _client(stage) as client:
            client.config_set("maxmemory", before["maxmemory"])
            client.config_set("maxmemory-policy", before["maxmemory-policy"])

    return undo


def _skew_gateway(stage: Stage) -> Undo:
    assert stage.gateway_clock is not None
    stage.gateway_clock.step(SKEW)
    return stage.gateway_clock.reset


def _skew_redis(stage: Stage) -> Undo:
    assert stage.redis_clock is not None
    stage.redis_clock.step(SKEW)
    return stage.redis_clock.reset


def _restart(stage: Stage) -> Undo:
    gateway = stage.gateways[0]
    gateway.kill()
    # Started like a pod whose container ended: at once, and not waited for.
    gateway.start(wait="no")
    return lambda: None


def _garbage(stage: Stage) -> Undo:
    """Until it is undone, some keys of the gateway are overwritten with a value of another type."""
    stop = threading.Event()

    def spoil() -> None:
        while not stop.wait(0.1):
            with _client(stage) as client:
                for key in list(client.scan_iter(match="gw:*", count=500))[:20]:
                    client.delete(key)
                    client.rpush(key, "garbage")

    thread = threading.Thread(target=_quietly(spoil), daemon=True)
    thread.start()

    def undo() -> None:
        stop.set()
        thread.join(10)

    return undo


ACTS: dict[Injection, Act] = {
    Injection.REDIS_MASTER_FAILURE: _master_failure,
    Injection.REDIS_NETWORK_PARTITION: _partition,
    Injection.REDIS_LATENCY: _latency,
    Injection.REDIS_RESETS: _toxic(Injection.REDIS_RESETS),
    Injection.REDIS_SLOW_CLOSE: _toxic(Injection.REDIS_SLOW_CLOSE),
    Injection.REDIS_DATA_LIMIT: _toxic(Injection.REDIS_DATA_LIMIT),
    Injection.K8S_API_THROTTLING: _answered(Injection.K8S_API_THROTTLING),
    Injection.K8S_API_RETRY_AFTER: _answered(Injection.K8S_API_RETRY_AFTER),
    Injection.K8S_API_CONFLICTS: _answered(Injection.K8S_API_CONFLICTS),
    Injection.REDIS_MEMORY_PRESSURE: _memory_pressure,
    Injection.REDIS_EVICTION: _eviction,
    Injection.REDIS_REFUSES_WRITES: _refuse_writes,
    Injection.TIME_SKEW: _skew_gateway,
    Injection.REDIS_TIME_SKEW: _skew_redis,
    Injection.GATEWAY_POD_RESTART: _restart,
    Injection.REDIS_GONE: _gone,
    Injection.REDIS_GARBAGE: _garbage,
}


def _quietly(act: Callable[[], None]) -> Callable[[], None]:
    """What ends when Redis does."""

    def run() -> None:
        try:
            act()
        except redis.RedisError:
            return

    return run


@contextmanager
def _client(stage: Stage) -> Iterator[Any]:
    with stage.master().client(timeout=30) as client:
        yield client


def _fill(client: Any, size: int, name: str) -> None:
    chunk = "x" * CHUNK
    for begin in range(0, size // CHUNK, 64):
        pipe = client.pipeline(transaction=False)
        for number in range(begin, min(begin + 64, size // CHUNK)):
            pipe.set(f"chaos:{name}:{number}", chunk)
        pipe.execute()


def _relieve(stage: Stage) -> None:
    with _client(stage) as client:
        for key in list(client.scan_iter(match="chaos:*", count=1000)):
            client.unlink(key)
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
