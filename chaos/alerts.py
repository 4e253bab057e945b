"""The alerts that are sent: of Alertmanager's form, and told apart by what the oracle reads in them again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]


class Key(NamedTuple):
    """What makes two alerts the same problem to the oracle: their labels, and no hash of anybody's."""

    namespace: str
    name: str
    pod: str

    @classmethod
    def of(cls, labels: Json) -> Key:
        """The key of an alert with these labels."""
        return cls(labels.get("namespace", ""), labels.get("alertname", ""), labels.get("pod", ""))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with one pod, and that an alert says."""

    namespace: str
    name: str
    """The label `alertname`."""
    pod: str
    severity: str = "critical"
    begun: float = 0.0
    """Wall time in seconds; 0 is when it was first asked for as an alert."""

    @property
    def labels(self) -> dict[str, str]:
        return {
            "alertname": self.name,
            "namespace": self.namespace,
            "pod": self.pod,
            "severity": self.severity,
        }

    @property
    def annotations(self) -> dict[str, str]:
        return {"summary": f"{self.name} on {self.pod}"}

    def alert(self, *, ended: float | None = None) -> Json:
        """The firing alert, or the resolved one where it ended at some wall time."""
        return {
            "status": "firing" if ended is None else "resolved",
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": stamp(self.begun or time.time()),
            "endsAt": "0001-01-01T00:00:00Z" if ended is None else stamp(ended),
            "generatorURL": "http://prometheus.example/graph",
        }


def webhook(problems: Iterable[Problem], *, ended: float | None = None) -> bytes:
    """A body of version 4 with one alert for each problem: firing, or ended at some wall time."""
    alerts = [problem.alert(ended=ended) for problem in problems]
    status = "firing" if ended is None else "resolved"
    return json.dumps({"version": "4", "status": status, "receiver": "chaos", "alerts": alerts}).encode()


def stamp(seconds: float) -> str:
    """A wall time as Alertmanager and the log of what was sent write it: UTC, fixed width, so that times compare."""
    whole, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:06d}Z"
