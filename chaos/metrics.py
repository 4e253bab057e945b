"""A gateway's metrics as one JSON object, before a scenario and after it: what `collect-metrics.sh` writes.

    {"collected_at": "…Z", "gateways": 2, "alerts_sent": 0, "alerts_received": 0, "alerts_processed": 0,
     "circuit_breaker_activations": {"redis": 0, "k8s_api": 0}, "recovery_time_seconds": null, "metrics": {…}}

All are totals of the running processes; `validate-results.sh` compares two of them. `alerts_sent` is what the log of a
sender says, null where none was given, `recovery_time_seconds` the mean of all recoveries of a breaker so far.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from chaos.alerts import stamp
from chaos.exposition import Page, value
from chaos.sight import Sight

COMPONENTS = ("redis", "k8s_api")


def of_pages(pages: Iterable[Page], *, sent: int | None) -> dict[str, Any]:
    """The object over one page of each gateway."""
    pages = list(pages)

    def total(name: str, **labels: str) -> float:
        return sum(value(page, name, labels) for page in pages)

    recoveries = total("gateway_recovery_duration_seconds_count")
    spent = total("gateway_recovery_duration_seconds_sum")
    names = sorted({series.name for page in pages for series in page if series.name.startswith("gateway_")})
    return {
        "collected_at": stamp(time.time()),
        "gateways": len(pages),
        "alerts_sent": sent,
        "alerts_received": total("gateway_alerts_received_total"),
        "alerts_processed": total("gateway_alerts_processed_total"),
        "alerts_created": total("gateway_crds_created_total"),
        "alerts_deduplicated": total("gateway_alerts_deduplicated_total"),
        # A breaker that opens and closes again changes three times: open, half-open, closed.
        "circuit_breaker_activations": {
            one: total("gateway_recovery_duration_seconds_count", component=one)
            + sum(value(page, "gateway_circuit_breaker_state", {"component": one}) != 0 for page in pages)
            for one in COMPONENTS
        },
        "recovery_time_seconds": round(spent / recoveries, 3) if recoveries else None,
        "unconfirmed_alerts": total("gateway_unconfirmed_alerts"),
        "queue_depth": max(
            (value(page, "gateway_k8s_api_request_queue_depth") for page in pages), default=0.0
        ),
        "metrics": {name: total(name) for name in names if not name.endswith("_bucket")},
    }


def summary(sight: Sight, attempts: int, accepted: int) -> dict[str, Any]:
    """The object over what was seen last."""
    newest: dict[int, Page] = {}
    for look in sight.looks:
        if look.page is not None:
            newest[look.gateway] = look.page
    return {**of_pages(newest.values(), sent=accepted), "attempts": attempts}
