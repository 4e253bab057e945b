"""Faults on purpose: which calls are struck, how often, and that each ends by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from gateway.resilience.faults import MODES, Fault, FaultMode, FaultPoint, FaultPoints, FaultTarget


class Stage:
    """A point whose clock and chances the test decides."""

    def __init__(self, *chances: float) -> None:
        self.now = 100.0
        self.told: list[tuple[FaultTarget, FaultMode]] = []
        values = itertools.cycle(chances or (0.0,))
        self.point = FaultPoint(
            FaultTarget.REDIS,
            clock=lambda: self.now,
            struck=lambda target, mode: self.told.append((target, mode)),
            chance=lambda: next(values),
        )

    def inject(self, mode: FaultMode = FaultMode.TIMEOUT, pct: float = 100, delay: float = 0.0) -> None:
        self.point.inject(Fault(target=FaultTarget.REDIS, mode=mode, pct=pct, ttl=30, delay=delay, by="ops"))


def test_where_nothing_is_injected_no_call_is_struck() -> None:
    stage = Stage()
    assert stage.point.fault is None
    assert stage.point.strike() is None
    assert stage.point.active() is None
    assert stage.point.end() is None


def test_it_ends_by_itself_when_its_time_is_over() -> None:
    stage = Stage()
    stage.inject()
    stage.now += 29.9
    assert stage.point.strike() is not None
    stage.now += 0.1
    assert stage.point.strike() is None
    assert stage.point.fault is None
    assert stage.told == [(FaultTarget.REDIS, FaultMode.TIMEOUT)]


def test_it_says_how_long_it_has_left_and_what_it_met() -> None:
    stage = Stage(0.2, 0.9, 0.8)  # struck, performed or not; then not struck
    stage.inject(pct=50)
    stage.now += 10
    assert stage.point.strike() is not None
    assert stage.point.strike() is None
    active = stage.point.active()
    assert active is not None
    assert (active.remaining, active.calls, active.struck) == (20, 2, 1)
    assert active.fault.by == "ops"
    assert stage.point.end() == active
    assert stage.point.active() is None


def test_the_next_one_takes_the_place_of_the_last_and_begins_to_count_anew() -> None:
    stage = Stage()
    stage.inject()
    assert stage.point.strike() is not None
    stage.now += 20
    stage.inject(FaultMode.ERROR)
    active = stage.point.active()
    assert active is not None
    assert (active.fault.mode, active.remaining, active.calls, active.struck) == (FaultMode.ERROR, 30, 0, 0)


def test_a_call_that_cannot_meet_the_mode_is_spared_and_not_counted_as_struck() -> None:
    stage = Stage()
    stage.inject(FaultMode.OOM)
    assert stage.point.strike(frozenset({FaultMode.OOM})) is None
    assert stage.point.strike() is not None
    assert stage.told == [(FaultTarget.REDIS, FaultMode.OOM)]


@pytest.mark.parametrize("pct", [1, 30, 99])
def test_as_many_calls_are_struck_as_asked_for_and_half_of_them_performed(pct: int) -> None:
    calls = 20_000
    point = FaultPoint(FaultTarget.KUBERNETES, clock=lambda: 0.0, struck=lambda *_: None)
    point.inject(Fault(target=FaultTarget.KUBERNETES, mode=FaultMode.TIMEOUT, pct=pct, ttl=1))
    blows = [blow for blow in (point.strike() for _ in range(calls)) if blow is not None]
    assert abs(len(blows) - calls * pct / 100) < calls / 50
    assert abs(sum(blow.performed for blow in blows) - len(blows) / 2) < calls / 50


@pytest.mark.parametrize(
    ("mode", "right"), [(FaultMode.LATENCY, lambda d: d == 2), (FaultMode.JITTER, lambda d: 0 <= d < 2)]
)
def test_latency_is_the_delay_and_jitter_up_to_it(mode: FaultMode, right: Callable[[float], bool]) -> None:
    point = FaultPoint(FaultTarget.WEBHOOK, clock=lambda: 0.0, struck=lambda *_: None)
    point.inject(Fault(target=FaultTarget.WEBHOOK, mode=mode, pct=100, ttl=1, delay=2))
    delays = [blow.delay for blow in (point.strike() for _ in range(50)) if blow is not None]
    assert len(delays) == 50
    assert all(right(delay) for delay in delays)


def test_warnings_name_that_faults_are_possible_and_each_one_that_acts() -> None:
    points = FaultPoints(clock=lambda: 0.0, struck=lambda *_: None)
    assert points.warnings() == ["chaos.enabled: faults can be injected here"]
    points.points[FaultTarget.WEBHOOK].inject(
        Fault(target=FaultTarget.WEBHOOK, mode=FaultMode.ERROR, pct=12.5, ttl=90)
    )
    told = "a fault is injected: webhook error, 12.5 % of the calls, for another 90 s"
    assert points.warnings()[1:] == [told]
    assert [one.fault.target for one in points.active()] == [FaultTarget.WEBHOOK]


def test_every_target_has_modes() -> None:
    assert set(MODES) == set(FaultTarget)
    assert {mode for modes in MODES.values() for mode in modes} == set(FaultMode)
