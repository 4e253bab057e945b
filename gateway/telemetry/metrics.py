"""Every metric of the gateway, made once, in a registry that is handed in.

The names and labels are a contract: dashboards and alert rules use them. A metric with labels is a mapping
from label value to instrument (`metrics.crds_created["immediate"].inc()`): the values known beforehand exist
from the start, so that a rate over them starts at zero, and the hot path pays for a dictionary look-up and an
addition. No label ever takes a value that a sender can choose freely.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.telemetry.tallies import Spreads, Tallies, Tally

# One `_created` sample beside each counter would double the text and tells what a restart tells already.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

Instrument = TypeVar("Instrument")
Made_co = TypeVar("Made_co", covariant=True)

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ADMISSION_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
OUTAGE_SECONDS: Final = (1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


class Labelled(Protocol[Made_co]):
    """A metric with labels."""

    def labels(self, *values: str) -> Made_co:
        """Its instrument for these label values."""


class ByLabel(dict[str, Instrument], Generic[Instrument]):
    """The instruments of a metric with one label, by its value; made when first asked for, then kept."""

    def __init__(self, metric: Labelled[Instrument], known: Iterable[str] = ()) -> None:
        super().__init__()
        self._metric = metric
        for value in known:
            self[value]  # creates it

    def __missing__(self, value: str) -> Instrument:
        made = self[value] = self._metric.labels(value)
        return made


class ByLabels(dict[tuple[str, ...], Instrument], Generic[Instrument]):
    """The instruments of a metric with several labels, by the tuple of their values in the metric's order."""

    def __init__(self, metric: Labelled[Instrument]) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, values: tuple[str, ...]) -> Instrument:
        made = self[values] = self._metric.labels(*values)
        return made


class Metrics:
    """All instruments. An attribute's name is the metric's without `gateway_` and `_total`."""

    def __init__(self, registry: CollectorRegistry) -> None:  # noqa: PLR0915 - a statement a metric
        self.registry: Final = registry

        def counter(name: str, text: str) -> Counter:
            return Counter(f"gateway_{name}_total", text, registry=registry)

        def counters(name: str, text: str, label: str, known: Iterable[str] = ()) -> ByLabel[Counter]:
            return ByLabel(Counter(f"gateway_{name}_total", text, [label], registry=registry), known)

        # Of what is counted with every webhook.
        def tally(name: str, text: str) -> Tally:
            return Tallies(registry, f"gateway_{name}_total", text).labels()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"gateway_{name}", text, registry=registry)

        # What arrived. `received` = crds_created + deduplicated + resolved + denied + invalid, summed over
        # all replicas, once everything is confirmed and where no process died and no write was ambiguous.
        self.alerts_received: Final = tally(
            "alerts_received", "Alerts of webhooks that were answered 2xx, 403 or 422."
        )
        self.alerts_processed: Final = tally("alerts_processed", "Alerts accepted durably.")
        self.alerts_deduplicated: Final = counters(
            "alerts_deduplicated",
            "Alerts counted on a request that existed already, at confirmation.",
            "reason",
            ("duplicate", "storm"),
        )
        self.alerts_resolved: Final = counter("alerts_resolved", "Alerts whose outcome was resolved.")
        self.alerts_truncated: Final = counter(
            "alerts_truncated", "Alerts that the sender says it left out of a webhook (truncatedAlerts)."
        )
        self.alerts_invalid: Final = counter("alerts_invalid", "Alerts that could not be taken as they are.")
        self.policy_denials: Final = counters(
            "policy_denials", "Alerts refused by a rule of the policy.", "reason"
        )
        self.admission_duration: Final = Spreads(
            registry,
            "gateway_admission_duration_seconds",
            "From the call for admission until every alert of the webhook is durable.",
            ADMISSION_SECONDS,
        ).labels()

        # What became of it in Kubernetes.
        self.crds_created: Final = counters(
            "crds_created",
            "RemediationRequests created, at confirmation.",
            "source",
            ("immediate", "buffer_expiration", "storm", "storm_bypass", "recovery"),
        )
        self.crd_update_conflicts: Final = counter(
            "crd_update_conflicts", "Updates refused at least once because the object had changed."
        )
        self.crd_update_retry_success: Final = counter(
            "crd_update_retry_success", "Updates that passed after at least one conflict."
        )
        self.unconfirmed_alerts: Final = gauge(
            "unconfirmed_alerts", "Accepted alerts that this process has not seen in a stored request yet."
        )
        self.dead_letters: Final = counter(
            "dead_letters", "Requests set aside because the Kubernetes API will never take them as they are."
        )

        # Storm windows.
        self.storm_windows_open: Final = gauge(
            "storm_windows_open", "Windows that take members, over all replicas, as last seen."
        )
        self.storm_buffer_overflow: Final = counter(
            "storm_buffer_overflow", "Full buffers that were written before their window's end."
        )
        self.storm_buffer_bypass: Final = counters(
            "storm_buffer_bypass",
            "New alerts written as a storm at once because Redis could not hold them.",
            "reason",
            ("redis_unavailable", "redis_timeout", "redis_oom", "breaker_open"),
        )
        self.storm_buffer_expirations: Final = counter(
            "storm_buffer_expirations", "Windows that ended below their threshold."
        )
        self.storm_buffer_recovered: Final = counter(
            "storm_buffer_recovered", "Open windows of others that this process found when it started."
        )

        # Redis.
        self.dedup_fallback: Final = counters(
            "dedup_fallback",
            "Admissions written to Kubernetes directly because Redis could not take them.",
            "reason",
            ("redis_unavailable", "redis_timeout", "redis_oom", "breaker_open"),
        )
        self.redis_operation_errors: Final = counters(
            "redis_operation_errors", "Calls to Redis that failed.", "error"
        )
        self.redis_corrupt_entries: Final = counter(
            "redis_corrupt_entries", "Entries in Redis set aside because they could not be read."
        )
        self.redis_reconnect_success: Final = counter(
            "redis_reconnect_success", "Connections to Redis made again after a loss."
        )
        self.redis_pool_active_connections: Final = gauge(
            "redis_pool_active_connections", "Connections to Redis in use."
        )
        self.redis_pool_max_size: Final = gauge(
            "redis_pool_max_size", "Most connections to Redis that the pool may open."
        )

        # The Kubernetes API.
        self.k8s_api_queries: Final = counters(
            "k8s_api_queries",
            "Questions that the watched index could not answer, asked of the API.",
            "reason",
        )
        self.k8s_api_requests: Final = ByLabels(
            Counter(
                "gateway_k8s_api_requests_total",
                "Calls to the Kubernetes API; code 0 where no answer came.",
                ["verb", "code"],
                registry=registry,
            )
        )
        self.k8s_api_errors: Final = counters(
            "k8s_api_errors",
            "Calls to the Kubernetes API that failed, by HTTP status (0: no answer).",
            "status",
        )
        self.k8s_api_retry_backoff: Final = Histogram(
            "gateway_k8s_api_retry_backoff_seconds",
            "Delays before a write to the Kubernetes API is tried again.",
            buckets=BACKOFF_SECONDS,
            registry=registry,
        )
        self.k8s_api_request_queue_depth: Final = gauge(
            "k8s_api_request_queue_depth", "Requests waiting to be written to the Kubernetes API."
        )
        self.k8s_api_request_queue_max_depth: Final = gauge(
            "k8s_api_request_queue_max_depth",
            "Waiting requests from which on new ones are refused while writes fail (queue.max_depth).",
        )
        self.k8s_events: Final = counters(
            "k8s_events",
            "Events about requests, by what came of each.",
            "result",
            ("written", "dropped", "forbidden", "failed"),
        )
        self.retries: Final = counters(
            "retries", "Operations tried again.", "component", ("redis", "k8s_api", "task")
        )

        # Breakers, by what they are before.
        components = ("redis", "k8s_api")
        self.circuit_breaker_state: Final = ByLabel(
            Gauge(
                "gateway_circuit_breaker_state",
                "0 closed, 1 open, 2 half-open.",
                ["component"],
                registry=registry,
            ),
            components,
        )
        self.circuit_breaker_state_changes: Final = counters(
            "circuit_breaker_state_changes", "Changes of a breaker's state.", "component", components
        )
        self.breaker_fastfail: Final = counters(
            "breaker_fastfail",
            "Calls that were not tried because a breaker was open.",
            "component",
            components,
        )
        self.recovery_duration: Final = ByLabel(
            Histogram(
                "gateway_recovery_duration_seconds",
                "From a breaker's opening until it was closed again.",
                ["component"],
                buckets=OUTAGE_SECONDS,
                registry=registry,
            ),
            components,
        )
        self.fallback_active: Final = gauge(
            "fallback_active", "1 while alerts are written to Kubernetes directly because Redis fails."
        )
        self.fallback_duration: Final = Histogram(
            "gateway_fallback_duration_seconds",
            "How long alerts were written to Kubernetes directly, each time, once it is over.",
            buckets=OUTAGE_SECONDS,
            registry=registry,
        )

        # The service itself.
        self.requests: Final = ByLabels(
            Tallies(
                registry,
                "gateway_requests_total",
                "HTTP requests answered; code 499 where the client left before the answer.",
                ["route", "method", "code"],
            )
        )
        self.request_duration: Final = ByLabel(
            Spreads(
                registry,
                "gateway_request_duration_seconds",
                "From the request's headers until its answer was ready.",
                REQUEST_SECONDS,
                ["route"],
            )
        )
        self.faults_injected: Final = ByLabels(
            Counter(
                "gateway_faults_injected_total",
                "Calls and answers that were made to fail on purpose, for a rehearsal.",
                ["target", "mode"],
                registry=registry,
            )
        )
        self.token_validations: Final = ByLabel(
            Tallies(
                registry,
                "gateway_token_validations_total",
                "Requests whose credentials were checked, by what came of it.",
                ["result"],
            ),
            (
                "valid",
                "missing",
                "malformed",
                "invalid",
                "bad_algorithm",
                "bad_signature",
                "wrong_issuer",
                "wrong_audience",
                "not_yet_valid",
                "expired",
                "forbidden",
                "unavailable",
                "revoked",
            ),
        )
        self.token_generations: Final = counter(
            "token_generations", "Tokens issued since this process began, by whichever command."
        )
        self.token_expirations: Final = counter("token_expirations", "Credentials refused as expired.")
        self.rate_limited: Final = counters(
            "rate_limited",
            "Webhooks refused because their sender, its address or a namespace had its share.",
            "scope",
            ("identity", "source", "namespace"),
        )
        self.errors: Final = counters("errors", "Errors answered or met in the background.", "type")
        self.spans: Final = counters(
            "spans", "Spans of traces, by what came of each.", "result", ("exported", "dropped", "failed")
        )
        self.event_loop_lag: Final = gauge(
            "event_loop_lag_seconds", "Longest delay of the event loop within the last 15 seconds."
        )
        self.tasks: Final = gauge("tasks", "Tasks of the event loop that are not done.")
        self.open_connections: Final = gauge("open_connections", "Connections of senders that are open.")
        self._build_info: Final = Gauge(
            "gateway_build_info",
            "Always 1; what runs is in the labels.",
            ["version", "python"],
            registry=registry,
        )

    def build(self, version: str) -> None:
        """Say which version of the gateway runs."""
        self._build_info.labels(version, platform.python_version()).set(1)


def total(*counters: Counter | Tally) -> int:
    """What counters have counted, together."""
    return int(sum(_counted(one) for one in counters))


def _counted(counter: Counter | Tally) -> float:
    if isinstance(counter, Tally):
        return counter.count
    return sum(sample.value for metric in counter.collect() for sample in metric.samples)


def follow(gauge: Gauge, read: Callable[[], float]) -> None:
    """Let a gauge ask for its value when it is scraped. `read` must be quick and must not raise."""
    gauge.set_function(read)
