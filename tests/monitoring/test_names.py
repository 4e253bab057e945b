"""What operators are told to look at exists: every metric, with those labels."""

from __future__ import annotations

import re

import pytest

from scripts.monitoring.metrics_page import Described, described
from tests.monitoring.files import ROOT, Asked, dashboard_queries, documents, recorded, rule_queries, words
from tests.monitoring.promql import Named, grouped, named

TARGET = frozenset({"job", "instance", "namespace", "pod"})
"""Labels that Prometheus gives every sample of a target."""
OTHERS = {
    "up": frozenset[str](),
    "process_cpu_seconds_total": frozenset[str](),
    "process_resident_memory_bytes": frozenset[str](),
    "process_start_time_seconds": frozenset[str](),
    "redis_memory_used_bytes": frozenset[str](),
    "redis_memory_max_bytes": frozenset[str](),
    "kube_pod_container_status_restarts_total": frozenset({"container"}),
}
"""Of Prometheus itself, of the process, and of exporters that the monitoring stack has beside the gateway."""
NO_METRICS = {"gateway_process", "gateway_pod_restart", "gateway_requests_per_second"}
"""Words of that form which are something else; the last is what an adapter calls a rate, for an autoscaler."""


def labels_of(one: Described) -> dict[str, frozenset[str]]:
    more = {"bucket": {"le"}}
    return {
        series: frozenset({*one.labels, *more.get(series.rpartition("_")[2], ())})
        if one.kind == "histogram"
        else frozenset(one.labels)
        for series in one.series
    }


SERIES = {name: labels for one in described() for name, labels in labels_of(one).items()}
KNOWN = SERIES | OTHERS | dict.fromkeys(recorded(), frozenset[str]())
NAMES = {one.name: frozenset(one.labels) for one in described()}


def wrong(one: Named) -> str:
    if one.metric not in KNOWN:
        return f"no metric {one.metric}"
    if strange := one.labels - KNOWN[one.metric] - TARGET:
        return f"{one.metric} has no label {', '.join(sorted(strange))}"
    return ""


@pytest.mark.parametrize("asked", [*rule_queries(), *dashboard_queries()], ids=lambda asked: asked.where)
def test_every_metric_of_a_rule_or_panel_is_exported_with_those_labels(asked: Asked) -> None:
    selectors = list(named(asked.expr))
    assert selectors
    assert [text for one in selectors if (text := wrong(one))] == []
    available = TARGET.union(*(KNOWN[one.metric] for one in selectors))
    assert grouped(asked.expr) <= available


def test_every_metric_that_a_text_or_script_names_is_exported_with_those_labels() -> None:
    found, faults = 0, []
    for path in documents():
        for name, labels in words(path.read_text(errors="ignore")):
            if path.suffix == ".py" and not re.search(rf"[\"'`({{]{name}", path.read_text()):
                continue  # a name of the program
            if name in NO_METRICS:
                continue
            found += 1
            has = SERIES.get(name, NAMES.get(name))
            if has is None:
                faults.append(f"{path.relative_to(ROOT)}: no metric {name}")
            elif not labels <= has | TARGET:
                faults.append(f"{path.relative_to(ROOT)}: {name} has no {sorted(labels - has)}")
    assert faults == []
    assert found > 200


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ('sum by (le) (rate(a_bucket{x="}", y=~"b"}[5m])) > 0.5', {"a_bucket": {"x", "y"}}, {"le"}),
        ("max(a / b) or vector(0)", {"a": set(), "b": set()}, set()),
        ("min_over_time(a[10m] offset 10m) and on (i) c:d:e", {"a": set(), "c:d:e": set()}, {"i"}),
    ],
)
def test_expressions_are_taken_apart(expression: str, metrics: dict[str, set[str]], labels: set[str]) -> None:
    assert {one.metric: set(one.labels) for one in named(expression)} == metrics
    assert grouped(expression) == labels
