from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.telemetry.exposition import expose
from gateway.telemetry.metrics import Metrics, follow, total

COUNTERS = {
    "gateway_alerts_received_total": (),
    "gateway_alerts_processed_total": (),
    "gateway_alerts_deduplicated_total": ("reason",),
    "gateway_alerts_resolved_total": (),
    "gateway_alerts_truncated_total": (),
    "gateway_alerts_invalid_total": (),
    "gateway_policy_denials_total": ("reason",),
    "gateway_rate_limited_total": ("scope",),
    "gateway_crds_created_total": ("source",),
    "gateway_dedup_fallback_total": ("reason",),
    "gateway_redis_operation_errors_total": ("error",),
    "gateway_redis_reconnect_success_total": (),
    "gateway_redis_corrupt_entries_total": (),
    "gateway_k8s_api_queries_total": ("reason",),
    "gateway_k8s_api_requests_total": ("verb", "code"),
    "gateway_k8s_api_errors_total": ("status",),
    "gateway_k8s_events_total": ("result",),
    "gateway_storm_buffer_bypass_total": ("reason",),
    "gateway_storm_buffer_expirations_total": (),
    "gateway_storm_buffer_overflow_total": (),
    "gateway_storm_buffer_recovered_total": (),
    "gateway_retries_total": ("component",),
    "gateway_circuit_breaker_state_changes_total": ("component",),
    "gateway_breaker_fastfail_total": ("component",),
    "gateway_crd_update_conflicts_total": (),
    "gateway_crd_update_retry_success_total": (),
    "gateway_dead_letters_total": (),
    "gateway_requests_total": ("route", "method", "code"),
    "gateway_token_validations_total": ("result",),
    "gateway_token_expirations_total": (),
    "gateway_token_generations_total": (),
    "gateway_faults_injected_total": ("target", "mode"),
    "gateway_spans_total": ("result",),
    "gateway_errors_total": ("type",),
}
GAUGES = {
    "gateway_storm_windows_open",
    "gateway_circuit_breaker_state",
    "gateway_fallback_active",
    "gateway_k8s_api_request_queue_depth",
    "gateway_k8s_api_request_queue_max_depth",
    "gateway_unconfirmed_alerts",
    "gateway_redis_pool_active_connections",
    "gateway_redis_pool_max_size",
    "gateway_event_loop_lag_seconds",
    "gateway_open_connections",
    "gateway_tasks",
    "gateway_build_info",
}
HISTOGRAMS = {
    "gateway_recovery_duration_seconds",
    "gateway_fallback_duration_seconds",
    "gateway_k8s_api_retry_backoff_seconds",
    "gateway_request_duration_seconds",
    "gateway_admission_duration_seconds",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def test_names_types_and_labels_are_those_that_dashboards_rely_on(metrics: Metrics) -> None:
    described = {
        (family.name + "_total" if family.type == "counter" else family.name): family.type
        for family in metrics.registry.collect()
    }
    assert {name for name, kind in described.items() if kind == "counter"} == set(COUNTERS)
    assert {name for name, kind in described.items() if kind == "gauge"} == GAUGES
    assert {name for name, kind in described.items() if kind == "histogram"} == HISTOGRAMS


def test_labels_have_the_names_of_the_contract(metrics: Metrics) -> None:
    metrics.policy_denials["a"].inc()
    metrics.redis_operation_errors["timeout"].inc()
    metrics.k8s_api_queries["fallback"].inc()
    metrics.k8s_api_requests["get", "200"].inc()
    metrics.k8s_api_errors["500"].inc()
    metrics.requests["/healthz", "GET", "200"].inc()
    metrics.errors["internal"].inc()
    metrics.faults_injected["redis", "oom"].inc()
    seen = {
        sample.name: tuple(sample.labels)
        for family in metrics.registry.collect()
        for sample in family.samples
        if family.type == "counter"
    }
    assert seen == COUNTERS


def test_known_label_values_exist_before_anything_happened(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    for source in ("immediate", "buffer_expiration", "storm", "storm_bypass", "recovery"):
        assert value("gateway_crds_created_total", {"source": source}) == 0
    for reason in ("redis_unavailable", "redis_timeout", "redis_oom", "breaker_open"):
        assert value("gateway_dedup_fallback_total", {"reason": reason}) == 0
    for component in ("redis", "k8s_api"):
        assert value("gateway_circuit_breaker_state", {"component": component}) == 0
        assert value("gateway_breaker_fastfail_total", {"component": component}) == 0


def test_an_instrument_is_made_once_a_label_value(metrics: Metrics) -> None:
    assert metrics.errors["x"] is metrics.errors["x"]
    assert metrics.requests["/a", "GET", "200"] is metrics.requests["/a", "GET", "200"]


def test_a_followed_gauge_is_read_when_it_is_scraped(metrics: Metrics) -> None:
    level = 3.0
    follow(metrics.unconfirmed_alerts, lambda: level)
    assert metrics.registry.get_sample_value("gateway_unconfirmed_alerts") == 3.0
    level = 4.0
    assert metrics.registry.get_sample_value("gateway_unconfirmed_alerts") == 4.0


def test_two_gateways_in_one_process_count_apart() -> None:
    one, two = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.alerts_received.inc()
    assert two.registry.get_sample_value("gateway_alerts_received_total") == 0


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,"
                "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
            ),
            True,
        ),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("application/openmetrics-text;version=x.y\x85;q=1", True),
        (",;,=;q=", False),
    ],
)
def test_the_scraper_gets_the_format_that_it_prefers(
    metrics: Metrics, accept: str, openmetrics: bool
) -> None:
    metrics.build("1.2.3")
    metrics.alerts_received.inc(5)
    body, content_type = expose(metrics.registry, accept)
    text = body.decode()
    assert content_type.startswith(
        "application/openmetrics-text" if openmetrics else "text/plain; version=0.0.4"
    )
    families = {family.name: family for family in (parse_openmetrics if openmetrics else parse_text)(text)}
    assert families["gateway_alerts_received"].samples[0].value == 5
    assert "gateway_alerts_received_created" not in text


def test_counters_can_be_read_together(metrics: Metrics) -> None:
    metrics.alerts_deduplicated["duplicate"].inc(3)
    metrics.alerts_deduplicated["storm"].inc(4)
    metrics.alerts_received.inc()
    assert total(*metrics.alerts_deduplicated.values()) == 7
    assert (total(metrics.alerts_received), total(metrics.alerts_invalid), total()) == (1, 0, 0)
