"""Refusals as the Kubernetes API states them: an HTTP code and a `Status` body that clients act on.

Clients branch on `reason` and `details`, people read `message`; all three follow what a kube-apiserver answers, and
the contract suite holds them against one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault of an object: which field, why (a `FieldValue…` reason) and in words."""

    reason: str
    message: str
    field: str


@dataclass(frozen=True, slots=True)
class About:
    """What a refusal is about: the resource's plural (or kind), its group and the object's name."""

    kind: str
    group: str = ""
    name: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


@dataclass(eq=False)
class ApiError(Exception):
    """A request that is refused. `code` is the HTTP status, `body()` the `Status` object to answer with."""

    code: int
    reason: str
    message: str
    about: About | None = None
    causes: Sequence[Cause] = ()
    retry_after: int | None = None
    details: bool = field(default=False)
    """True where the API answers with an empty `details` object."""

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        details: dict[str, Any] = {}
        if self.about is not None:
            if self.about.name:
                details["name"] = self.about.name
            if self.about.group:
                details["group"] = self.about.group
            details["kind"] = self.about.kind
        if self.causes:
            details["causes"] = [
                {"reason": cause.reason, "message": cause.message, "field": cause.field}
                if cause.field
                else {"reason": cause.reason, "message": cause.message}
                for cause in self.causes
            ]
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if details or self.details:
            status["details"] = details
        status["code"] = self.code
        return status


def not_found(about: About) -> ApiError:
    return ApiError(404, "NotFound", f'{about.qualified} "{about.name}" not found', about)


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details=True)


def already_exists(about: About) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{about.qualified} "{about.name}" already exists', about)


def conflict(about: About, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {about.qualified} "{about.name}": {why}'
    return ApiError(409, "Conflict", message, about)


def forbidden(about: About, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    return ApiError(403, "Forbidden", f'{about.qualified} "{about.name}" is forbidden: {why}', about, causes)


def invalid(about: About, causes: Sequence[Cause]) -> ApiError:
    """`causes` is not empty; the message joins them as the real API does."""
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    joined = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    return ApiError(422, "Invalid", f'{about.qualified} "{about.name}" is invalid: {joined}', about, causes)


def invalid_options(kind: str, cause: Cause) -> ApiError:
    return invalid(About(kind, "meta.k8s.io"), [cause])


def rejected_patch() -> ApiError:
    """A JSON patch that does not apply; the API says no more about it than this."""
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, details=True)


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def internal(message: str) -> ApiError:
    """What the API itself treats as an unexpected error: a 500 without a reason."""
    return ApiError(500, "", message)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details=True)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    message = "the body of the request was in an unknown format - accepted media types include: "
    return ApiError(415, "UnsupportedMediaType", message + ", ".join(accepted))


def not_acceptable(offered: Sequence[str]) -> ApiError:
    message = f"only the following media types are accepted: {', '.join(offered)}"
    return ApiError(406, "NotAcceptable", message)


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def version_ahead(asked: int, current: int) -> ApiError:
    """A list at a resourceVersion that does not exist yet."""
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        causes=[Cause("ResourceVersionTooLarge", "Too large resource version", "")],
        retry_after=1,
    )
