"""Tables and ages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gateway.dev.kubernetes import printing
from gateway.dev.kubernetes.api import Api
from gateway.dev.kubernetes.kinds import Kind
from tests.unit.dev.conftest import Clock


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=-5), "<invalid>"),
        (timedelta(seconds=-0.5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(seconds=120), "2m"),
        (timedelta(seconds=150), "2m30s"),
        (timedelta(minutes=10, seconds=30), "10m"),
        (timedelta(minutes=179), "179m"),
        (timedelta(hours=3), "3h"),
        (timedelta(hours=7, minutes=59), "7h59m"),
        (timedelta(hours=47, minutes=10), "47h"),
        (timedelta(days=2, hours=4), "2d4h"),
        (timedelta(days=8, hours=4), "8d"),
        (timedelta(days=729), "729d"),
        (timedelta(days=800), "2y70d"),
        (timedelta(days=365 * 9), "9y"),
    ],
)
def test_an_age_is_said_as_kubectl_says_it(clock: Clock, passed: timedelta, said: str) -> None:
    assert printing.age("2026-01-31T09:00:00Z", clock.now + passed) == said


def test_what_is_no_time_has_no_age(clock: Clock) -> None:
    assert printing.age("yesterday", clock.now) == "<invalid>"


def test_cells_follow_the_columns(
    api: Api, widgets: Kind, widget: Callable[..., dict[str, Any]], clock: Clock
) -> None:
    api.create(widgets, "home", widget("one", colours=["red", "blue"]))
    api.create(widgets, "home", widget("two", size=3))
    clock.pass_(minutes=3)
    shown = printing.table(widgets, api.list(widgets, "home").items, clock.now, metadata={}, include="None")
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Size", "Colour", "Made"]
    assert [column["priority"] for column in shown["columnDefinitions"]] == [0, 0, 1, 0]
    assert [row["cells"] for row in shown["rows"]] == [["one", 1, "red", "3m"], ["two", 3, None, "3m"]]
    assert [row["object"] for row in shown["rows"]] == [None, None]


def test_rows_carry_what_was_asked_for(
    api: Api, widgets: Kind, widget: Callable[..., dict[str, Any]]
) -> None:
    stored = api.create(widgets, "home", widget("one")).stored
    whole = printing.table(widgets, [stored], api.clock(), metadata={}, include="Object")
    assert whole["rows"][0]["object"] == stored.body()
    part = printing.table(widgets, [stored], api.clock(), metadata={}, with_columns=False)
    assert part["columnDefinitions"] is None
    assert part["rows"][0]["object"] == printing.partial(stored)
