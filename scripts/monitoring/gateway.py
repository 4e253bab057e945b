"""The dashboard *gateway*: is it taking alerts, how quickly, what becomes of them, and what keeps it from that?"""

from __future__ import annotations

from typing import Final

from scripts.monitoring.objectives import WEBHOOKS
from scripts.monitoring.panels import Dashboard, Panel, Query, Row

HERE: Final = 'instance=~"$instance"'
STATES: Final = ((0, "closed", "green"), (1, "open", "red"), (2, "half-open", "orange"))


def rate(metric: str, matchers: str = "", by: str = "") -> str:
    """The rate of a counter over the chosen replicas."""
    chosen = f"{HERE}, {matchers}" if matchers else HERE
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{chosen}}}[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    """A ratio that is 0 where the part never happened, and absent where the whole did not."""
    return f"({part} or vector(0)) / ({whole} > 0)"


def quantile(number: float, metric: str, by: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({number}, {rate(f'{metric}_bucket', by=grouped)})"


def shown(function: str, metric: str, by: str = "", matchers: str = "") -> str:
    """A gauge, put together over the chosen replicas."""
    chosen = f"{HERE}, {matchers}" if matchers else HERE
    grouped = f" by ({by})" if by else ""
    return f"{function}{grouped} ({metric}{{{chosen}}})"


CREATED: Final = rate("gateway_crds_created_total")
COUNTED: Final = rate("gateway_alerts_deduplicated_total")

TRAFFIC: Final = Row(
    "Traffic",
    [
        Panel(
            "What becomes of the alerts?",
            "Alerts a second by outcome. Created and counted ones show when Kubernetes has them: an alert that is "
            "held in a storm window shows when the window ends.",
            [
                Query(rate("gateway_crds_created_total", by="source"), "created: {{source}}"),
                Query(rate("gateway_alerts_deduplicated_total", by="reason"), "counted: {{reason}}"),
                Query(rate("gateway_alerts_resolved_total"), "resolved"),
                Query(rate("gateway_policy_denials_total"), "denied"),
                Query(rate("gateway_alerts_invalid_total"), "invalid"),
            ],
            unit="cps",
        ),
        Panel(
            "How much comes in, and is it all taken?",
            "Alerts of answered webhooks beside those that are durable. The two differ by what was denied, invalid "
            "or resolved, and by nothing else.",
            [
                Query(rate("gateway_alerts_received_total"), "received"),
                Query(rate("gateway_alerts_processed_total"), "durable"),
            ],
            unit="cps",
        ),
        Panel(
            "Which share of the webhooks succeeds?",
            "Webhooks that were not answered with 5xx. The objective is 99.9 %. A sender repeats what got 503, so a "
            "dip means late alerts; only a dip that lasts longer than Alertmanager tries means lost ones.",
            [
                Query(
                    "1 - "
                    + share(
                        rate("gateway_requests_total", f'{WEBHOOKS}, code=~"5.."'),
                        rate("gateway_requests_total", WEBHOOKS),
                    ),
                    "succeeded",
                )
            ],
            kind="stat",
            unit="percentunit",
        ),
    ],
)

SPEED: Final = Row(
    "Speed and errors",
    [
        Panel(
            "How long until an alert is durable?",
            "From the call for admission until Redis or Kubernetes has every alert of the webhook. The objectives: "
            "p95 below 50 ms, p99 below 100 ms.",
            [
                Query(quantile(q, "gateway_admission_duration_seconds"), f"p{q * 100:g}")
                for q in (0.5, 0.95, 0.99)
            ],
            unit="s",
            thresholds=[(0.05, "orange"), (0.1, "red")],
        ),
        Panel(
            "How long does a sender wait for its answer?",
            "All routes; webhooks wait up to server.ack_wait for their new requests, so that is no measure of load.",
            [Query(quantile(0.95, "gateway_request_duration_seconds", by="route"), "p95 {{route}}")],
            unit="s",
        ),
        Panel(
            "Which errors are there?",
            "Errors answered and errors met in the background, by type. internal, admission, direct_write, reconcile "
            "and task are bugs: the log has the traceback.",
            [
                Query(rate("gateway_errors_total", by="type"), "{{type}}"),
                Query(rate("gateway_requests_total", 'code=~"5.."', by="code"), "answered {{code}}"),
            ],
            unit="cps",
        ),
        Panel(
            "How fast is the error budget used up?",
            "1 uses it up in exactly 30 days; from 14.4 on somebody is called. By objective, over the last hour and "
            "the last five minutes.",
            [
                Query("gateway:availability_errors:ratio_rate1h / 0.001", "availability, 1 h"),
                Query("gateway:availability_errors:ratio_rate5m / 0.001", "availability, 5 min"),
                Query("gateway:latency_p95_misses:ratio_rate1h / 0.05", "p95 < 50 ms, 1 h"),
                Query("gateway:latency_p99_misses:ratio_rate1h / 0.01", "p99 < 100 ms, 1 h"),
            ],
            thresholds=[(1, "orange"), (14.4, "red")],
        ),
    ],
)

DEDUPLICATION: Final = Row(
    "Deduplication and storms",
    [
        Panel(
            "How many alerts needed no request of their own?",
            "Counted ones over all confirmed ones: what deduplication and storm windows save. It falls when many "
            "different problems begin, and that is no fault.",
            [Query(share(COUNTED, f"({CREATED} + {COUNTED})"), "deduplication ratio")],
            unit="percentunit",
        ),
        Panel(
            "Is there a storm?",
            "Windows that collect now, as last seen by any replica, and windows that ended below their threshold.",
            [
                Query(shown("max", "gateway_storm_windows_open"), "open windows"),
                Query(rate("gateway_storm_buffer_expirations_total"), "expired a second"),
                Query(rate("gateway_storm_buffer_recovered_total"), "found at a start"),
            ],
        ),
        Panel(
            "Do storms get past their windows?",
            "Buffers that were written early because they were full, and storms that were written at once because "
            "Redis could not hold them.",
            [
                Query(rate("gateway_storm_buffer_overflow_total"), "buffer full"),
                Query(rate("gateway_storm_buffer_bypass_total", by="reason"), "bypassed: {{reason}}"),
            ],
            unit="cps",
        ),
    ],
)

KUBERNETES: Final = Row(
    "Kubernetes",
    [
        Panel(
            "What is asked of the Kubernetes API?",
            "Calls by verb and code; code 0 is no answer.",
            [Query(rate("gateway_k8s_api_requests_total", by="verb, code"), "{{verb}} {{code}}")],
            unit="cps",
        ),
        Panel(
            "Do conflicts resolve?",
            "Updates that met a conflict, and those that passed after one. The lines should lie on each other.",
            [
                Query(rate("gateway_crd_update_conflicts_total"), "conflicts"),
                Query(rate("gateway_crd_update_retry_success_total"), "passed after a conflict"),
                Query(rate("gateway_retries_total", by="component"), "retries: {{component}}"),
            ],
            unit="cps",
        ),
        Panel(
            "What waits to be written?",
            "Requests in the work queue (all replicas see the same one), and accepted alerts that no stored request "
            "covers yet: those in storm windows count, too.",
            [
                Query(shown("max", "gateway_k8s_api_request_queue_depth"), "queued requests"),
                Query(shown("max", "gateway_k8s_api_request_queue_max_depth"), "limit of the queue"),
                Query(shown("sum", "gateway_unconfirmed_alerts"), "unconfirmed alerts"),
            ],
        ),
        Panel(
            "What does Kubernetes refuse?",
            "Failed calls by status, requests that were refused for good, and how long writes wait before they are "
            "tried again.",
            [
                Query(rate("gateway_k8s_api_errors_total", by="status"), "status {{status}}"),
                Query(rate("gateway_dead_letters_total"), "dead letters"),
                Query(rate("gateway_k8s_api_queries_total", by="reason"), "lists: {{reason}}"),
                Query(quantile(0.95, "gateway_k8s_api_retry_backoff_seconds"), "p95 of the waits, s"),
            ],
        ),
    ],
)

REDIS: Final = Row(
    "Breakers and Redis",
    [
        Panel(
            "Which breakers are open?",
            "While that of redis is open, alerts are written to Kubernetes directly; while that of k8s_api is, they "
            "wait in Redis.",
            [Query(shown("max", "gateway_circuit_breaker_state", by="component"), "{{component}}")],
            kind="state-timeline",
            words=STATES,
        ),
        Panel(
            "Is Redis bypassed, and why?",
            "Alerts that were written to Kubernetes directly, by reason; and failed calls, by kind.",
            [
                Query(rate("gateway_dedup_fallback_total", by="reason"), "fallback: {{reason}}"),
                Query(rate("gateway_redis_operation_errors_total", by="error"), "failed: {{error}}"),
                Query(shown("max", "gateway_fallback_active"), "fallback active"),
            ],
        ),
        Panel(
            "How long do outages last?",
            "The median of the time from a breaker's opening to its closing, and of the time in the fallback.",
            [
                Query(quantile(0.5, "gateway_recovery_duration_seconds", by="component"), "{{component}}"),
                Query(quantile(0.5, "gateway_fallback_duration_seconds"), "fallback"),
                Query(
                    rate("gateway_breaker_fastfail_total", by="component"),
                    "not tried a second: {{component}}",
                ),
            ],
        ),
        Panel(
            "Has Redis room, and the gateway connections to it?",
            "Memory from the Redis exporter, beside the connections in use. What does not fit is written to "
            "Kubernetes directly.",
            [
                Query("redis_memory_used_bytes", "used, bytes"),
                Query("redis_memory_max_bytes", "limit, bytes (0: none)"),
                Query(shown("sum", "gateway_redis_pool_active_connections"), "connections in use"),
                Query(shown("sum", "gateway_redis_pool_max_size"), "connections at most"),
                Query(rate("gateway_redis_reconnect_success_total"), "made again a second"),
                Query(rate("gateway_redis_corrupt_entries_total"), "entries set aside a second"),
            ],
        ),
    ],
)

SECURITY: Final = Row(
    "Security",
    [
        Panel(
            "What does the policy refuse?",
            "Denied alerts by the reason of the rule.",
            [Query(rate("gateway_policy_denials_total", by="reason"), "{{reason}}")],
            unit="cps",
        ),
        Panel(
            "Does somebody try who may not?",
            "Answers 401, 403 and 429, credentials that were not good, by what was wrong, and webhooks beyond a rate "
            "limit, by what is limited.",
            [
                Query(rate("gateway_rate_limited_total", by="scope"), "too many: {{scope}}"),
                Query(rate("gateway_requests_total", 'code=~"401|403|429"', by="code"), "answered {{code}}"),
                Query(rate("gateway_token_validations_total", 'result!="valid"', by="result"), "{{result}}"),
            ],
            unit="cps",
        ),
        Panel(
            "Are tokens issued, used, and renewed in time?",
            "Good credentials, tokens issued (every replica counts the same ones), and credentials refused as "
            "expired: their senders need new ones.",
            [
                Query(rate("gateway_token_validations_total", 'result="valid"'), "valid a second"),
                Query(shown("max", "gateway_token_generations_total"), "issued"),
                Query(rate("gateway_token_expirations_total"), "expired a second"),
            ],
        ),
        Panel(
            "Are alerts lost before they get here?",
            "Alerts that Alertmanager left out of its webhooks (max_alerts). They are gone.",
            [Query(rate("gateway_alerts_truncated_total"), "truncated")],
            unit="cps",
        ),
    ],
)

RESOURCES: Final = Row(
    "Resources",
    [
        Panel(
            "Has the process time enough?",
            "The longest delay of the event loop within 15 s, and processor time. A lag above redis.timeout looks "
            "like a slow Redis.",
            [
                Query(shown("max", "gateway_event_loop_lag_seconds", by="instance"), "lag {{instance}}"),
                Query(rate("process_cpu_seconds_total", by="instance"), "cores {{instance}}"),
            ],
        ),
        Panel(
            "Has it memory enough?",
            "Resident memory of each replica.",
            [Query(shown("max", "process_resident_memory_bytes", by="instance"), "{{instance}}")],
            unit="bytes",
        ),
        Panel(
            "Which versions run, and were they restarted?",
            "Replicas by version, the time since each started, and restarts of its container where "
            "kube-state-metrics is scraped.",
            [
                Query(shown("count", "gateway_build_info", by="version"), "replicas of {{version}}"),
                Query(f"time() - process_start_time_seconds{{{HERE}}}", "up {{instance}}, s"),
                Query(
                    'max by (pod) (kube_pod_container_status_restarts_total{container="gateway"})',
                    "restarts {{pod}}",
                ),
            ],
        ),
    ],
)

GATEWAY: Final = Dashboard(
    uid="alert-gateway",
    title="Alert gateway",
    about="Is it taking alerts, how quickly, what becomes of them, and what keeps it from that?",
    rows=[TRAFFIC, SPEED, DEDUPLICATION, KUBERNETES, REDIS, SECURITY, RESOURCES],
)
