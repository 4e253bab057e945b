"""What each injection is in a cluster: a manifest to apply, sidecars to tell, commands for Redis."""

from __future__ import annotations

import json
from typing import Any

from chaos import rules
from chaos.cluster.settings import Place
from chaos.injections import Injection
from chaos.kubernetes import KubectlFailed, Kubernetes

GATEWAYS = "app.kubernetes.io/name=gateway"
REDIS = "app.kubernetes.io/name=redis"
CONTROL = "http://127.0.0.1:16444/rules"
"""Of the fault proxy, within its pod."""
_TELL = (
    "import sys, urllib.request as u; "
    "u.urlopen(u.Request(sys.argv[1], sys.argv[3].encode() or None, method=sys.argv[2]))"
)
_CHUNK = 65_536
_FILL = (
    "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do "
    f"redis.call('SET', 'chaos:' .. ARGV[3] .. ':' .. i, string.rep('x', {_CHUNK})) end"
)
_EMPTY = "for _, k in ipairs(redis.call('KEYS', 'chaos:*')) do redis.call('UNLINK', k) end"
_BATCH = 400
"""Keys that one script writes: 25 MB, for which Redis does nothing else meanwhile."""
MEGABYTE = 1024 * 1024


class Acts:
    """Does and undoes them."""

    def __init__(self, kubernetes: Kubernetes, place: Place) -> None:
        self._kubernetes = kubernetes
        self._place = place
        self._before: dict[Injection, dict[str, str]] = {}
        """Directives of Redis as they were before each injection that changed them."""

    async def cannot(self, injection: Injection) -> str:
        """Why it cannot be done here; empty where it can."""
        manifest = rules.manifest(injection)
        sidecars = rules.fault_rules(injection) or rules.toxics(injection)
        try:
            if manifest is not None:
                await self._kubernetes.kubectl("get", "crd", "schedules.chaos-mesh.org")
            if sidecars:
                await self._pods(GATEWAYS)
            elif manifest is None or injection is Injection.REDIS_MEMORY_PRESSURE:
                await self._pods(REDIS)
        except KubectlFailed as error:
            return f"{injection} cannot be done here: {error}"
        return ""

    async def begin(self, injection: Injection) -> None:
        """Raises `KubectlFailed`."""
        if manifest := rules.manifest(injection):
            await self._kubernetes.kubectl("apply", "-f", str(manifest))
        if found := rules.fault_rules(injection):
            await self._tell_fault_proxies("PUT", json.dumps(found))
        for number, toxic in enumerate(rules.toxics(injection) or ()):
            await self._add_toxic(f"chaos-{number}", toxic)
        match injection:
            case Injection.REDIS_MEMORY_PRESSURE:
                await self._set(injection, "maxmemory-policy", "allkeys-lru")
                await self._set(injection, "maxmemory", str(512 * MEGABYTE))
                await self._fill(400 * MEGABYTE, "pressure")
            case Injection.REDIS_EVICTION:
                await self._fill(768 * MEGABYTE, "flood")
            case Injection.REDIS_REFUSES_WRITES:
                await self._set(injection, "maxmemory-policy", "noeviction")
                await self._set(injection, "maxmemory", "1")
            case Injection.REDIS_GARBAGE:
                await self._spoil()

    async def end(self, injection: Injection) -> None:
        """Raises `KubectlFailed`."""
        if manifest := rules.manifest(injection):
            await self._kubernetes.kubectl("delete", "--ignore-not-found", "-f", str(manifest))
        if rules.fault_rules(injection):
            await self._tell_fault_proxies("DELETE", "")
        for number, _ in enumerate(rules.toxics(injection) or ()):
            await self._toxic("remove", "--toxicName", f"chaos-{number}")
        if injection is Injection.REDIS_MEMORY_PRESSURE:
            # What was written to fill it goes; whatever else is there stays.
            await self.redis("EVAL", _EMPTY, "0")
        for name, value in self._before.pop(injection, {}).items():
            await self.redis("CONFIG", "SET", name, value)

    async def redis(self, *command: str) -> str:
        """What redis-cli prints in the pod that takes writes. Raises `KubectlFailed`."""
        pods = await self._pods(f"{REDIS},redis-role=master", REDIS)
        return await self._within(pods[0], "redis", "redis-cli", *command)

    async def _set(self, injection: Injection, name: str, value: str) -> None:
        told = (await self.redis("CONFIG", "GET", name)).splitlines()
        if len(told) > 1:
            self._before.setdefault(injection, {})[name] = told[1]
        await self.redis("CONFIG", "SET", name, value)

    async def _fill(self, size: int, name: str) -> None:
        for first in range(0, size // _CHUNK, _BATCH):
            last = min(first + _BATCH, size // _CHUNK) - 1
            await self.redis("EVAL", _FILL, "0", str(first), str(last), name)

    async def _spoil(self) -> None:
        for key in (await self.redis("KEYS", "gw:*")).split()[:20]:
            await self.redis("DEL", key)
            await self.redis("RPUSH", key, "garbage")

    async def _tell_fault_proxies(self, method: str, body: str) -> None:
        for pod in await self._pods(GATEWAYS):
            await self._within(pod, "fault-proxy", "python", "-c", _TELL, CONTROL, method, body)

    async def _add_toxic(self, name: str, toxic: dict[str, Any]) -> None:
        words = ["--type", toxic["type"], f"--{toxic['stream']}", "--toxicity", str(toxic["toxicity"])]
        for key, value in toxic["attributes"].items():
            words += ["--attribute", f"{key}={value}"]
        await self._toxic("add", "--toxicName", name, *words)

    async def _toxic(self, verb: str, *words: str) -> None:
        for pod in await self._pods(GATEWAYS):
            await self._within(pod, "toxiproxy", "/toxiproxy-cli", "toxic", verb, *words, "redis")

    async def _within(self, pod: str, container: str, *command: str) -> str:
        where = ("-n", self._place.namespace, pod, "-c", container)
        return await self._kubernetes.kubectl("exec", *where, "--", *command)

    async def _pods(self, *selectors: str) -> list[str]:
        """The pods of the first selector that has some. Raises `KubectlFailed`."""
        for selector in selectors:
            told = await self._kubernetes.kubectl(
                "get", "pods", "-n", self._place.namespace, "-l", selector, "-o", "name"
            )
            if told.split():
                return told.split()
        raise KubectlFailed(f"no pod with {' or '.join(selectors)} in namespace {self._place.namespace}")
