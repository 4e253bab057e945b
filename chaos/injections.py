"""The names of what can be done to the gateway's world. A scenario says which; a way of injecting does it.

Where the cluster way applies a manifest, it is the file of that name in `manifests/`.
"""

from __future__ import annotations

from enum import StrEnum


class Injection(StrEnum):
    """One kind of failure."""

    REDIS_MASTER_FAILURE = "redis-master-failure"
    """The master is killed, and comes back at the end."""
    REDIS_NETWORK_PARTITION = "redis-network-partition"
    """Nothing passes between the gateways and Redis, and nothing is refused."""
    REDIS_LATENCY = "redis-latency"
    """Answers of Redis are 500 ± 100 ms late."""
    REDIS_RESETS = "redis-resets"
    """30 % of the connections to Redis are reset."""
    REDIS_SLOW_CLOSE = "redis-slow-close"
    """Connections to Redis end late, and after some bytes."""
    REDIS_DATA_LIMIT = "redis-data-limit"
    """Connections to Redis are cut after some bytes."""
    K8S_API_THROTTLING = "k8s-api-throttling"
    """Every write of requests is answered 429."""
    K8S_API_RETRY_AFTER = "k8s-api-retry-after"
    """The same, with `Retry-After: 10`."""
    K8S_API_CONFLICTS = "k8s-api-conflicts"
    """The next three updates of requests are answered 409."""
    REDIS_MEMORY_PRESSURE = "redis-memory-pressure"
    """Others fill most of Redis's memory."""
    REDIS_EVICTION = "redis-eviction"
    """Others write more than Redis may hold: keys are evicted."""
    REDIS_REFUSES_WRITES = "redis-refuses-writes"
    """Redis is full, and may evict nothing."""
    TIME_SKEW = "time-skew"
    """The clock of one gateway is 65 s ahead."""
    REDIS_TIME_SKEW = "redis-time-skew"
    """The clock of Redis is 65 s ahead."""
    GATEWAY_POD_RESTART = "gateway-pod-restart"
    """One gateway is killed, and started again."""
    REDIS_GONE = "redis-gone"
    """Nobody listens where Redis was."""
    REDIS_GARBAGE = "redis-garbage"
    """Keys of the gateway are overwritten with values of other types."""
