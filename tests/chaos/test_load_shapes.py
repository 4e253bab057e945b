"""What the campaigns send: how many, when, and how scaling changes it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chaos.load.shapes import ALL, BY_NAME, Baseline, BigDay, ChaosWindow, Phase, Shape, Soak, Spike


@pytest.mark.parametrize(
    ("name", "seconds", "rates"),
    [
        ("baseline", 600, {0: 0, 300: 25, 599.999: 50}),
        ("spike", 150, {0: 0, 15: 75, 30: 150, 149: 150}),
        ("soak", 7200, {0: 15, 7199: 15}),
        ("chaos-window", 360, {0: 20, 359: 20}),
        ("dedup", 300, {0: 30, 299: 30}),
        (
            "big-day",
            2400,
            {480: 60, 1079: 60, 1140: 120, 1259: 120, 1320: 60, 1800: 80, 2100: 60, 2399.99: 0},
        ),
    ],
)
def test_each_campaign_has_the_rates_that_it_is_named_for(
    name: str, seconds: float, rates: dict[float, float]
) -> None:
    shape = BY_NAME[name]()

    assert shape.seconds == pytest.approx(seconds)
    assert {at: pytest.approx(shape.rate(at), abs=0.02) for at in rates} == rates
    assert (shape.rate(-1), shape.rate(seconds)) == (0, 0)


def _sent(shape: Shape, since: float, until: float) -> int:
    return sum(since <= at < until for at in shape.due())


@pytest.mark.parametrize("shape", [Baseline(), Spike(), ChaosWindow(), BigDay(), BigDay(0.02)])
def test_webhooks_are_due_in_order_and_as_many_as_the_rates_add_up_to(shape: Shape) -> None:
    due = list(shape.due())

    assert len(due) == shape.webhooks
    assert all(one < other for one, other in pairwise(due))
    assert due[0] >= 0
    assert due[-1] <= shape.seconds


def test_in_every_second_as_many_are_due_as_the_rate_says() -> None:
    spike = Spike()

    assert _sent(spike, 0, 10) == pytest.approx(250, abs=1)  # a third of the ramp
    assert [_sent(spike, second, second + 1) for second in range(40, 150, 10)] == [150] * 11


@pytest.mark.parametrize("kind", ALL)
def test_scaling_shortens_times_and_leaves_rates(kind: type[Shape]) -> None:
    whole, small = kind(), kind(scale=0.02)

    assert small.seconds < 0.1 * whole.seconds
    assert small.highest(0, small.seconds) == pytest.approx(whole.highest(0, whole.seconds))
    assert [phase.name for phase in small.phases] == [phase.name for phase in whole.phases]
    assert all(phase.seconds >= 2 for phase in small.phases)


def test_a_soak_may_last_otherwise() -> None:
    assert Soak(duration=1800).seconds == pytest.approx(1800)
    assert Soak(scale=0.1, duration=1800).seconds == pytest.approx(180)
    assert Soak(duration=1800).rate(1700) == 15


def test_the_faults_of_the_chaos_window_fill_it_and_once_both_dependencies_are_down() -> None:
    for shape in (ChaosWindow(), ChaosWindow(0.02)):
        assert sum(spell.seconds for spell in shape.spells) == pytest.approx(shape.seconds)
    both = next(spell for spell in ChaosWindow().spells if spell.name == "both-down")
    assert {(one["target"], one["pct"]) for one in both.faults} == {("redis", 100), ("kubernetes", 100)}


def test_the_highest_rate_of_a_time_is_that_of_its_peak_within() -> None:
    day = BigDay()

    assert day.highest(1000, 1300) == 120
    assert day.highest(0, 240) == pytest.approx(30)


def test_a_rate_that_falls_to_nothing_is_reached_to_its_last_webhook() -> None:
    evening = Phase("evening", 300, 60, 0)

    assert evening.reached(evening.webhooks) == pytest.approx(300)


def test_what_fills_a_soak_peaks_when_it_begins_to_be_judged() -> None:
    """Of a hundred webhooks, 40 new alerts, 5 denied ones and ten storms of ten."""
    assert Soak(duration=2000.0).filled_by == pytest.approx(0.9 * 500 * 15 * 1.45, rel=0.01)
    assert Spike().filled_by == 0
