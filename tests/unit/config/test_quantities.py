"""Durations and sizes are read as people write them, and what is rendered is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.quantities import parse_duration, parse_size, render_duration, render_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10ms", 0.01),
        ("60s", 60.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("2d", 172800.0),
        ("100us", 0.0001),
        (" 3s ", 3.0),
        ("0", 0.0),
        (0, 0.0),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "5", 5, 5.5, "-1s", "1 h", "s", "1S", "1e3s", "٣s", True, None, [], "infs", "9999999999h"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration like 250ms|longer than ten years"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (0.01, "10ms"), (1.0, "1s"), (60.0, "60s"), (300.0, "5m"), (7200.0, "2h"), (0.0, "0s")],
)
def test_a_duration_is_rendered_as_people_write_it(seconds: float, text: str) -> None:
    assert render_duration(seconds) == text


@given(
    st.floats(min_value=0, max_value=10 * 365 * 86400, allow_subnormal=False).filter(
        lambda x: x == 0 or x > 1e-20
    )
)
def test_every_rendered_duration_is_read_back_exactly(seconds: float) -> None:
    assert parse_duration(render_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("16MiB", 16 * 2**20),
        ("64KiB", 65536),
        ("64Ki", 65536),
        ("1 GiB", 2**30),
        ("1.5MiB", 3 * 2**19),
        ("2MB", 2_000_000),
        ("12B", 12),
        ("12", 12),
        (12, 12),
    ],
)
def test_a_size_is_bytes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "big", "-1MiB", -1, 1.5, "1.5B", "1mib", "1XB", True, None, []])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a (size|whole number of bytes)"):
        parse_size(value)


@given(st.integers(min_value=0, max_value=10**18))
def test_every_rendered_size_is_read_back_exactly(size: int) -> None:
    assert parse_size(render_size(size)) == size
