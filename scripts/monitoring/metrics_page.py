"""`docs/metrics.md`: every metric of the gateway as its registry has it, with the label values known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tallies import Instruments

HEAD: Final = """\
# Metrics

`GET :9090/metrics` serves them as Prometheus and as OpenMetrics text. Names and labels are a contract; no label has a
value that a sender can choose. Beside these there are `process_…` and `python_gc_…` of the Prometheus client. What to
watch and when to act: [the runbook](operations/runbook.md#metrics-to-watch); rules and dashboards are in
`deploy/monitoring/`.

Values in *italics* exist from the start; others appear when they first happen, so that a rate over them begins late.

Once all windows are closed, over all replicas, where no process died and no write was ambiguous: `alerts_received` =
`crds_created` + `alerts_deduplicated` + `alerts_resolved` + `policy_denials` + `alerts_invalid`.

"""
TABLE: Final = "| metric | type | labels | what it says |\n| --- | --- | --- | --- |"
FOOT: Final = """
Generated from `gateway/telemetry/metrics.py` by `python -m scripts.monitoring`.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """One metric, as a query names it: a counter with `_total`, a histogram without a suffix."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    known: tuple[str, ...]
    """Label values that exist before anything happened, where there is one label."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its samples."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "count", "sum"))
        return (self.name,)


def described() -> list[Described]:
    """Every metric of a fresh registry, in the order of their names."""
    registry = CollectorRegistry()
    Metrics(registry)
    labels = dict(_labels(registry))
    return sorted(
        (_described(family, labels[family.name]) for family in registry.collect()), key=lambda one: one.name
    )


def _labels(registry: CollectorRegistry) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The name and label names of each instrument: also of those that have no sample yet."""
    for collector in list(registry._collector_to_names):  # noqa: SLF001 - nothing public tells label names
        if isinstance(collector, Instruments):
            names = collector.label_names
        elif isinstance(collector, MetricWrapperBase):
            names = tuple(collector._labelnames)  # noqa: SLF001 - as above
        else:
            continue
        for family in collector.describe():
            yield family.name, names


def _described(family: Metric, labels: tuple[str, ...]) -> Described:
    known: tuple[str, ...] = ()
    if len(labels) == 1:
        (label,) = labels
        known = tuple(dict.fromkeys(s.labels[label] for s in family.samples if label in s.labels))
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Described(name, family.type, family.documentation, labels, known)


def render() -> str:
    """The page."""
    rows = [f"| `{one.name}` | {one.kind} | {_shown(one)} | {one.help} |" for one in described()]
    return "\n".join([HEAD + TABLE, *rows, FOOT])


def _shown(one: Described) -> str:
    names = ", ".join(f"`{label}`" for label in one.labels)
    if not one.known:
        return names
    return f"{names}: " + ", ".join(f"*{value}*" for value in one.known)
