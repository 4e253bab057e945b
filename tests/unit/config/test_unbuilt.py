"""A key whose feature is not built yet is refused or warned of, and never ignored in silence."""

from __future__ import annotations

import pytest

from gateway.config import Settings, load
from gateway.config.unbuilt import REFUSED, WITHOUT_EFFECT, value_at, warnings
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rate_limit.requests", "10"),
        ("tracing.endpoint", "http://tempo:4317"),
    ],
)
def test_a_promise_that_cannot_be_kept_stops_the_start(path: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, [f"{path}={value}", "auth.tokens_file=tokens"])
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path} (--set {path}): ")
    assert "built yet" in fault


def test_a_key_that_only_tunes_something_unbuilt_is_taken_with_a_warning() -> None:
    sets = ["storm={hold: 30s, emit: on_threshold}", "rate_limit.by=source"]
    assert warnings(load(None, {}, sets)) == [
        "rate_limit.by has no effect yet: rate limits are not built",
    ]


def test_the_defaults_are_neither_refused_nor_warned_of() -> None:
    assert warnings(load(None, {})) == []


def test_the_table_names_existing_keys_only() -> None:
    for path in [*WITHOUT_EFFECT, *(refusal.path for refusal in REFUSED)]:
        value_at(Settings(), path)
