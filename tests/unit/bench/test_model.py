"""The model of many replicas adds costs up as it says, and finds what breaks first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.model import MEASURED, USABLE, Costs, Limits, Load, Need, breaks_first, needs

FREE = Costs(**dict.fromkeys(Costs.__dataclass_fields__, 0.0))
LOAD = Load(duplicates=1000, new=10, counts=50, open=600)


def value(what: str, costs: Costs, load: Load = LOAD, replicas: int = 10, **limits: float) -> float:
    (found,) = [one.value for one in needs(costs, load, replicas, Limits(**limits)) if one.what == what]
    return found


def test_a_replica_has_its_share_of_the_alerts_and_all_events() -> None:
    assert value("core of a replica", replace(FREE, gateway_duplicate=100)) == pytest.approx(0.01)
    assert value("core of a replica", replace(FREE, gateway_new=1000)) == pytest.approx(0.001)
    assert value("core of a replica", replace(FREE, gateway_event=30)) == pytest.approx(60 * 30e-6)
    assert value("core of a replica", replace(FREE, idle_gateway=500)) == pytest.approx(500e-6)


def test_redis_has_all_alerts_and_what_idle_replicas_ask() -> None:
    assert value("Redis masters", FREE) == 0
    assert value("Redis masters", replace(FREE, redis_duplicate=699)) == 1
    assert value("Redis masters", replace(FREE, redis_duplicate=1500)) == 3
    assert value("Redis masters", replace(FREE, idle_redis=80_000)) == 2
    assert value("connections of a master", FREE, pool=8) == 80


def test_each_write_is_an_event_for_each_replica() -> None:
    assert value("API server and etcd", replace(FREE, api_write=1000)) == pytest.approx(0.06)
    assert value("API server and etcd", replace(FREE, api_event=20)) == pytest.approx(600 * 20e-6)
    assert value("watch events on the wire", replace(FREE, event=4000)) == pytest.approx(2.4e6)
    twice = value("watch events on the wire", replace(FREE, event=4000), replicas=20)
    assert twice == pytest.approx(4.8e6)


def test_the_index_has_all_that_is_open_with_a_mark_of_each_process_that_counted_on_it() -> None:
    costs = replace(FREE, entry=700, mark=20)
    assert value("index of a replica", costs) == 600 * (700 + 2 * 20)
    assert value("index of a replica", costs, replicas=1) == 600 * (700 + 20)
    assert value("index of a replica, if requests are spread", costs) == 600 * (700 + 10 * 20)
    assert value("index of a replica, if requests are spread", costs, replicas=1000) == 600 * (700 + 600 * 20)


def test_all_that_start_at_once_list_everything_on_the_servers_cores() -> None:
    costs = replace(FREE, api_listed=100)
    assert value("API server, all replicas starting at once", costs, api_cores=2) == pytest.approx(0.3)


def test_what_is_nearest_to_its_limit_breaks_first() -> None:
    near, far = Need("near", 9.0, 10.0, ""), Need("far", 1.0, 10.0, "")
    assert breaks_first([far, near]) is near
    assert far.used == pytest.approx(0.1)


def test_requests_take_turns_at_being_counted_on_until_some_would_wait_too_long() -> None:
    assert [Load.of(replicas).counts for replicas in (1, 5, 10, 100)] == [50, 50, 100, 1000]


def test_twice_the_replicas_have_twice_the_alerts_and_four_times_the_events() -> None:
    one, two = Load.of(100), Load.of(200)
    assert two.duplicates == 2 * one.duplicates
    assert two.open == 2 * one.open
    events = [value("watch events on the wire", MEASURED, Load.of(many), many) for many in (1000, 2000)]
    assert events[1] / events[0] == pytest.approx(4, rel=0.05)


def test_a_replica_of_the_modelled_load_is_far_from_the_end_of_its_core() -> None:
    found = needs(MEASURED, Load.of(10), 10)
    assert found[0].what == "core of a replica"
    assert found[0].value < USABLE
