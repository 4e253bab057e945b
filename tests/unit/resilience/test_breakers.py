"""A breaker opens at what its policy says, fails fast, closes after its proofs, and never asks the time of day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiobreaker.circuitbreaker
import aiobreaker.state
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.settings import KubernetesBreaker, RedisBreaker
from gateway.resilience.breakers import Breaker, Outcome, Policy, State
from gateway.resilience.policies import kubernetes_policy, redis_policy
from gateway.resilience.sliding import PIECES, SlidingWindow

REDIS = redis_policy(RedisBreaker())
KUBERNETES = kubernetes_policy(KubernetesBreaker())


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Witness:
    def __init__(self) -> None:
        self.changes: list[tuple[State, State]] = []
        self.refusals = 0
        self.seen: list[State] = []

    def changed(self, breaker: Breaker, old: State, new: State) -> None:
        self.changes.append((old, new))
        self.seen.append(breaker.state)

    def refused(self, breaker: Breaker) -> None:
        self.refusals += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def feed(breaker: Breaker, outcomes: str, *, clock: Clock | None = None, every: float = 0.0) -> None:
    """`.` is a success, `x` a failure, `t` a throttled call, `r` a read that passed."""
    words = {".": Outcome.SUCCESS, "x": Outcome.FAILURE, "t": Outcome.THROTTLED, "r": Outcome.ANSWERED}
    for letter in outcomes:
        if clock is not None:
            clock.now += every
        breaker.record(words[letter], "it is broken" if letter in "xt" else "")


def prove(breaker: Breaker, outcome: Outcome = Outcome.SUCCESS) -> None:
    with breaker.probing() as probe:
        probe.outcome, probe.reason = outcome, "still broken"


@pytest.mark.parametrize(
    ("policy", "calls"),
    [
        (REDIS, "xx..x"),
        (REDIS, "." * 57 + "xxx"),
        (KUBERNETES, "..xxx"),
        (KUBERNETES, "t" * 10),
        (KUBERNETES, "." * 1000 + "t" * 10),
        (KUBERNETES, "trtrtrtrtrtrtrtrtrt"),
    ],
)
def test_it_opens_with_the_last_of_these_calls_and_not_before(
    policy: Policy, calls: str, clock: Clock
) -> None:
    breaker = Breaker("some", policy, clock=clock)
    feed(breaker, calls[:-1])
    assert breaker.closed
    assert breaker.allow()
    feed(breaker, calls[-1])
    assert breaker.state is State.OPEN
    assert not breaker.allow()
    assert breaker.reason == "it is broken"


@pytest.mark.parametrize(
    ("policy", "calls"),
    [
        (REDIS, "xx.." + "." * 50),
        (REDIS, "." * 58 + "xxx"),
        (REDIS, "t" * 100),
        (KUBERNETES, "xxxx"),
        (KUBERNETES, "t" * 9 + "." + "t" * 9),
        (KUBERNETES, "....xx.x.x....x"),
    ],
)
def test_it_stays_closed_over_these_calls(policy: Policy, calls: str, clock: Clock) -> None:
    breaker = Breaker("some", policy, clock=clock)
    feed(breaker, calls)
    assert breaker.closed


def test_failures_that_are_older_than_the_window_do_not_count(clock: Clock) -> None:
    breaker = Breaker("some", REDIS, clock=clock)
    feed(breaker, "xx.......")
    clock.now += REDIS.window
    feed(breaker, "xx.......")
    assert breaker.closed


@pytest.mark.parametrize("calls_before", [0, 5, 100_000])
def test_a_dead_redis_is_noticed_within_three_seconds_however_busy_it_was(
    calls_before: int, clock: Clock
) -> None:
    breaker = Breaker("redis", REDIS, clock=clock)
    feed(breaker, "." * calls_before)
    died = clock.now
    while breaker.closed:  # a claim and a ping every half second, each of which waits for its time-out
        feed(breaker, "x", clock=clock, every=0.26)
        assert clock.now - died <= 3.0
    assert breaker.state is State.OPEN


def test_while_it_is_open_nothing_is_allowed_and_nothing_that_ends_late_matters(clock: Clock) -> None:
    witness = Witness()
    breaker = Breaker("some", KUBERNETES, clock=clock, listeners=[witness])
    feed(breaker, "t" * 10)
    feed(breaker, "." * 100)
    clock.now += 1000
    assert [breaker.allow() for _ in range(3)] == [False] * 3
    assert witness.refusals == 3
    assert witness.changes == [(State.CLOSED, State.OPEN)]


def test_a_probe_is_due_after_its_time_and_after_each_that_failed(clock: Clock) -> None:
    breaker = Breaker("some", KUBERNETES, clock=clock)
    feed(breaker, "t" * 10)
    assert breaker.retry_after() == 5.0
    clock.now += 4
    assert breaker.retry_after() == 1.0
    clock.now += 10
    assert breaker.retry_after() == 0.0
    prove(breaker, Outcome.FAILURE)
    assert breaker.state is State.OPEN
    assert breaker.retry_after() == 5.0
    assert breaker.reason == "still broken"
    prove(breaker, Outcome.THROTTLED)
    assert breaker.retry_after() == 7.5


def test_it_closes_after_its_proofs_in_a_row_and_starts_over(clock: Clock) -> None:
    witness = Witness()
    breaker = Breaker("some", REDIS, clock=clock, listeners=[witness])
    feed(breaker, "x" * 5)
    opened = clock.now
    clock.now += 2
    prove(breaker)
    prove(breaker)
    prove(breaker, Outcome.FAILURE)
    prove(breaker)
    prove(breaker)
    assert breaker.state is State.HALF_OPEN
    assert not breaker.allow()
    assert breaker.retry_after() == pytest.approx(REDIS.proof_pause)
    prove(breaker)
    assert breaker.closed
    assert breaker.opened_at == opened
    assert breaker.retry_after() == 0.0
    feed(breaker, "xx..")
    assert breaker.closed
    assert witness.changes == [
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
    ]
    assert witness.seen == [new for _, new in witness.changes]


def test_a_probe_that_raises_or_says_nothing_has_failed(clock: Clock) -> None:
    breaker = Breaker("some", KUBERNETES, clock=clock)
    feed(breaker, "t" * 10)
    with pytest.raises(RuntimeError), breaker.probing():
        raise RuntimeError
    assert breaker.state is State.OPEN
    with breaker.probing():
        pass
    assert breaker.state is State.OPEN


def test_a_closed_breaker_is_not_half_opened_by_a_probe(clock: Clock) -> None:
    breaker = Breaker("some", KUBERNETES, clock=clock)
    prove(breaker, Outcome.FAILURE)
    assert breaker.closed


def test_it_is_healthy_only_once_something_was_answered(clock: Clock) -> None:
    breaker = Breaker("some", KUBERNETES, clock=clock)
    assert breaker.closed
    assert not breaker.healthy
    feed(breaker, "r")
    assert breaker.healthy
    feed(breaker, "xxxxx")
    assert not breaker.healthy


def test_whoever_asks_to_be_told_is_told_after_the_change(clock: Clock) -> None:
    breaker = Breaker("some", KUBERNETES, clock=clock)
    told: list[tuple[State, State, bool]] = []
    breaker.on_change(lambda old, new: told.append((old, new, breaker.state is new)))
    feed(breaker, "t" * 10)
    breaker.allow()
    assert told == [(State.CLOSED, State.OPEN, True)]


class NoClock(datetime):
    """Whoever asks the library for the time of day is found out."""

    @classmethod
    def utcnow(cls) -> Any:
        raise AssertionError("the time of day was asked for")

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        raise AssertionError("the time of day was asked for")


def test_the_time_of_day_is_never_asked_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (aiobreaker.circuitbreaker, aiobreaker.state):
        monkeypatch.setattr(module, "datetime", NoClock)
    breaker = Breaker("some", REDIS, clock=clock)
    feed(breaker, "x" * 5)
    assert not breaker.allow()
    clock.now += 2
    for _ in range(3):
        prove(breaker)
    assert breaker.allow()


def test_a_clock_that_stands_still_keeps_it_open_and_raises_nothing(clock: Clock) -> None:
    breaker = Breaker("some", REDIS, clock=clock)
    feed(breaker, "x" * 1000)
    assert not breaker.allow()
    assert breaker.retry_after() == 2.0


@given(
    st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=200),
    st.floats(0, 15),
)
def test_the_window_counts_what_is_young_and_forgets_what_is_old(
    steps: list[tuple[float, bool]], wait: float
) -> None:
    span = 10.0
    window = SlidingWindow(span)
    now, calls = 0.0, []
    for step, failed in steps:
        now += step
        calls.append((now, failed))
        window.add(now, failed=failed)
    now += wait
    tell(window, calls, now, span)


def tell(window: SlidingWindow, calls: list[tuple[float, bool]], now: float, span: float) -> None:
    def since(oldest: float, *, only: Callable[[bool], bool]) -> int:
        return sum(1 for at, failed in calls if at > oldest and only(failed))

    found_calls, found_failures = window.counts(now)
    surely = now - span + span / PIECES + 1e-9
    at_most = now - span - 1e-9
    assert since(surely, only=lambda _: True) <= found_calls <= since(at_most, only=lambda _: True)
    assert since(surely, only=bool) <= found_failures <= since(at_most, only=bool)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(list(Outcome))), max_size=300))
def test_whatever_comes_it_opens_only_over_enough_failures_or_throttled_calls(
    steps: list[tuple[float, Outcome]],
) -> None:
    clock = Clock()
    breaker = Breaker("some", KUBERNETES, clock=clock)
    calls: list[tuple[float, bool]] = []
    throttled = 0
    for step, outcome in steps:
        clock.now += step
        breaker.record(outcome)
        throttled += outcome is Outcome.THROTTLED
        if outcome is Outcome.SUCCESS:
            throttled = 0
        if outcome is not Outcome.THROTTLED:
            calls.append((clock.now, outcome is Outcome.FAILURE))
        if not breaker.closed:
            failed = sum(bad for at, bad in calls if at > clock.now - KUBERNETES.window - 1e-9)
            assert throttled >= 10 or failed >= 3
            return
        assert throttled < 10
