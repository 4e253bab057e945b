"""What grows is told from what only moves: leaks of a stated size are caught, and noise is not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.load.proof.growth import ALLOWED
from chaos.load.proof.slopes import FEWEST, mann_kendall, stretches, theil_sen, trend

LEVEL = 100e6
numbers = st.lists(st.integers(-1000, 1000).map(float), min_size=FEWEST, max_size=40)


def memory(
    *, leak: float, seed: int, minutes: int = 25, noise: float = 0.01, sluggish: float = 0.9
) -> list[tuple[float, float]]:
    """A sample a second of a level that leaks a share an hour, under a saw-tooth and noise that remembers itself."""
    draws, drift, found = random.Random(seed), 0.0, []
    for second in range(minutes * 60):
        drift = sluggish * drift + draws.gauss(0, noise * (1 - sluggish**2) ** 0.5)
        saw = 0.02 * ((second + seed * 17) % 97) / 97
        found.append((float(second), LEVEL * (1 + leak * second / 3600 + saw + drift)))
    return found


def judged(points: Sequence[tuple[float, float]]) -> bool:
    """Whether that much growth misses the target."""
    found = trend(points)
    assert found is not None
    return found.grows(ALLOWED * found.level)


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_a_tenth_an_hour_is_caught_within_25_minutes(seed: int) -> None:
    points = memory(leak=0.10, seed=seed)
    found = trend(points)

    assert judged(points)
    assert found is not None
    assert found.share == pytest.approx(0.10, abs=0.04)


@pytest.mark.parametrize("seed", range(20))
def test_noise_and_saw_teeth_are_no_leak(seed: int) -> None:
    assert not judged(memory(leak=0.0, seed=seed))
    assert not judged(memory(leak=0.0, seed=seed, noise=0.02))
    assert not judged(memory(leak=-0.2, seed=seed))


def test_a_leak_of_one_connection_a_minute_is_caught_though_each_sample_is_a_whole_number() -> None:
    draws = random.Random(3)
    leaking = [(float(at), float(40 + at // 60 + draws.choice((-1, 0, 0, 1)))) for at in range(1500)]
    steady = [(float(at), float(40 + draws.choice((-2, -1, 0, 0, 1, 2)))) for at in range(1500)]

    assert judged(leaking)
    assert not judged(steady)


def test_a_few_wild_samples_change_nothing() -> None:
    calm = [(float(at), LEVEL) for at in range(1500)]
    wild = [(at, value * (3 if at > 1300 and at % 5 == 0 else 1)) for at, value in calm]

    assert trend(wild) is not None
    assert not judged(wild)


@given(
    st.floats(-50, 50),
    st.floats(-1e3, 1e3),
    st.lists(st.integers(0, 10_000), min_size=2, max_size=40, unique=True),
)
def test_the_slope_of_a_straight_line_is_its_own(slope: float, start: float, times: list[int]) -> None:
    assert theil_sen([(at, start + slope * at) for at in sorted(times)]) == pytest.approx(slope, abs=1e-6)


@given(numbers)
def test_what_rises_backwards_falls(values: list[float]) -> None:
    points = [(float(at), value) for at, value in enumerate(values)]
    mirrored = [(at, -value) for at, value in points]

    assert theil_sen(mirrored) == pytest.approx(-theil_sen(points))


@given(numbers, st.floats(0.1, 10), st.integers(-100, 100))
def test_the_test_looks_at_order_alone(values: list[float], factor: float, offset: int) -> None:
    assert mann_kendall([factor * value + offset for value in values]) == pytest.approx(mann_kendall(values))


@pytest.mark.parametrize(
    ("values", "chance"),
    [
        # By hand: 45 pairs rise, the variance is 10 * 9 * 25 / 18 = 125, and 44 / 11.18 are 3.935 of its roots.
        (list(range(10)), 4.15e-05),
        ([5.0] * 10, 1.0),
        (list(range(10, 0, -1)), 1 - 4.15e-05),
        ([1, 2, 2, 1], 0.5),
    ],
    ids=["rises", "stays", "falls", "ties"],
)
def test_the_chance_is_that_of_mann_and_kendall(values: list[float], chance: float) -> None:
    assert mann_kendall(values) == pytest.approx(chance, rel=0.01)


def test_what_only_rises_by_accident_is_called_rising_about_as_seldom_as_is_said() -> None:
    draws = random.Random(11)
    called = sum(mann_kendall([draws.random() for _ in range(60)]) < 0.05 for _ in range(400))

    assert called / 400 == pytest.approx(0.05, abs=0.03)


def test_too_little_says_nothing() -> None:
    assert trend([]) is None
    assert trend([(float(at), 1.0) for at in range(FEWEST - 1)]) is None


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e6, 1e6)), max_size=200))
def test_stretches_are_in_order_and_within_what_was_seen(points: list[tuple[float, float]]) -> None:
    found = stretches(sorted(points), 10)

    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert len(found) <= 10
    values = [value for _, value in points]
    assert all(min(values) <= value <= max(values) for _, value in found)
