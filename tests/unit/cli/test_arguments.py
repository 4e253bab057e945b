"""Values of options: what is understood, and that anything else is a usage error."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import arguments
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (arguments.rate, "5/s", 5.0),
        (arguments.rate, "5", 5.0),
        (arguments.rate, "30/min", 0.5),
        (arguments.rate, "30/m", 0.5),
        (arguments.rate, "1800/h", 0.5),
        (arguments.rate, "0.5/s", 0.5),
        (arguments.duration, "250ms", 0.25),
        (arguments.duration, "2m", 120.0),
        (arguments.duration, "1h30m", 5400.0),
        (arguments.count, "0", 0),
        (arguments.positive, "7", 7),
        (arguments.label, "a=b=c", ("a", "b=c")),
        (arguments.label, "a=", ("a", "")),
        (arguments.base_url, "http://localhost:8080/", "http://localhost:8080"),
        (arguments.base_url, "https://gateway.example/prefix", "https://gateway.example/prefix"),
    ],
)
def test_a_value_is_understood(parse: Callable[[str], Any], text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (arguments.rate, "0/s"),
        (arguments.rate, "-1/s"),
        (arguments.rate, "5/day"),
        (arguments.rate, "fast"),
        (arguments.duration, "5"),
        (arguments.duration, "5 parsecs"),
        (arguments.duration, ""),
        (arguments.count, "-1"),
        (arguments.count, "1.5"),
        (arguments.count, "²"),
        (arguments.positive, "0"),
        (arguments.label, "a"),
        (arguments.label, "=b"),
        (arguments.base_url, "localhost:8080"),
        (arguments.base_url, "ftp://localhost"),
        (arguments.base_url, "http://"),
    ],
)
def test_any_other_value_is_refused_by_name(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is "):
        parse(text)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments.add_config_options(parser)
    return parser.parse_args(words)


def test_a_set_value_wins_over_what_the_command_wants_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {port: 1, metrics_port: 2}\nstorm: {threshold: 3}\n")
    args = parsed("--config", str(file), "--set", "server.port=1001")
    settings = arguments.load_settings(args, "server.port=1002", "server.metrics_port=1003")
    assert (settings.server.port, settings.server.metrics_port) == (1001, 1003)
    assert settings.storm.threshold == 3


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        arguments.load_settings(parsed("--set", "server.port=x", "--set", "no.such=1"))
    assert len(raised.value.faults) == 2
