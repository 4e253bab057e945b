"""How Redis is and how it is configured, judged from what it tells. Nothing here asks, waits or stops anything.

The judgements stand apart from the asking, so that `gateway doctor` and a running gateway say the same of the same
server. What Redis is not allowed to tell is passed as an empty mapping, or as None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.resilience.diagnosis import Diagnosis, Grade

OLDEST: Final = (6, 2)
"""The first version whose scripts and commands do all that the gateway asks for."""
NEARLY_FULL: Final = 0.8
"""Share of the memory from which on Redis counts as nearly full."""
APART: Final = 1.0
"""Seconds that two clocks may differ."""

Fields = Mapping[str, str]
"""A section of INFO: name → value."""


def fields(info: bytes) -> dict[str, str]:
    """The fields in an answer to INFO."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon and not name.startswith("#")}


def unseen(check: str, where: str, reason: str) -> Diagnosis:
    """A check that could not be made, and why."""
    allow = "allow this user of Redis to ask, or look for yourself"
    return Diagnosis("redis", check, where, Grade.WARNING, f"cannot be seen: {reason}", allow, seen=False)


def version(server: Fields, where: str) -> Diagnosis:
    """Whether it is new enough; `server` is that section of INFO."""
    told = server.get("redis_version", "")
    numbers = re.match(r"(\d+)\.(\d+)", told)
    if numbers is None:
        return unseen("version", where, "it does not tell its version")
    if (int(numbers[1]), int(numbers[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return _wrong("version", where, f"{told} is older than {oldest}", f"upgrade it to {oldest} or later")
    return _ok("version", where, told)


def role(replication: Fields, where: str, *, failover: bool) -> Diagnosis:
    """Whether it is a master; `replication` is that section of INFO. `failover`: others are to take over from it."""
    told = replication.get("role")
    if told is None:
        return unseen("role", where, "it does not tell its role")
    if told != "master":
        return _wrong(
            "role",
            where,
            "it is a replica, and takes no writes: every alert goes to Kubernetes directly",
            "point redis.url at the master, or at the Sentinels (redis+sentinel://…), which know it",
        )
    replicas = _number(replication.get("connected_slaves")) or 0
    said = f"master, with {replicas} {'replica' if replicas == 1 else 'replicas'}"
    if failover and not replicas:
        return _warning("role", where, f"{said}: nobody can take over from it", "give it a replica")
    return _ok("role", where, said)


def eviction(memory: Fields, where: str) -> Diagnosis:
    """Whether it throws away alerts that wait; `memory` is that section of INFO.

    Every key of the gateway has a life, so `volatile-*` evicts exactly what `allkeys-*` does.
    """
    policy = memory.get("maxmemory_policy")
    if policy is None:
        return unseen("eviction", where, "it does not tell its maxmemory-policy")
    if policy == "noeviction":
        return _ok("eviction", where, policy)
    remedy = (
        "set maxmemory-policy to noeviction: a full Redis then refuses, and alerts go to Kubernetes directly"
    )
    if _number(memory.get("maxmemory")) == 0:
        found = f"maxmemory-policy is {policy}; it evicts nothing only because maxmemory is not set"
        return _warning("eviction", where, found, remedy)
    found = f"maxmemory-policy is {policy}: a full Redis throws away alerts that wait to be written"
    return _wrong("eviction", where, found, remedy)


def persistence(section: Fields, save: str | None, where: str) -> Diagnosis:
    """Whether it keeps its data over a restart; `section` is `persistence` of INFO, `save` the setting of that name,
    empty for no snapshots, None where it may not be asked for.
    """
    if "aof_enabled" not in section:
        return unseen("persistence", where, "it does not tell how it keeps its data")
    for key, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if section.get(key, "ok") != "ok" and (what == "snapshot" or section["aof_enabled"] == "1"):
            return _wrong(
                "persistence",
                where,
                f"its last write to its {what} failed; it may refuse all writes because of that (MISCONF)",
                "see its log, and whether its disk is full",
            )
    if section["aof_enabled"] == "1":
        return _ok("persistence", where, "append-only file")
    if save is None:
        return unseen("persistence", where, "no append-only file, and CONFIG GET does not tell of snapshots")
    if save:
        return _ok("persistence", where, f"snapshots ({save}): a crash loses what came after the last one")
    return _warning(
        "persistence",
        where,
        "neither appendonly nor save is set: a restart loses what is only in Redis, open windows among it",
        "set appendonly yes and appendfsync everysec",
    )


def memory(section: Fields, where: str) -> Diagnosis:
    """Whether there is room; `section` is `memory` of INFO."""
    used, most = _number(section.get("used_memory")), _number(section.get("maxmemory"))
    if used is None or most is None:
        return unseen("memory", where, "it does not tell how much memory it uses")
    machine = _number(section.get("total_system_memory")) or 0
    room = most or machine
    of = f"{_mib(used)} used of {_mib(most)}" if most else f"{_mib(used)} used, maxmemory is not set"
    more = "raise maxmemory, or see who else keeps data there"
    if most and used >= most:
        return _wrong("memory", where, f"{of}: it is full, and refuses new alerts", more)
    if room and used >= NEARLY_FULL * room:
        if not most:
            of += f", of {_mib(machine)} that the machine has"
        return _warning("memory", where, f"{of}: it is nearly full", more)
    return _ok("memory", where, of)


def clock(apart: float, unsure: float, where: str) -> Diagnosis:
    """How far its clock is ahead of this machine's, in seconds, which may be off by `unsure`."""
    if abs(apart) - unsure <= APART:
        return _ok("clock", where, f"agrees with this machine's (within {max(abs(apart), unsure):.3f} s)")
    direction = "ahead of" if apart > 0 else "behind"
    return _warning(
        "clock",
        where,
        f"{abs(apart):.1f} s {direction} this machine's: windows go by the one, times in requests by the other",
        "let NTP set both clocks",
    )


def _ok(check: str, where: str, found: str) -> Diagnosis:
    return Diagnosis("redis", check, where, Grade.OK, found)


def _warning(check: str, where: str, found: str, remedy: str) -> Diagnosis:
    return Diagnosis("redis", check, where, Grade.WARNING, found, remedy)


def _wrong(check: str, where: str, found: str, remedy: str) -> Diagnosis:
    return Diagnosis("redis", check, where, Grade.WRONG, found, remedy)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
