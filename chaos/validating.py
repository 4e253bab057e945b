"""Two looks at a gateway's metrics, before and after, against what a scenario must have left in them.

This is what a shell script can check of a rehearsal that something else performed: counters that must have grown, and
gauges that must be back. Times, and whether anything was lost, need `python -m chaos run`, which watches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos.scenario import Scenario
from chaos.verdicts import Criterion, Limit, Verdict

Look = Mapping[str, Any]
"""What `metrics.of_pages` gives, as JSON."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A counter that must have grown by so much at least."""

    metric: str
    at_least: float = 1.0


GROWN: Mapping[str, tuple[Growth, ...]] = {
    "redis-master-failure": (
        Growth("gateway_dedup_fallback_total"),
        Growth("gateway_redis_reconnect_success_total"),
    ),
    "redis-network-partition": (
        Growth("gateway_redis_operation_errors_total"),
        Growth("gateway_k8s_api_queries_total"),
    ),
    "k8s-api-throttling": (
        Growth("gateway_k8s_api_retry_backoff_seconds_count"),
        Growth("gateway_k8s_api_errors_total", 10),
    ),
    "redis-memory-pressure": (
        Growth("gateway_storm_buffer_overflow_total"),
        Growth("gateway_storm_buffer_bypass_total"),
    ),
    "buffer-expiry-and-clock-skew": (Growth("gateway_storm_buffer_expirations_total"),),
    "concurrent-updates": (Growth("gateway_alerts_deduplicated_total", 10),),
    "gateway-pod-restart": (Growth("gateway_storm_buffer_recovered_total"),),
    "mixed-chaos": (
        Growth("gateway_policy_denials_total"),
        Growth("gateway_retries_total"),
        Growth("gateway_breaker_fastfail_total"),
        Growth("gateway_token_validations_total"),
        Growth("gateway_token_expirations_total"),
    ),
    "cascade": (Growth("gateway_redis_corrupt_entries_total"),),
}
"""Scenario → what it leaves, beside `gateway_alerts_processed_total`, which every one does."""


def validate(scenario: Scenario, baseline: Look, post: Look) -> Verdict:
    """The verdict over the two. Raises `LookupError` for looks that are none."""
    verdict = Verdict(scenario.name, scenario.number, scenario.title, scenario.proves, full=True)
    before, after = baseline["metrics"], post["metrics"]
    for growth in (Growth("gateway_alerts_processed_total"), *GROWN.get(scenario.name, ())):
        old, new = before.get(growth.metric, 0.0), after.get(growth.metric, 0.0)
        # A process that began anew counts from 0.
        grown = new - old if new >= old else new
        verdict.criteria.append(
            Criterion(f"{growth.metric} rises by", grown, Limit(at_least=growth.at_least))
        )
    for name in ("unconfirmed_alerts", "queue_depth"):
        verdict.criteria.append(Criterion(f"{name} left", post[name], Limit(exactly=0)))
    states = after.get("gateway_circuit_breaker_state", 0.0)
    verdict.criteria.append(Criterion("open breakers left", states, Limit(exactly=0)))
    if (recovery := post["recovery_time_seconds"]) is not None:
        verdict.findings.append(f"recoveries took {recovery:g} s on average")
    activations = {
        name: count - baseline["circuit_breaker_activations"].get(name, 0.0)
        for name, count in post["circuit_breaker_activations"].items()
    }
    told = ", ".join(f"{name} {count:g} times" for name, count in activations.items() if count > 0)
    if told:
        verdict.findings.append(f"breakers opened: {told}")
    return verdict
