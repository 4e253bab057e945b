"""A clock is called wrong only where it is, whatever the date's rounding and the way of the answer."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.doctor.clocks import clock
from gateway.resilience.diagnosis import Grade

NOW = 1_780_000_000.0


@given(
    apart=st.floats(-300, 300),
    way=st.floats(0, 5),
    share=st.floats(0, 1),
    now=st.floats(NOW, NOW + 10),
)
def test_what_is_told_holds_for_every_moment_at_which_the_answer_was_made(
    apart: float, way: float, share: float, now: float
) -> None:
    date = formatdate(int(now + share * way + apart), usegmt=True)
    found = clock(date, now, now + way, "server")
    if abs(apart) <= 1:
        assert found.grade is Grade.OK
    if abs(apart) > 2.01 + way:
        assert found.grade is Grade.WARNING
        assert ("ahead of" if apart > 0 else "behind") in found.found
    if abs(apart) <= 60:
        assert "certificates" not in found.found


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_is_told_as_not_seen(date: str) -> None:
    assert not clock(date, NOW, NOW, "server").seen
