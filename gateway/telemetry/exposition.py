"""The registry as text, in the format that the scraper asks for.

Prometheus offers several media types with weights. Two are spoken here: OpenMetrics 1.0.0
(https://prometheus.io/docs/specs/om/open_metrics_spec/) and the older Prometheus text format 0.0.4, which is
the answer to everything else. The choice never fails, whatever the header holds.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

OPENMETRICS: Final = "application/openmetrics-text"


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text of all metrics and its content type, for the `Accept` header of a scrape."""
    if _weight(accept, OPENMETRICS) > _weight(accept, "text/plain"):
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _weight(accept: str, wanted: str) -> float:
    """The highest q-value that the header gives the media type; 0 where it does not name it."""
    best = 0.0
    for offer in accept.split(","):
        media, *parameters = offer.split(";")
        if media.strip().lower() != wanted:
            continue
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        best = max(best, weight)
    return best
