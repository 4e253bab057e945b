"""Times end up in one form, so that text order is time order, and nothing of a nanosecond is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.times import TimeError, normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T04:51:54.679799966Z", "2026-11-21T04:51:54.679799966Z"),
        ("2026-11-21T04:51:54Z", "2026-11-21T04:51:54.000000000Z"),
        ("2026-11-21T04:51:54.5Z", "2026-11-21T04:51:54.500000000Z"),
        ("2026-11-21T04:51:54.1234567899Z", "2026-11-21T04:51:54.123456789Z"),
        ("2026-11-21T04:51:54.679799966+02:00", "2026-11-21T02:51:54.679799966Z"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000000000Z"),
        ("2026-12-31T23:30:00-05:30", "2027-01-01T05:00:00.000000000Z"),
        ("2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.000000000Z"),
        ("2026-01-01t00:00:00z", "2026-01-01T00:00:00.000000000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000000Z"),
        ("0001-01-02T00:00:00Z", "0001-01-02T00:00:00.000000000Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_time_is_brought_into_the_one_form(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", "0001-01-01T01:00:00+01:00"]
)
def test_the_zero_time_of_go_is_no_time(text: str) -> None:
    assert normalised(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-21",
        "2026-11-21T04:51:54",
        "2026-11-21 04:51:54Z",
        "2026-11-21T04:51Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+0100",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01T00:00:00." + "9" * 100 + "Z",
        "1760000000",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(TimeError):
        normalised(text)


@given(st.text())
def test_any_text_is_a_time_or_a_time_error(text: str) -> None:
    try:
        found = normalised(text)
    except TimeError:
        return
    assert found is None or len(found) == 30


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001 - hypothesis adds zones
    st.integers(min_value=-23 * 60, max_value=23 * 60),
)
def test_every_instant_is_the_same_in_every_offset(naive: datetime, minutes: int) -> None:
    instant = naive.replace(tzinfo=UTC)
    elsewhere = instant.astimezone(timezone(timedelta(minutes=minutes)))
    found = normalised(elsewhere.isoformat())
    assert found == normalised(instant.isoformat())
    assert found is not None
    assert datetime.fromisoformat(f"{found[:26]}+00:00") == instant


@given(st.lists(st.datetimes(min_value=datetime(2, 1, 1)), min_size=2, max_size=2))  # noqa: DTZ001 - as above
def test_text_order_is_time_order(pair: list[datetime]) -> None:
    one, other = (normalised(f"{instant.isoformat()}Z") or "" for instant in pair)
    assert (one < other) == (pair[0] < pair[1])
