"""Every error of the redis library in the project's own words, and whether the call may have been performed.

`StoreRefused` means that Redis certainly did not perform the call; `StoreUnsure` that it may have. What was never
sent is refused. What was sent and failed is unsure, unless the answer is one that Redis gives *instead of* performing
a command. Within a script, Redis refuses for want of memory, for being a replica, or for not being able to persist or
replicate at the first write only: then nothing was changed, either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from redis import exceptions as redis_errors

from gateway.errors import StoreError, StoreRefused, StoreUnsure

_FAMILIES: tuple[tuple[type[BaseException], str], ...] = (
    (redis_errors.OutOfMemoryError, "oom"),
    (redis_errors.ReadOnlyError, "readonly"),
    (redis_errors.BusyLoadingError, "loading"),
    (redis_errors.NoScriptError, "noscript"),
    (redis_errors.AuthenticationError, "auth"),
    (redis_errors.AuthorizationError, "auth"),
    (redis_errors.MasterDownError, "masterdown"),
    (redis_errors.ClusterDownError, "clusterdown"),
    (redis_errors.ClusterCrossSlotError, "moved"),
    (redis_errors.TryAgainError, "tryagain"),
    (redis_errors.AskError, "moved"),  # and MovedError, which is one
)
"""Answers instead of performing a command. The first family that fits gives the kind."""

_CODES: Mapping[str, str] = {
    "BUSY": "busy",
    "LOADING": "loading",
    "MASTERDOWN": "masterdown",
    "NOAUTH": "auth",
    "WRONGPASS": "auth",
    "CLUSTERDOWN": "clusterdown",
}
"""The same, as the first word of an answer that the library has no class for."""

_AT_THE_FIRST_WRITE: Mapping[str, str] = {
    "OOM": "oom",
    "READONLY": "readonly",
    "MISCONF": "misconf",
    "NOREPLICAS": "noreplicas",
}
_WITHIN_A_SCRIPT = re.compile(rf"(?:^|[\s:])-?({'|'.join(_AT_THE_FIRST_WRITE)}) ")

KINDS = frozenset(
    {kind for _, kind in _FAMILIES}
    | set(_CODES.values())
    | set(_AT_THE_FIRST_WRITE.values())
    | {"timeout", "connection", "response", "pool", "breaker_open"}
)
"""Every kind of failure: values of the metrics' label `error`."""


def translate(error: BaseException, *, sent: bool = True) -> StoreError:
    """The project's own error for one of the library's, or of the network's. `sent`: the call left this process."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, redis_errors.NoPermissionError):
        # A script that was performed half may have met a command that it may not call.
        sure = not sent or "script" not in str(error)
        return (StoreRefused if sure else StoreUnsure)(
            f"Redis forbids the call: {_brief(error)}", kind="auth"
        )
    if kind := _refusal(error):
        return StoreRefused(f"Redis refused the call ({kind}): {_brief(error)}", kind=kind)
    failure = StoreUnsure if sent else StoreRefused
    if isinstance(error, redis_errors.ResponseError):
        return failure(f"Redis answered with an error: {_brief(error)}", kind="response")
    if isinstance(error, TimeoutError | redis_errors.TimeoutError):
        return failure(f"Redis did not answer in time: {_brief(error)}", kind="timeout")
    if sent:
        return StoreUnsure(f"The connection to Redis failed: {_brief(error)}", kind="connection")
    return StoreRefused(f"Redis cannot be reached: {_brief(error)}", kind="connection")


def _refusal(error: BaseException) -> str | None:
    for family, meant in _FAMILIES:
        if isinstance(error, family):
            return meant
    if not isinstance(error, redis_errors.ResponseError):
        return None
    text = str(error)
    if kind := _CODES.get(text.partition(" ")[0].lstrip("-")):
        return kind
    found = _WITHIN_A_SCRIPT.search(text)
    return _AT_THE_FIRST_WRITE[found[1]] if found else None


def _brief(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]
