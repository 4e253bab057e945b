"""Failures of Redis in the log: findable by kind, and few."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from gateway.state.answers import KINDS
from gateway.state.telling import INTERVAL, FailureLog


def told(log: FailureLog, *kinds: str) -> list[tuple[str, int]]:
    with capture_logs() as lines:
        for kind in kinds:
            log.failed(kind)
    return [(line["event"], line["calls"]) for line in lines]


def test_the_first_of_a_kind_is_told_at_once_and_the_rest_are_counted() -> None:
    now = 5.0
    log = FailureLog(lambda: now)
    assert told(log, "timeout", "timeout", "oom", "timeout") == [("redis timeout", 1), ("redis oom", 1)]
    now += INTERVAL
    assert told(log, "timeout", "timeout") == [("redis timeout", 3)]
    now += INTERVAL
    assert told(log, "timeout", "oom") == [("redis timeout", 2), ("redis oom", 1)]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_line_of_its_own(kind: str) -> None:
    assert told(FailureLog(lambda: 0.0), kind) == [(f"redis {kind}", 1)]
