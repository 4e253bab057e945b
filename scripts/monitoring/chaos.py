"""The dashboard *chaos*: one failure on purpose, from its injection until everything is as before."""

from __future__ import annotations

from typing import Final

from scripts.monitoring.gateway import HERE, STATES, quantile, rate, share, shown
from scripts.monitoring.objectives import JOB, WEBHOOKS
from scripts.monitoring.panels import Annotation, Dashboard, Panel, Query, Row

INJECTED: Final = rate("gateway_faults_injected_total", by="target, mode")
OPENED: Final = f"sum by (component) (changes(gateway_circuit_breaker_state{{{HERE}}}[15s])) > 0"

INJECTION: Final = Row(
    "The failure",
    [
        Panel(
            "What is made to fail, and how often?",
            "Calls and answers that an injected fault has struck. A failure from outside (a killed pod, a partition) "
            "shows in the panels below only.",
            [Query(INJECTED, "{{target}} {{mode}}")],
            unit="cps",
        ),
        Panel(
            "Who notices?",
            "The breakers: how soon one opens, and how soon after the failure it closes.",
            [Query(shown("max", "gateway_circuit_breaker_state", by="component"), "{{component}}")],
            kind="state-timeline",
            words=STATES,
        ),
        Panel(
            "Which replicas answer?",
            "1 while a replica is scraped. A killed one is missing until it is back.",
            [Query(f"up{{{JOB}}}", "{{instance}}")],
        ),
    ],
)

SENDER: Final = Row(
    "What senders see",
    [
        Panel(
            "How are webhooks answered?",
            "By code. 503 is allowed only while Redis and Kubernetes are both away, or the queue is full.",
            [Query(rate("gateway_requests_total", WEBHOOKS, by="code"), "{{code}}")],
            unit="cps",
        ),
        Panel(
            "Which share is answered with 5xx?",
            "Beside the objective of 0.1 %.",
            [
                Query(
                    share(
                        rate("gateway_requests_total", f'{WEBHOOKS}, code=~"5.."'),
                        rate("gateway_requests_total", WEBHOOKS),
                    ),
                    "5xx",
                )
            ],
            unit="percentunit",
        ),
        Panel(
            "How long until an alert is durable?",
            "While Redis is away that is a write to Kubernetes.",
            [
                Query(quantile(q, "gateway_admission_duration_seconds"), f"p{q * 100:g}")
                for q in (0.5, 0.95, 0.99)
            ],
            unit="s",
        ),
    ],
)

INSIDE: Final = Row(
    "What the gateway does about it",
    [
        Panel(
            "Which way do alerts take?",
            "Alerts that went to Kubernetes directly, by reason, beside all that are durable.",
            [
                Query(rate("gateway_dedup_fallback_total", by="reason"), "directly: {{reason}}"),
                Query(rate("gateway_alerts_processed_total"), "durable"),
            ],
            unit="cps",
        ),
        Panel(
            "What waits, and does it drain?",
            "Both rise in the failure and fall to where they were. Nothing may stay.",
            [
                Query(shown("max", "gateway_k8s_api_request_queue_depth"), "queued requests"),
                Query(shown("sum", "gateway_unconfirmed_alerts"), "unconfirmed alerts"),
                Query(shown("max", "gateway_storm_windows_open"), "open windows"),
            ],
        ),
        Panel(
            "What is tried again?",
            "Retries by component, calls that a breaker spared, and conflicts beside those that passed.",
            [
                Query(rate("gateway_retries_total", by="component"), "retries: {{component}}"),
                Query(rate("gateway_breaker_fastfail_total", by="component"), "not tried: {{component}}"),
                Query(rate("gateway_crd_update_conflicts_total"), "conflicts"),
                Query(rate("gateway_crd_update_retry_success_total"), "passed after a conflict"),
            ],
            unit="cps",
        ),
        Panel(
            "What fails?",
            "Calls to Redis by kind, calls to the Kubernetes API by status.",
            [
                Query(rate("gateway_redis_operation_errors_total", by="error"), "redis: {{error}}"),
                Query(rate("gateway_k8s_api_errors_total", by="status"), "kubernetes: {{status}}"),
            ],
            unit="cps",
        ),
    ],
)

AFTERWARDS: Final = Row(
    "Afterwards",
    [
        Panel(
            "How long did the recovery take?",
            "The slowest of the last quarter of an hour, by breaker. Promised: within 15 s of the dependency's return.",
            [
                Query(
                    "histogram_quantile(1, sum by (le, component) "
                    f"(increase(gateway_recovery_duration_seconds_bucket{{{HERE}}}[15m])))",
                    "{{component}}",
                )
            ],
            kind="stat",
            unit="s",
        ),
        Panel(
            "Do the books balance?",
            "Alerts received less those created, counted, resolved, denied and invalid: 0 once no window is open and "
            "nothing is unconfirmed, if no process died. Where one did, `gateway audit` decides.",
            [
                Query(
                    f"{shown('sum', 'gateway_alerts_received_total')}"
                    f" - {shown('sum', 'gateway_crds_created_total')}"
                    f" - {shown('sum', 'gateway_alerts_deduplicated_total')}"
                    f" - {shown('sum', 'gateway_alerts_resolved_total')}"
                    f" - ({shown('sum', 'gateway_policy_denials_total')} or vector(0))"
                    f" - {shown('sum', 'gateway_alerts_invalid_total')}",
                    "not accounted for",
                )
            ],
            kind="stat",
            thresholds=[(1, "orange")],
        ),
        Panel(
            "Was anything given up?",
            "Dead letters and errors that are bugs. Both stay as they were.",
            [
                Query(shown("sum", "gateway_dead_letters_total"), "dead letters"),
                Query(shown("sum", "gateway_errors_total", by="type"), "{{type}}"),
            ],
            kind="stat",
        ),
        Panel(
            "Did the dependencies restart or run full?",
            "Restarts from kube-state-metrics, memory from the Redis exporter.",
            [
                Query("sum by (pod) (kube_pod_container_status_restarts_total)", "restarts {{pod}}"),
                Query("redis_memory_used_bytes", "memory of Redis, bytes"),
            ],
        ),
    ],
)

CHAOS: Final = Dashboard(
    uid="alert-gateway-chaos",
    title="Alert gateway: rehearsals",
    about="One failure on purpose, from its injection until everything is as before.",
    rows=[INJECTION, SENDER, INSIDE, AFTERWARDS],
    annotations=[
        Annotation("A fault strikes", f"{INJECTED} > 0", "purple", "{{target}} {{mode}}"),
        Annotation("A breaker changes", OPENED, "red", "{{component}}"),
    ],
    refresh="5s",
    since="now-30m",
)
