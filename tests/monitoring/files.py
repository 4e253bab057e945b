"""The files for operators, as the tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
PAGES = ROOT / "docs" / "operations" / "alerts"
LOKI_QUERIES = ROOT / "docs" / "operations" / "loki-queries.txt"


class Asked(NamedTuple):
    """One expression, and where it stands."""

    where: str
    expr: str


def rules() -> list[dict[str, Any]]:
    """All rules of all files."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """The metrics that the rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """(dashboard, panel) of every panel that asks something."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield path.stem, panel


def dashboard_queries() -> list[Asked]:
    found = [
        Asked(f"{board}: {panel['title']}", target["expr"])
        for board, panel in panels()
        for target in panel["targets"]
    ]
    for path in DASHBOARDS:
        annotations = json.loads(path.read_text())["annotations"]["list"]
        found += [Asked(f"{path.stem}: annotation {one['name']}", one["expr"]) for one in annotations]
    return found


def rule_queries() -> list[Asked]:
    return [Asked(str(rule.get("alert") or rule["record"]), rule["expr"]) for rule in rules()]


def documents() -> list[Path]:
    """Whatever tells people or scripts of metrics."""
    folders = ("docs", "deploy", "scripts", "chaos")
    kinds = {".md", ".yaml", ".yml", ".json", ".txt", ".sh", ".py"}
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    return sorted([*found, ROOT / "README.md"])


def log_queries() -> list[str]:
    """The LogQL of the file, without comments."""
    lines = LOKI_QUERIES.read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def words(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """(metric, labels) of each `gateway_…` in a text; labels where it names some in braces."""
    for match in re.finditer(r"(?<![\w./-])(gateway_[a-z0-9_]*[a-z0-9])(?:\{([^}\n]*)\})?(?!\w|\.py)", text):
        labels = frozenset(re.findall(r"(?:^|,)\s*([a-z_]+)", match[2] or ""))
        yield match[1], labels
