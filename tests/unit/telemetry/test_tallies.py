"""Tallies say what the instruments of `prometheus_client` would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.telemetry.exposition import OPENMETRICS, expose
from gateway.telemetry.tallies import Spreads, Tallies

BOUNDS = (0.001, 0.25, 1.0, 10.0)
VALUES = st.lists(st.floats(0, 20) | st.sampled_from(BOUNDS), max_size=30)
FORMATS = pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])


def text(registry: CollectorRegistry, accept: str) -> str:
    return expose(registry, accept)[0].decode()


@FORMATS
@given(counts=st.dictionaries(st.sampled_from(["a", 'b"\\', "c\n"]), st.lists(st.integers(0, 5), min_size=1)))
def test_a_tally_is_shown_as_a_counter_is(accept: str, counts: dict[str, list[int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies(ours, "things_total", "Things.", ["kind"])
    alone = Tallies(ours, "all_total", "All of them.").labels()
    counter = Counter("things_total", "Things.", ["kind"], registry=theirs)
    single = Counter("all_total", "All of them.", registry=theirs)
    for kind, amounts in counts.items():
        for amount in amounts:
            tallies.labels(kind).inc(amount)
            counter.labels(kind).inc(amount)
            alone.inc()
            single.inc()
    assert text(ours, accept) == text(theirs, accept)


@FORMATS
@given(values=VALUES)
def test_a_spread_is_shown_as_a_histogram_is(accept: str, values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread = Spreads(ours, "seconds", "Time.", BOUNDS, ["route"]).labels("/v1")
    histogram = Histogram("seconds", "Time.", ["route"], buckets=BOUNDS, registry=theirs).labels("/v1")
    for value in values:
        spread.observe(value)
        histogram.observe(value)
    assert text(ours, accept) == text(theirs, accept)


def test_the_latest_exemplar_of_a_bucket_is_shown() -> None:
    registry = CollectorRegistry()
    spread = Spreads(registry, "seconds", "Time.", BOUNDS).labels()
    spread.observe(0.5, {"trace_id": "old"})
    spread.observe(0.7, {"trace_id": "new"})
    spread.observe(0.6)
    shown, _ = expose(registry, OPENMETRICS)
    (line,) = [line for line in shown.decode().splitlines() if "trace_id" in line]
    assert line.startswith('seconds_bucket{le="1.0"} 3.0 # {trace_id="new"} 0.7 ')


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Tallies(registry, "things_total", "Things.")
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Counter("things_total", "Things.", registry=registry)
