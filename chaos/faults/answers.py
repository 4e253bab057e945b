"""The API server's refusals, as it writes them, with nothing that tells an injected one from a real one.

Shapes follow k8s.io/apimachinery (`pkg/api/errors`) and, for the 429, the filter that limits requests in flight
(k8s.io/apiserver, `pkg/server/filters/maxinflight.go`), which answers in plain text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from chaos.faults.asked import Asked
from chaos.faults.rules import Fault, Rule


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the API, injected or kept."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def injected(rule: Rule, asked: Asked, body: bytes) -> Answer:
    """What a rule answers; `body` is the request's. Raises `LookupError` for a fault that is no answer."""
    headers = [] if rule.retry_after is None else [("Retry-After", str(rule.retry_after))]
    if rule.fault is Fault.THROTTLED:
        headers += [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
        return Answer(429, headers, b"Too many requests, please try again later.\n")
    if rule.fault is Fault.CONFLICT:
        status = _conflict(asked, body)
    elif rule.fault is Fault.ERROR:
        cause = "etcdserver: request timed out"
        status = _status(
            500, "InternalError", f"Internal error occurred: {cause}", {"causes": [{"message": cause}]}
        )
    elif rule.fault is Fault.UNAVAILABLE:
        details = {} if rule.retry_after is None else {"retryAfterSeconds": rule.retry_after}
        message = "the server is currently unable to handle the request"
        status = _status(503, "ServiceUnavailable", message, details)
    else:
        raise LookupError(f"{rule.fault.value} is no answer")
    headers.append(("Content-Type", "application/json"))
    return Answer(status["code"], headers, json.dumps(status, separators=(",", ":")).encode() + b"\n")


def _conflict(asked: Asked, body: bytes) -> dict[str, Any]:
    # A create names its object in its body only.
    name = asked.name or _name_within(body)
    what = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    message = (
        f'Operation cannot be fulfilled on {what} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    about = {"name": name, "group": asked.group, "kind": asked.resource}
    return _status(409, "Conflict", message, {key: value for key, value in about.items() if value})


def _status(code: int, reason: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": message, "reason": reason}
    if details:
        status["details"] = details
    return status | {"code": code}


def _name_within(body: bytes) -> str:
    try:
        name = json.loads(body)["metadata"]["name"]
    except (ValueError, LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
