"""Which Kubernetes resource an alert is about, by its labels."""

from __future__ import annotations

from collections.abc import Mapping

RESOURCE_LABELS = {
    "exported_pod": "Pod",
    "pod": "Pod",
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "cronjob": "CronJob",
    "job_name": "Job",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "horizontalpodautoscaler": "HorizontalPodAutoscaler",
    "node": "Node",
}
"""Label → kind, in the order in which they are asked. `job` and `service` say what was scraped, so they are
absent.
"""

_CLUSTER_WIDE = frozenset({"Node"})


def find(labels: Mapping[str, str], ignored: frozenset[str] = frozenset()) -> tuple[str, str, str] | None:
    """Return (namespace, kind, name) of the first resource that a label outside `ignored` names, else None.

    The namespace is `exported_namespace` where there is one: Prometheus renames the target's own label so
    where `namespace` is that of the exporter. A node has none.
    """
    for label, kind in RESOURCE_LABELS.items():
        name = labels.get(label)
        if name and label not in ignored:
            return "" if kind in _CLUSTER_WIDE else namespace(labels, ignored), kind, name
    return None


def namespace(labels: Mapping[str, str], ignored: frozenset[str] = frozenset()) -> str:
    """Return the namespace of what the labels name, empty where they name none."""
    for label in ("exported_namespace", "namespace"):
        value = labels.get(label)
        if value and label not in ignored:
            return value
    return ""
