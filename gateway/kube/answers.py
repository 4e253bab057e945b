"""The one place where answers of the API server, and the lack of one, become the project's errors. Pure.

A status alone does not say what happened: 409 is a conflict or a name taken, 404 an object, a namespace or a
CRD that is missing, 403 a permission, a quota, a webhook's verdict or a namespace on its way out. The
`Status` object in the body tells them apart (`reason`, `details.kind`, `details.causes`); message texts are
looked at only where Kubernetes gives nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from gateway.errors import (
    KubeAlreadyExists,
    KubeConflict,
    KubeError,
    KubeExpired,
    KubeForbidden,
    KubeInvalid,
    KubeNamespaceMissing,
    KubeNotFound,
    KubeThrottled,
    KubeUnavailable,
)

LONGEST_EXCERPT = 300
"""Characters of a remote body or message that are kept."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds; a longer wish is cut to this, so that no server can park an alert for a day."""


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, rename="camel"):
    kind: str = ""
    name: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: int = 0


class _Status(msgspec.Struct):
    kind: str = ""
    reason: str = ""
    message: str = ""
    details: _Details | None = None


_NOTHING = _Status()
_NO_DETAILS = _Details()
_decoder = msgspec.json.Decoder(_Status)
_PLAIN: dict[int, type[KubeError]] = {
    401: KubeForbidden,
    408: KubeUnavailable,
    410: KubeExpired,
    425: KubeUnavailable,
    429: KubeThrottled,
}
# What etcd and the gRPC client say of an object that can never be stored; the API server passes it on as a
# 500.
_TOO_LARGE = ("request is too large", "message larger than max")


def translate(status: int, body: bytes, headers: Mapping[str, str]) -> KubeError:
    """The error for an answer that is not 2xx, or for the failure at the end of a watch. Never raises.

    `headers` are looked up as `Retry-After` and `Date`: pass a case-insensitive mapping.
    """
    said = _parse(body)
    details = said.details or _NO_DETAILS
    text = f"{status}: {excerpt(said.message or body.decode('utf-8', 'replace')) or 'no body'}"
    wait = _retry_after(headers, details)
    kind = _kind(status, said, details)
    if status == 404 and kind is KubeUnavailable:
        text += " (is the CRD installed?)"
    return kind(text, status=status, retry_after=wait)


def translate_failure(error: BaseException) -> KubeError:
    """The error for a call that got no answer (or not all of it): it may have been performed all the same."""
    said = excerpt(str(error))
    name = type(error).__name__
    return KubeUnavailable(f"no answer: {name}: {said}" if said else f"no answer: {name}")


def excerpt(text: str) -> str:
    """`text` on one line, cut to what a log may hold."""
    line = " ".join(text[: 4 * LONGEST_EXCERPT].split())
    return line if len(line) <= LONGEST_EXCERPT else line[: LONGEST_EXCERPT - 1] + "…"


def _kind(status: int, said: _Status, details: _Details) -> type[KubeError]:
    if status in _PLAIN:
        return _PLAIN[status]
    causes = {cause.reason for cause in details.causes or ()}
    if status >= 500:
        return _kind_of_5xx(said, causes)
    if status < 400:
        return KubeUnavailable  # a redirect, or whatever else no API server sends
    if "admission webhook" in said.message and "denied the request" in said.message:
        return KubeInvalid  # a webhook chooses its own status; whichever it is, it judged this very object
    if status == 403:
        return _kind_of_403(said, causes)
    if status == 404:
        return _kind_of_404(said, details)
    return _kind_of_409(said, details) if status == 409 else KubeInvalid


def _kind_of_403(said: _Status, causes: set[str]) -> type[KubeError]:
    if "NamespaceTerminating" in causes or "because it is being terminated" in said.message:
        return KubeNamespaceMissing
    return KubeThrottled if "exceeded quota" in said.message else KubeForbidden


def _kind_of_404(said: _Status, details: _Details) -> type[KubeError]:
    if said.reason == "NotFound" and details.name:
        return KubeNamespaceMissing if details.kind == "namespaces" else KubeNotFound
    # The resource itself is not served: the CRD is not installed (yet), or this is no API server.
    return KubeUnavailable


def _kind_of_409(said: _Status, details: _Details) -> type[KubeError]:
    if said.reason == "AlreadyExists":
        return KubeAlreadyExists
    # Quota is counted with optimistic locking; losing that race says nothing about our object.
    return KubeThrottled if details.kind == "resourcequotas" else KubeConflict


def _kind_of_5xx(said: _Status, causes: set[str]) -> type[KubeError]:
    if any(words in said.message for words in _TOO_LARGE):
        return KubeInvalid
    # A version that this server has not reached after waiting for it: start over from a fresh list.
    return KubeExpired if "ResourceVersionTooLarge" in causes else KubeUnavailable


def _parse(body: bytes) -> _Status:
    try:
        said = _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return _NOTHING
    return said if said.kind == "Status" else _NOTHING


def _retry_after(headers: Mapping[str, str], details: _Details) -> float | None:
    """Seconds: from the header (a number, or a date, measured against the answer's own), else from the body."""
    value = headers.get("Retry-After", "").strip()
    seconds: float | None = None
    if value.isascii() and value.isdigit():
        seconds = float(value)
    elif value:
        try:
            now = parsedate_to_datetime(headers.get("Date", ""))
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            seconds = None
    if seconds is None and details.retry_after_seconds > 0:
        seconds = float(details.retry_after_seconds)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
