"""Every reason of a problem: its status, and when it is met. What is not here is described nowhere; a test notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.web.problems import Reason


@dataclass(frozen=True, slots=True)
class Kind:
    """How a reason is answered."""

    status: int
    when: str
    """Ends the sentence "refused because …"."""
    passes: bool = False
    """The same request may be served later: `Retry-After` says when."""
    to_alertmanager: int | None = None
    """The status for Alertmanager, where it would take the other one for a refusal for good."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that the reason is answered with."""
        return (self.status,) if self.to_alertmanager is None else (self.status, self.to_alertmanager)


KINDS: Final[Mapping[Reason, Kind]] = {
    Reason.BAD_HTTP: Kind(400, "it is no valid HTTP request, or its body does not match its encoding"),
    Reason.HEADERS_TOO_LARGE: Kind(
        431, "its headers are larger than `server.max_header_size`, or more than `server.max_header_count`"
    ),
    Reason.MALFORMED_BODY: Kind(400, "its body is not UTF-8, not JSON, or no object"),
    Reason.PARAMETER: Kind(400, "a parameter of its path is malformed"),
    Reason.UNAUTHENTICATED: Kind(401, "it shows no credential that is valid"),
    Reason.FORBIDDEN: Kind(403, "its sender is known and may not use the gateway"),
    Reason.DENIED: Kind(403, "the policy denies its alerts, and nothing else in it was accepted"),
    Reason.NOT_FOUND: Kind(404, "nothing is there"),
    Reason.METHOD: Kind(405, "the path does not take the method; `Allow` names those that it takes"),
    Reason.TOO_LARGE: Kind(413, "its body is larger than `server.max_body`"),
    Reason.MEDIA_TYPE: Kind(415, "its body is no JSON in UTF-8, or compressed otherwise than with gzip"),
    Reason.EXPECTATION: Kind(417, "it expects something else than `100-continue`"),
    Reason.UNPROCESSABLE: Kind(422, "its body is of the wrong shape, or every alert in it is invalid"),
    Reason.RATE_LIMITED: Kind(
        429,
        "its sender, address or namespace has had its share (`rate_limit`); Alertmanager is told 503 instead",
        passes=True,
        to_alertmanager=503,
    ),
    Reason.INTERNAL: Kind(
        500, "of an error within the gateway, which its log describes under the request id"
    ),
    Reason.NOT_DURABLE: Kind(503, "neither Redis nor Kubernetes took every alert", passes=True),
    Reason.OVERLOADED: Kind(503, "a bound of what is processed or waits is reached", passes=True),
    Reason.CONNECTIONS: Kind(503, "every connection that there may be is at work", passes=True),
    Reason.TIMEOUT: Kind(
        503,
        "it took longer than `server.request_timeout`, or its headers than `server.header_timeout`",
        passes=True,
    ),
    Reason.DEPENDENCY: Kind(
        503, "Redis, Kubernetes or an issuer, which it needs, does not answer", passes=True
    ),
    Reason.STOPPING: Kind(503, "the gateway is stopping", passes=True),
    Reason.NOT_READY: Kind(503, "alerts cannot be accepted now", passes=True),
    Reason.INJECTED: Kind(503, "a fault is injected, for a rehearsal (`chaos.enabled`)", passes=True),
}

EVERYWHERE: Final = frozenset(
    {
        Reason.BAD_HTTP,
        Reason.HEADERS_TOO_LARGE,
        Reason.MEDIA_TYPE,
        Reason.INTERNAL,
        Reason.CONNECTIONS,
        Reason.TIMEOUT,
    }
)
"""What any request may be answered."""

GUARDED: Final = frozenset({Reason.TOO_LARGE, Reason.STOPPING})
"""What every route but public ones may answer …"""

IDENTIFIED: Final = frozenset({Reason.UNAUTHENTICATED, Reason.FORBIDDEN, Reason.DEPENDENCY})
"""… and these where senders have to say who they are."""
