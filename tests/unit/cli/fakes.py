"""The other sides of the commands, scripted: a gateway, an API server that lists, an Alertmanager."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, Any]
"""Status and JSON body. A status of 0 closes the connection without an answer."""


@dataclass
class Post:
    """A webhook as it arrived."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def alerts(self) -> list[dict[str, Any]]:
        alerts: list[dict[str, Any]] = json.loads(self.body)["alerts"]
        return alerts


def fingerprint(labels: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()


def accepted(post: Post) -> Answer:
    """Take every alert."""
    verdicts = [
        {
            "fingerprint": fingerprint(alert["labels"]),
            "outcome": "resolved" if alert["status"] == "resolved" else "duplicate",
            "request": {"namespace": "default", "name": "rr-" + fingerprint(alert["labels"])[:10]},
        }
        for alert in post.alerts
    ]
    return 202, {"status": "accepted", "alerts": verdicts}


@dataclass
class FakeGateway:
    """Answers webhooks by `script`, one entry each, and with `accepted` when that is used up.

    `/v1/storms` is answered by `looks`, one entry each, and by the last of them from then on.
    """

    script: list[Answer | Callable[[Post], Answer]] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    looks: list[Answer] = field(default_factory=lambda: [(200, {"windows": []})])
    asked: list[dict[str, str]] = field(default_factory=list)
    """The headers of whoever asked for the windows."""
    url: str = ""

    def answer(self, post: Post) -> Answer:
        self.posts.append(post)
        scripted = self.script.pop(0) if self.script else accepted
        return scripted(post) if callable(scripted) else scripted

    def tell(self, path: str, headers: dict[str, str]) -> Answer:
        if path != "/v1/storms":
            return 404, {}
        self.asked.append(headers)
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def window(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A window as `/v1/storms` has it: opened 20 s ago, due in 40.6."""
    return {
        "id": f"{number}f2e3d4c5b-1",
        "group": "prod-api/PodOOMKilled",
        "state": "holding",
        "members": 2,
        "threshold": 3,
        "openedAt": "2026-01-31T09:00:00.400000000Z",
        "lastMemberAt": "2026-01-31T09:00:10.000000000Z",
        "dueAt": "2026-01-31T09:01:01.000000000Z",
        "dueIn": 40.6,
        "spilled": 0,
        **changes,
    }


@dataclass
class FakeKubernetes:
    """Lists `items`, two a page; `changes` are called before each first page, one after the other."""

    items: list[dict[str, Any]] = field(default_factory=list)
    changes: list[Callable[[], None]] = field(default_factory=list)
    expire_once: bool = False
    """Answer the next page that is not the first with 410."""
    paths: list[str] = field(default_factory=list)
    status: dict[str, Any] | None = None
    """What `/v1/status` answers, for the gateway that is on the same address."""
    kubeconfig: str = ""
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        self.paths.append(path)
        if path == "/v1/status":
            return (200, self.status) if self.status is not None else (404, {})
        start = int(query.get("continue", "0"))
        if start == 0 and self.changes:
            self.changes.pop(0)()
        if start and self.expire_once:
            self.expire_once = False
            return 410, {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        rest = len(self.items) > start + 2
        metadata = {"resourceVersion": "7"} | ({"continue": str(start + 2)} if rest else {})
        return 200, {"kind": "List", "metadata": metadata, "items": self.items[start : start + 2]}


@dataclass
class FakeAlertmanager:
    """Lists `alerts` as Alertmanager 0.31 does. `tokens` is every `Authorization` that it was shown."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""

    def answer(self, path: str) -> Any:
        if path == "/api/v2/receivers":
            return [{"name": "gateway"}, {"name": "pager"}]
        if path == "/api/v2/alerts/groups":
            return []
        return self.alerts
