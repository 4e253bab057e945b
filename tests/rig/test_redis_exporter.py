"""The exporter of the rig tells of the Redis that it was given."""

from __future__ import annotations

import urllib.request

from chaos.rig.redis_server import RedisServer
from tests.rig.fixtures import StartRedisExporter


def test_it_tells_how_much_memory_a_redis_uses(
    start_redis_exporter: StartRedisExporter, redis_server: RedisServer
) -> None:
    exporter = start_redis_exporter(redis_server.url)
    with urllib.request.urlopen(f"{exporter.url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    (used,) = (line for line in lines if line.startswith("redis_memory_used_bytes "))
    assert float(used.split()[1]) > 100_000
