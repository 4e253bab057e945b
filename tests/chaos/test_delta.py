"""Two expositions become growth, rates and quantiles, as Prometheus reckons them, or a plain complaint."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from chaos.delta import table
from chaos.delta.comparing import Delta, compare
from chaos.delta.quantiles import histogram_quantile
from chaos.exposition import Exposition, NotAnExposition, Series, parse

prometheus_client.disable_created_metrics()

ROOT = Path(__file__).parents[2]
BOUNDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, math.inf)

observations = st.lists(st.floats(0.0, 5.0, allow_nan=False), min_size=1, max_size=60)
shares = st.floats(0.0, 1.0, allow_nan=False)


def buckets_of(values: list[float]) -> dict[float, float]:
    return {bound: float(sum(value <= bound for value in values)) for bound in BOUNDS}


def exposed(*, alerts: int = 0, denied: int = 0, open_now: float = 0, took: tuple[float, ...] = ()) -> str:
    """What a process with some metrics shows."""
    registry = CollectorRegistry()
    Counter("alerts", "Alerts.", registry=registry).inc(alerts)
    by_reason = Counter("refused", "Refused.", ["reason"], registry=registry)
    by_reason.labels("denied").inc(denied)
    by_reason.labels('a "quoted\\" } one').inc(1)
    Gauge("open_now", "Open.", registry=registry).set(open_now)
    histogram = Histogram("took_seconds", "Took.", ["route"], registry=registry, buckets=BOUNDS)
    for value in took:
        histogram.labels("/v1").observe(value)
    return generate_latest(registry).decode()


def delta(before: str, after: str, seconds: float | None = 10.0) -> Delta:
    return compare(parse(before), parse(after), seconds=seconds)


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "metrics-delta.sh"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


# --- quantiles


@given(observations, shares)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    found = histogram_quantile(share, buckets_of(values))

    above = min(bound for bound in BOUNDS if bound >= true)
    below = max((bound for bound in BOUNDS if bound < true), default=0.0)
    if share > 0:
        assert below - 1e-12 <= found <= above + 1e-12
    assert 0.0 <= found <= 5.0


@given(observations, shares, shares)
def test_a_larger_share_is_never_a_smaller_quantile(values: list[float], one: float, other: float) -> None:
    buckets = buckets_of(values)
    low, high = sorted((one, other))

    assert histogram_quantile(low, buckets) <= histogram_quantile(high, buckets) + 1e-12


@given(observations, shares, st.integers(2, 50))
def test_the_same_observations_many_times_over_have_the_same_quantiles(
    values: list[float], share: float, times: int
) -> None:
    buckets = buckets_of(values)
    more = {bound: count * times for bound, count in buckets.items()}

    assert histogram_quantile(share, more) == pytest.approx(histogram_quantile(share, buckets), abs=1e-9)


@given(observations, observations, shares)
def test_what_was_observed_before_has_no_part_in_what_happened_between(
    early: list[float], late: list[float], share: float
) -> None:
    def page(values: list[float]) -> Exposition:
        found = Exposition(kinds={"took_seconds": "histogram"})
        found.page[Series("took_seconds_count")] = len(values)
        found.page[Series("took_seconds_sum")] = sum(values)
        for bound, count in buckets_of(values).items():
            found.page[
                Series("took_seconds_bucket", (("le", "+Inf" if math.isinf(bound) else str(bound)),))
            ] = count
        return found

    (between,) = compare(page(early), page(early + late)).histograms

    assert between.quantile(share) == pytest.approx(histogram_quantile(share, buckets_of(late)))
    assert between.count == len(late)


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.5, {1.0: 0, 2.0: 10, math.inf: 10}, 1.5),
        (0.95, {1.0: 50, 2.0: 100, math.inf: 100}, 1.9),
        (0.5, {1.0: 10, 2.0: 10, math.inf: 10}, 0.5),
        (0.99, {1.0: 1, 2.0: 2, math.inf: 10}, 2.0),
        (0.5, {-1.0: 10, 2.0: 10, math.inf: 10}, -1.0),
        (1.0, {1.0: 5, 2.0: 10, math.inf: 10}, 2.0),
        (0.5, {1.0: 5, 2.0: 4, 3.0: 10, math.inf: 10}, 1.0),
        (1.5, {1.0: 5, math.inf: 10}, math.inf),
    ],
    ids=["evenly", "p95", "from zero", "past the last", "below zero", "all", "counts that fall", "no share"],
)
def test_quantiles_are_those_of_histogram_quantile(
    share: float, buckets: Mapping[float, float], expected: float
) -> None:
    assert histogram_quantile(share, buckets) == pytest.approx(expected)


@pytest.mark.parametrize(
    "buckets",
    [{}, {math.inf: 3}, {1.0: 3, 2.0: 3}, {1.0: 0, math.inf: 0}],
    ids=["none", "one", "open", "empty"],
)
def test_without_observations_or_an_end_there_is_no_quantile(buckets: Mapping[float, float]) -> None:
    assert math.isnan(histogram_quantile(0.5, buckets))


# --- growth


def test_counters_gauges_and_histograms_are_told_apart_and_compared() -> None:
    found = delta(
        exposed(alerts=5, open_now=2, took=(0.02,)), exposed(alerts=25, open_now=7, took=(0.02, 0.3, 0.4))
    )

    assert found.grown("alerts_total") == 20
    assert found.grown("refused_total") == 0
    (gauge,) = found.gauges
    assert (gauge.series.name, gauge.before, gauge.after) == ("open_now", 2, 7)
    (took,) = found.histograms
    assert (took.count, took.mean) == (2, pytest.approx(0.35))
    assert took.quantile(0.5) == pytest.approx(0.3)
    assert not found.restarted


def test_a_counter_that_goes_back_is_a_restart_and_has_grown_since_then() -> None:
    found = delta(exposed(alerts=100, denied=3), exposed(alerts=40, denied=4))

    assert found.grown("alerts_total") == 40
    assert found.grown("refused_total", reason="denied") == 1
    assert found.fallen == (Series("alerts_total"),)


def test_another_process_is_a_restart_even_where_its_counters_have_passed_the_old_ones() -> None:
    born = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds "
    found = delta(exposed(alerts=10) + f"{born}1.0\n", exposed(alerts=40) + f"{born}2.0\n")

    assert found.restarted
    assert found.grown("alerts_total") == 40


def test_openmetrics_with_exemplars_says_the_same() -> None:
    registry = CollectorRegistry()
    Counter("alerts", "Alerts.", registry=registry).inc(3)
    histogram = Histogram("took_seconds", "Took.", registry=registry, buckets=BOUNDS)
    histogram.observe(0.3, {"trace_id": "a # b"})
    plain = generate_latest(registry).decode()
    richer = openmetrics.generate_latest(registry).decode()

    assert "# {trace_id" in richer
    assert parse(richer).page == parse(plain).page
    assert delta(richer, richer).histograms[0].series.name == "took_seconds"


@pytest.mark.parametrize("text", ["", "<html>\n<p>404</p>", "# HELP a b\n", '{"a": 1}', "alerts_total three"])
def test_what_is_no_exposition_is_refused(text: str) -> None:
    with pytest.raises(NotAnExposition):
        parse(text)


# --- what people and scripts see


def test_the_table_shows_what_moved_and_counts_what_did_not() -> None:
    said = table.render(delta(exposed(alerts=5, took=(0.02,)), exposed(alerts=1234, took=(0.02, 0.3, 0.4))))

    assert "4 families over 10.0 s" in said
    assert any(line.split() == ["alerts_total", "1,229", "122.9"] for line in said.splitlines())
    assert any('route="/v1"' in line and "350 ms" in line for line in said.splitlines())
    assert "refused_total" not in said
    assert "3 series stayed as they were" in said
    assert "refused_total" in table.render(delta(exposed(), exposed()), everything=True)


def test_without_a_time_there_are_no_rates() -> None:
    found = delta(exposed(), exposed(alerts=3), seconds=None)

    assert any(line.split() == ["alerts_total", "3", "–"] for line in table.render(found).splitlines())
    assert table.to_json(found)["counters"][0]["rate"] is None


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before.prom", tmp_path / "after.prom"
    before.write_text(exposed(alerts=5))
    after.write_text(exposed(alerts=25, took=(0.3,)))
    os.utime(before, (1000, 1000))
    os.utime(after, (1040, 1040))
    return before, after


def test_the_script_takes_rates_from_the_times_of_the_files(files: tuple[Path, Path]) -> None:
    done = script(*files, "--output", "json")
    found: dict[str, Any] = json.loads(done.stdout)

    assert done.returncode == 0
    assert found["seconds"] == 40
    assert {one["name"]: one["rate"] for one in found["counters"]}["alerts_total"] == 0.5
    assert found["histograms"][0]["p95"] == pytest.approx(0.48)
    lines = script(*files, "--seconds", "10").stdout.splitlines()
    assert ["alerts_total", "20", "2.000"] in [line.split() for line in lines]


def test_the_script_says_a_restart_and_ends_with_1(files: tuple[Path, Path]) -> None:
    done = script(files[1], files[0], "--seconds", "10")

    assert done.returncode == 1
    assert "STARTED ANEW" in done.stdout
    assert "Counters that went back: alerts_total, took_seconds" in done.stdout


def test_the_script_refuses_what_it_cannot_read_with_2(files: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>")

    for wrong, reason in (
        (tmp_path / "gone", "No such file"),
        (page, "not an exposition"),
        (tmp_path, "directory"),
    ):
        done = script(files[0], wrong)
        assert done.returncode == 2
        assert f"{wrong}: " in done.stderr
        assert reason in done.stderr
    assert script(files[0]).returncode == 2


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(exposed(alerts=100).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_the_script_asks_an_address(files: tuple[Path, Path], address: str) -> None:
    done = script(files[0], f"{address}/metrics", "--output", "json")

    assert done.returncode == 0, done.stderr
    assert {one["name"]: one["growth"] for one in json.loads(done.stdout)["counters"]}["alerts_total"] == 95
    done = script(files[0], f"{address}/nothing")
    assert (done.returncode, "404" in done.stderr or "Not Found" in done.stderr) == (2, True)


def test_quantiles_are_those_that_prometheus_itself_finds(promtool: Path, tmp_path: Path) -> None:
    draws = random.Random(5)
    series, expected = [], []
    for number in range(40):
        values = [draws.expovariate(draws.choice((0.5, 3.0, 30.0))) for _ in range(draws.randrange(1, 60))]
        buckets, share = buckets_of(values), draws.choice((0.01, 0.5, 0.9, 0.95, 0.99, 1.0))
        for bound, count in buckets.items():
            le = "+Inf" if math.isinf(bound) else bound
            series.append({"series": f'took_bucket{{le="{le}",case="{number}"}}', "values": f"{count:g}"})
        query = f'histogram_quantile({share}, took_bucket{{case="{number}"}})'
        found = {"labels": f'{{case="{number}"}}', "value": histogram_quantile(share, buckets)}
        expected.append({"expr": query, "eval_time": "0s", "exp_samples": [found]})
    rules = tmp_path / "quantiles.json"
    rules.write_text(json.dumps({"tests": [{"input_series": series, "promql_expr_test": expected}]}))

    done = subprocess.run(
        [promtool, "test", "rules", rules], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
