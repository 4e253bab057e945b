"""The bodies of `/v1/admin/chaos`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.resilience.faults import FaultMode, FaultTarget


class Injection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    target: FaultTarget
    mode: FaultMode
    pct: float
    """Per cent of the calls: more than 0, at most 100."""
    ttl: str
    """A duration like 5m, at most an hour: then it ends by itself."""
    delay: str | None = None
    """A duration like 500ms, at most a minute: by how much what is struck is late. latency and jitter need it."""


class ActiveFault(msgspec.Struct, frozen=True, rename="camel"):
    """A fault as it is shown."""

    target: FaultTarget
    mode: FaultMode
    pct: float
    delay: str | None
    ttl: str
    by: str
    """The identity of who injected it, empty without authentication."""
    remaining_seconds: float
    calls: int
    """To the target since it was injected."""
    struck: int
    """Of them, those that the fault met."""


class Faults(msgspec.Struct, frozen=True):
    """The body of an answer to GET."""

    faults: Sequence[ActiveFault]
