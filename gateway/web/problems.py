"""Errors as the sender sees them: `application/problem+json` (RFC 9457), on every route.

A problem tells what is wrong with the request, never how the gateway works inside. Its `reason` is one word
from a small fixed set, the same in the answer, in the log and in `gateway_errors_total{type}`. The body stays
short, because Alertmanager writes it to its own log with each attempt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec

from gateway import errors
from gateway.web.text import to_json

CONTENT_TYPE: Final = "application/problem+json"
LONGEST_DETAIL: Final = 500


class Reason(StrEnum):
    """Why a request was not served."""

    BAD_HTTP = "bad_http"
    HEADERS_TOO_LARGE = "headers_too_large"
    MALFORMED_BODY = "malformed_body"
    PARAMETER = "bad_parameter"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    METHOD = "method_not_allowed"
    TOO_LARGE = "body_too_large"
    MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION = "expectation_failed"
    UNPROCESSABLE = "unprocessable"
    INTERNAL = "internal"
    NOT_DURABLE = "not_durable"
    OVERLOADED = "overloaded"
    CONNECTIONS = "too_many_connections"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    DEPENDENCY = "dependency"
    STOPPING = "stopping"
    NOT_READY = "not_ready"
    INJECTED = "injected"


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A problem as it is sent (RFC 9457)."""

    type: Literal["about:blank"] = "about:blank"
    title: str
    """What the status means."""
    status: int
    detail: str
    """What is wrong, for a person."""
    reason: Reason
    """What is wrong, in one word for a program."""
    request_id: str
    """As in the header `X-Request-Id`, and in the gateway's log."""


class Problem(Exception):
    """A request ends with this error. Raised by whatever finds it, turned into the answer in one place."""

    def __init__(
        self,
        status: int,
        reason: Reason,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        kind: type[ProblemBody] = ProblemBody,
        more: Mapping[str, Any] | None = None,
        close: bool = False,
    ) -> None:
        """`detail` is for the sender; `more` are the members that `kind` has beyond those of every problem; `close`
        ends the connection afterwards."""
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail if len(detail) <= LONGEST_DETAIL else detail[: LONGEST_DETAIL - 1] + "…"
        self.headers = headers or {}
        self.kind = kind
        self.more = more or {}
        self.close = close

    def body(self, request_id: str) -> bytes:
        """The problem as JSON, ended by a line break for the sake of terminals."""
        told = self.kind(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            reason=self.reason,
            request_id=request_id,
            **self.more,
        )
        return to_json(told) + b"\n"


def try_again(
    reason: Reason,
    detail: str,
    *,
    after: float = 1.0,
    kind: type[ProblemBody] = ProblemBody,
    more: Mapping[str, Any] | None = None,
    close: bool = False,
) -> Problem:
    """A 503 for what may pass `after` some seconds, told in whole ones and at least one."""
    headers = {"Retry-After": str(max(1, math.ceil(after)))}
    return Problem(503, reason, detail, headers=headers, kind=kind, more=more, close=close)


def of(error: Exception) -> Problem:
    """The problem that an error of the gateway is to the sender; the unforeseen is a 500 without details."""
    match error:
        case Problem():
            problem = error
        case errors.MalformedBody():
            problem = Problem(400, Reason.MALFORMED_BODY, str(error))
        case errors.PayloadError():
            problem = Problem(422, Reason.UNPROCESSABLE, str(error))
        case errors.Unjudged():
            problem = try_again(Reason.DEPENDENCY, str(error))
        case errors.Overloaded():
            problem = try_again(Reason.OVERLOADED, str(error), after=error.retry_after)
        case errors.NotDurable():
            detail = "neither Redis nor Kubernetes could take every alert"
            problem = try_again(Reason.NOT_DURABLE, detail, after=error.retry_after)
        case errors.StoreError():
            problem = try_again(Reason.DEPENDENCY, "Redis does not answer")
        case errors.KubeError(retryable=True):
            problem = try_again(Reason.DEPENDENCY, "the Kubernetes API does not answer")
        case _:
            detail = "an internal error; the log tells more under this request id"
            problem = Problem(500, Reason.INTERNAL, detail)
    return problem
