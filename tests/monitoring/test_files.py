"""The files for operators are current, complete, and what their programs take."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.monitoring.files import generated
from tests.monitoring.files import DASHBOARDS, MONITORING, PAGES, ROOT, RULES, alerts, panels

HEADINGS = [
    "What it means",
    "What the gateway does by itself",
    "What to look at",
    "What to do",
    "When it is over",
]
ALERTS = sorted({rule["alert"] for rule in alerts()})


@pytest.mark.parametrize("path", list(generated()), ids=lambda path: path.name)
def test_what_is_generated_is_current(path: Path) -> None:
    assert path.read_text() == generated()[path], "run `python -m scripts.monitoring`"


def promtool_says(promtool: Path, *arguments: str | Path) -> str:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_rules_and_the_configuration(promtool: Path, tmp_path: Path) -> None:
    assert "FAILED" not in promtool_says(promtool, "check", "rules", *RULES)
    config = yaml.safe_load((MONITORING / "stack" / "prometheus.yaml").read_text())
    # In the container the rules stand in a folder beside the configuration.
    config["rule_files"] = [str(MONITORING / "rules" / Path(name).name) for name in config["rule_files"]]
    here = tmp_path / "prometheus.yaml"
    here.write_text(yaml.safe_dump(config))
    assert f"{len(RULES)} rule files found" in promtool_says(promtool, "check", "config", here)


def test_each_alert_fires_and_resolves_where_promtool_rehearses_it(promtool: Path) -> None:
    rehearsals = sorted((MONITORING / "rules" / "tests").glob("*.yaml"))
    promtool_says(promtool, "test", "rules", *rehearsals)
    tests = [test for path in rehearsals for test in yaml.safe_load(path.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for alert in ALERTS:
        assert any(case["exp_alerts"] for case in cases if case["alertname"] == alert), alert
        assert any(not case["exp_alerts"] for case in cases if case["alertname"] == alert), alert


def test_every_alert_says_how_bad_it_is_and_where_its_page_is() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations/alerts/{rule['alert']}.md"
    assert sorted(path.stem for path in PAGES.glob("*.md")) == ALERTS


@pytest.mark.parametrize("name", ALERTS)
def test_every_page_answers_the_same_questions(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert f"alerts/{name}.md" in (ROOT / "docs" / "operations" / "runbook.md").read_text()


def test_every_panel_asks_a_question_and_says_why() -> None:
    seen = list(panels())
    assert len({(board, panel["title"]) for board, panel in seen}) == len(seen) > 30
    for board, panel in seen:
        assert panel["title"].endswith("?"), (board, panel["title"])
        assert len(panel["description"]) > 20, (board, panel["title"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_no_panel_lies_on_another(path: Path) -> None:
    board = json.loads(path.read_text())
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in board["panels"]):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_stack_mounts_the_rules_and_dashboards_that_are_here() -> None:
    stack = MONITORING / "stack"
    compose = yaml.safe_load((stack / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (stack / source).exists(), source
    grafana = " ".join(compose["services"]["grafana"]["volumes"])
    (provider,) = yaml.safe_load((stack / "grafana" / "dashboards.yaml").read_text())["providers"]
    assert f":{provider['options']['path']}:" in grafana
    config = yaml.safe_load((stack / "prometheus.yaml").read_text())
    assert {Path(name).name for name in config["rule_files"]} == {path.name for path in RULES}
    jobs = {one["job_name"] for one in config["scrape_configs"]}
    assert {"gateway", "redis", "kube-state-metrics"} <= jobs
