"""A key whose feature is not built yet is refused, and never ignored in silence."""

from __future__ import annotations

import pytest

from gateway.config import Settings, load
from gateway.config.unbuilt import REFUSED, value_at
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tracing.endpoint", "http://tempo:4317"),
    ],
)
def test_a_promise_that_cannot_be_kept_stops_the_start(path: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, [f"{path}={value}", "auth.tokens_file=tokens"])
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path} (--set {path}): ")
    assert "built yet" in fault


def test_the_table_names_existing_keys_only() -> None:
    for refusal in REFUSED:
        value_at(Settings(), refusal.path)
