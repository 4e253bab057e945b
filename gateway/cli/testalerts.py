"""Test alerts, and the webhooks that carry them: what `gateway send` posts, made without I/O.

A problem is a set of labels that does not change, so it keeps its fingerprint and sending it again raises a count.
The pod is what tells problems apart, as it ranks first among the labels that name a resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

NO_END = "0001-01-01T00:00:00Z"
"""What Alertmanager sends as the end of an alert that still fires."""


class TestAlert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert of a webhook, in Alertmanager's form."""

    __test__ = False  # pytest: this is no test class

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str = NO_END
    generator_url: str = msgspec.field(default="", name="generatorURL")
    fingerprint: str = ""


class Problems(msgspec.Struct, frozen=True, kw_only=True):
    """The problems of a run; all of them began at its start."""

    alertname: str
    namespace: str
    severity: str
    labels: Mapping[str, str]
    distinct: int
    """How many there are."""
    storm: bool
    """All are pods of one deployment; otherwise each has a deployment of its own."""
    starts_at: str

    def alert(self, number: int) -> TestAlert:
        """Return the alert that is sent as the `number`-th, from 0: the problems take turns."""
        at = number % self.distinct
        deployment = "demo-app" if self.storm else f"demo-app-{at}"
        labels = {
            "alertname": self.alertname,
            "namespace": self.namespace,
            "severity": self.severity,
            "deployment": deployment,
            "pod": f"{deployment}-6f7c9d5b8-{at:05}",
            **self.labels,
        }
        annotations = {
            "summary": f"{self.alertname} on {labels['pod']}",
            "description": "A test alert, sent by `gateway send`.",
        }
        return TestAlert(status="firing", labels=labels, annotations=annotations, starts_at=self.starts_at)


def resolved(alert: TestAlert, ended_at: str) -> TestAlert:
    """Return the alert as it is sent when the problem is over."""
    return msgspec.structs.replace(alert, status="resolved", ends_at=ended_at)


def webhook(alerts: Sequence[TestAlert]) -> bytes:
    """Return the body of an Alertmanager webhook, version 4."""
    first = alerts[0].labels
    common = {k: v for k, v in first.items() if all(alert.labels.get(k) == v for alert in alerts)}
    firing = any(alert.status == "firing" for alert in alerts)
    body: dict[str, Any] = {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{first["alertname"]}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "gateway-send",
        "groupLabels": {"alertname": first["alertname"]},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alerts,
    }
    return msgspec.json.encode(body)
