"""What is judged of a Redis, from what it tells."""

from __future__ import annotations

import pytest

from gateway.resilience.diagnosis import Diagnosis, Grade
from gateway.state import examining

HERE = "redis:6379"
OK, WARNING, WRONG = Grade.OK, Grade.WARNING, Grade.WRONG


def judged(one: Diagnosis) -> tuple[Grade, bool]:
    """The grade and whether anything was seen; whatever is not well says what to do."""
    assert one.part == "redis"
    assert one.where == HERE
    assert one.found
    assert bool(one.remedy) is (one.grade is not OK)
    return one.grade, one.seen


def test_the_fields_of_info_are_read_whatever_else_is_there() -> None:
    told = b"# Memory\r\nused_memory:12\r\n\r\nexecutable:/a:b\r\nbad\xff:1\r\nnonsense\r\n"
    fields = examining.fields(told)
    assert fields["used_memory"] == "12"
    assert fields["executable"] == "/a:b"
    assert "nonsense" not in fields


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"redis_version": "6.2.0"}, (OK, True)),
        ({"redis_version": "7.0.15"}, (OK, True)),
        ({"redis_version": "10.0.1"}, (OK, True)),
        ({"redis_version": "6.0.16"}, (WRONG, True)),
        ({"redis_version": "5.0.7"}, (WRONG, True)),
        ({"redis_version": "unstable"}, (WARNING, False)),
        ({}, (WARNING, False)),
    ],
)
def test_a_version_before_6_2_is_wrong(told: dict[str, str], expected: tuple[Grade, bool]) -> None:
    assert judged(examining.version(told, HERE)) == expected


@pytest.mark.parametrize(
    ("told", "failover", "expected"),
    [
        ({"role": "master", "connected_slaves": "0"}, False, (OK, True)),
        ({"role": "master", "connected_slaves": "0"}, True, (WARNING, True)),
        ({"role": "master", "connected_slaves": "2"}, True, (OK, True)),
        ({"role": "slave", "connected_slaves": "0"}, False, (WRONG, True)),
        ({}, False, (WARNING, False)),
    ],
)
def test_a_replica_is_wrong_and_a_master_that_nobody_can_replace_is_a_warning(
    told: dict[str, str], failover: bool, expected: tuple[Grade, bool]
) -> None:
    assert judged(examining.role(told, HERE, failover=failover)) == expected


@pytest.mark.parametrize(
    ("policy", "maxmemory", "expected"),
    [
        ("noeviction", "1000", OK),
        ("noeviction", "0", OK),
        ("allkeys-lru", "1000", WRONG),
        ("volatile-ttl", "1000", WRONG),
        ("allkeys-lru", "0", WARNING),
    ],
)
def test_a_policy_that_evicts_is_wrong_as_soon_as_there_is_a_limit(
    policy: str, maxmemory: str, expected: Grade
) -> None:
    told = {"maxmemory_policy": policy, "maxmemory": maxmemory}
    assert judged(examining.eviction(told, HERE)) == (expected, True)


def test_a_policy_that_is_not_told_is_a_warning() -> None:
    assert judged(examining.eviction({}, HERE)) == (WARNING, False)


@pytest.mark.parametrize(
    ("told", "save", "expected"),
    [
        ({"aof_enabled": "1"}, "", (OK, True)),
        ({"aof_enabled": "1"}, None, (OK, True)),
        ({"aof_enabled": "0"}, "3600 1", (OK, True)),
        ({"aof_enabled": "0"}, "", (WARNING, True)),
        ({"aof_enabled": "0"}, None, (WARNING, False)),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, "", (WRONG, True)),
        ({"aof_enabled": "0", "aof_last_write_status": "err"}, "3600 1", (OK, True)),
        ({"aof_enabled": "0", "rdb_last_bgsave_status": "err"}, "3600 1", (WRONG, True)),
        ({}, None, (WARNING, False)),
    ],
)
def test_data_that_a_restart_loses_are_a_warning_and_a_disk_that_fails_is_wrong(
    told: dict[str, str], save: str | None, expected: tuple[Grade, bool]
) -> None:
    assert judged(examining.persistence(told, save, HERE)) == expected


@pytest.mark.parametrize(
    ("used", "maxmemory", "machine", "expected"),
    [
        ("79", "100", "1000", OK),
        ("80", "100", "1000", WARNING),
        ("100", "100", "1000", WRONG),
        ("799", "0", "1000", OK),
        ("800", "0", "1000", WARNING),
        ("800", "0", "0", OK),
    ],
)
def test_memory_is_compared_with_its_limit_else_with_the_machines(
    used: str, maxmemory: str, machine: str, expected: Grade
) -> None:
    told = {"used_memory": used, "maxmemory": maxmemory, "total_system_memory": machine}
    assert judged(examining.memory(told, HERE)) == (expected, True)


def test_memory_that_is_not_told_is_a_warning() -> None:
    assert judged(examining.memory({"used_memory": "much"}, HERE)) == (WARNING, False)


@pytest.mark.parametrize(
    ("apart", "unsure", "expected"),
    [(0.2, 0.0, OK), (-0.9, 0.0, OK), (1.4, 0.5, OK), (1.6, 0.5, WARNING), (-3600.0, 0.001, WARNING)],
)
def test_clocks_that_differ_by_more_than_can_be_measured_are_a_warning(
    apart: float, unsure: float, expected: Grade
) -> None:
    assert judged(examining.clock(apart, unsure, HERE)) == (expected, True)
