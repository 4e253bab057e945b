"""What README.md shows can be used as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from gateway.config import Settings, load
from gateway.config.rendering import effective
from gateway.intake.holding import HoldPolicy
from gateway.model import Hold

_TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCKS = _BLOCK.findall(_TEXT)
_STORMS = _TEXT.partition("\n## Storms\n")[2].partition("\n## ")[0]


def recipe(introduction: str, folder: Path) -> Settings:
    """The configuration that follows these words in the section about storms."""
    _, found, after = _STORMS.partition(introduction)
    assert found, introduction
    path = folder / "gateway.yaml"
    path.write_text(_BLOCK.findall(after)[0], encoding="utf-8")
    return load(path, {})


def held(settings: Settings, **labels: str) -> Hold | None:
    return HoldPolicy(settings.storm).decide({"alertname": "A", **labels})[0]


@pytest.mark.parametrize("block", _BLOCKS)
def test_every_configuration_in_it_loads(block: str, tmp_path: Path) -> None:
    if "receivers" in yaml.safe_load(block):
        return  # Alertmanager's, not the gateway's.
    path = tmp_path / "gateway.yaml"
    path.write_text(block, encoding="utf-8")
    assert load(path, {})


def test_no_block_is_overlooked() -> None:
    assert len(_BLOCKS) == _TEXT.count("```yaml")
    assert len(_BLOCK.findall(_STORMS)) == 5


def test_the_defaults_that_it_shows_are_the_defaults(tmp_path: Path) -> None:
    assert recipe("The defaults:", tmp_path) == Settings()
    shown = yaml.safe_load(_BLOCK.findall(_STORMS)[0])["storm"]
    known = effective(Settings())["storm"]
    assert shown == {name: known[name] for name in shown}
    assert known.keys() - shown.keys() == {"buffer_size", "rules"}


def test_no_waiting_is_no_waiting_for_anything(tmp_path: Path) -> None:
    settings = recipe("No waiting:", tmp_path)
    assert held(settings) is None
    assert held(settings, severity="info", alertname="two\nlines") is None


def test_only_what_is_noisy_is_held(tmp_path: Path) -> None:
    settings = recipe("Only noisy alerts", tmp_path)
    assert held(settings, alertname="PodOOMKilled", namespace="prod-api") == held(Settings())
    assert held(settings, alertname="PodOOMKilled", namespace="dev") is None
    assert held(settings, alertname="NodeNotReady", namespace="prod-api") is None


def test_critical_alerts_of_production_never_wait(tmp_path: Path) -> None:
    settings = recipe("Critical alerts of production", tmp_path)
    assert held(settings, severity="critical", environment="production") is None
    assert held(settings, severity="critical", environment="dev") == held(Settings())
    assert held(settings, severity="warning", environment="production") == held(Settings())


def test_the_early_request_is_early_and_test_clusters_have_time(tmp_path: Path) -> None:
    settings = recipe("The aggregated request exists as soon as", tmp_path)
    quick, slow = held(settings, environment="production"), held(settings, environment="test")
    assert quick is not None
    assert slow is not None
    assert (quick.hold, quick.early) == (10_000, True)
    assert (slow.hold, slow.max_window, slow.early) == (180_000, 900_000, False)
