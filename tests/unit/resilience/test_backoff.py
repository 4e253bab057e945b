from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.backoff import CONFLICT_DELAYS, expo, retry_delay


def test_retries_wait_1_2_4_8_16_seconds_and_then_always_16() -> None:
    assert [retry_delay(attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 16, 16]
    assert [retry_delay(attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 16, 16]


def test_conflicts_wait_100_200_400_milliseconds() -> None:
    assert pytest.approx((0.1, 0.2, 0.4)) == CONFLICT_DELAYS


def test_what_the_server_asks_for_comes_first_within_reason() -> None:
    assert retry_delay(1, retry_after=7.0) == 7.0
    assert retry_delay(1, retry_after=0.0) == 0.0
    assert retry_delay(1, retry_after=-3.0) == 0.0
    assert retry_delay(1, retry_after=1e9) == 300.0


@given(st.integers())
def test_any_attempt_has_a_delay_of_1_to_16_seconds(attempt: int) -> None:
    assert 1 <= retry_delay(attempt) <= 16


@given(st.floats(0.01, 10), st.floats(10, 100))
def test_jitter_stays_within_the_delay(first: float, longest: float) -> None:
    plain = islice(expo(first, longest), 8)
    drawn = islice(expo(first, longest, jitter=True), 8)
    for limit, delay in zip(plain, drawn, strict=True):
        assert 0 <= delay <= limit <= longest
