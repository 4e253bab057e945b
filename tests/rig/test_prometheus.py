"""The Prometheus of the rig scrapes, evaluates and refuses; its promtool checks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from chaos.rig.alertmanager import webhook_config
from chaos.rig.asking import Refused
from chaos.rig.prometheus import scrape_config
from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartAlertmanager, StartPrometheus

RULES = {
    "groups": [{"name": "rig", "rules": [{"alert": "Up", "expr": "up == 1", "labels": {"severity": "info"}}]}]
}


def test_it_scrapes_itself(start_prometheus: StartPrometheus) -> None:
    prometheus = start_prometheus(scrape_config())
    prometheus.reload(scrape_config(prometheus.url))
    wait_until(lambda: prometheus.value("up") == 1, "the first scrape")
    wait_until(lambda: [one["health"] for one in prometheus.targets()] == ["up"], "a target that is up")
    assert prometheus.value("2 * 3") == 6
    assert prometheus.value("absent_metric") is None
    with pytest.raises(Refused, match="parse error"):
        prometheus.query("sum(")


def test_its_alerts_reach_an_alertmanager(
    start_prometheus: StartPrometheus, start_alertmanager: StartAlertmanager, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES))
    alertmanager = start_alertmanager(webhook_config("http://127.0.0.1:1/nobody"))
    prometheus = start_prometheus(
        scrape_config(alertmanager.url, rule_files=[rules], alertmanager=alertmanager.url)
    )
    (alert,) = wait_until(alertmanager.alerts, "the alert", seconds=30)
    assert alert["labels"]["alertname"] == "Up"
    # A scrape that came too late may have ended it meanwhile, and the next one begins it again.
    wait_until(lambda: [rule["state"] for rule in prometheus.rules()] == ["firing"], "the rule to fire")


def test_promtool_tells_right_rules_from_wrong_ones(promtool: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    for text, code in ((yaml.safe_dump(RULES), 0), (yaml.safe_dump(RULES).replace("up ==", "up = ="), 1)):
        rules.write_text(text)
        done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, check=False)
        assert done.returncode == code, done.stdout
