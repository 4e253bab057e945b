"""Times of recorded alerts are moved, and nothing else of a body is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.shifting import nanoseconds_of, shifted, shifted_time
from gateway.intake.times import normalised

HOUR = 3_600_000_000_000
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - aware by `timezones`
MOVES = st.integers(-(10**18), 10**18)


@given(TIMES, MOVES)
def test_a_time_moves_by_that_much(instant: datetime, move: int) -> None:
    moved = shifted_time(instant.isoformat(), move)
    assert moved is not None
    assert normalised(moved) == moved
    assert nanoseconds_of(datetime.fromisoformat(moved)) // 1000 == (nanoseconds_of(instant) + move) // 1000


@given(TIMES, TIMES, MOVES)
def test_the_order_of_times_and_the_sameness_of_equal_ones_is_kept(
    one: datetime, other: datetime, move: int
) -> None:
    first, second = shifted_time(one.isoformat(), move), shifted_time(other.isoformat(), move)
    assert first is not None
    assert second is not None
    assert (first < second, first == second) == (one < other, one == other)


def test_nanoseconds_and_zones_are_understood() -> None:
    assert shifted_time("2026-01-31T10:00:00.123456789+01:00", HOUR + 1) == "2026-01-31T10:00:00.123456790Z"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "", "soon", "2026-01-31", "9999-12-31T23:59:59Z"])
def test_what_is_no_time_to_move_stays(text: str) -> None:
    assert shifted_time(text, HOUR) is None
    body = json.dumps({"alerts": [{"startsAt": text, "endsAt": text}]}).encode()
    assert json.loads(shifted(body, HOUR)) == json.loads(body)


def test_only_the_times_of_alerts_move_and_all_else_keeps_its_bytes() -> None:
    at = '"2026-01-31T09:00:00Z"'
    rest = (
        '"labels":{"startsAt":' + at + ',"n":"\\u00e9\\/"},'
        '"annotations":{"a":"\\"startsAt\\":'
        + at.replace('"', '\\"')
        + '"},"big":123456789012345678901234567890.10'
    )
    body = (
        '{"endsAt":'
        + at
        + ',"alerts":[{"startsAt":'
        + at
        + ',"endsAt":"0001-01-01T00:00:00Z",'
        + rest
        + "}]}"
    )
    moved = shifted(body.encode(), HOUR).decode()
    assert moved == body.replace('[{"startsAt":' + at, '[{"startsAt":"2026-01-31T10:00:00.000000000Z"', 1)


@pytest.mark.parametrize(
    "body", [b"", b"no JSON", b"\xff", b"[]", b"{}", b'{"alerts":1}', b'{"alerts":', b"[" * 100_000]
)
def test_what_is_no_webhook_stays_as_it_is(body: bytes) -> None:
    assert shifted(body, HOUR) == body


@pytest.mark.parametrize("alert", ["1", "null", '{"startsAt":5}', '{"startsAt":null}', "{}", '"x"'])
def test_an_alert_that_is_none_does_not_keep_the_others_from_moving(alert: str) -> None:
    body = f'{{"alerts":[{alert},{{"startsAt":"2026-01-31T09:00:00Z"}}]}}'
    first, second = json.loads(shifted(body.encode(), HOUR))["alerts"]
    assert first == json.loads(alert)
    assert second["startsAt"] == "2026-01-31T10:00:00.000000000Z"


def test_nanoseconds_count_from_1970() -> None:
    assert nanoseconds_of(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1)) == 10**9
