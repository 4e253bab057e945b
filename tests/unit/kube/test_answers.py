"""Answers become errors: the table is complete, and tells apart what only the body tells apart."""

from __future__ import annotations

import json
import ssl
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from gateway.kube.answers import LONGEST_EXCERPT, LONGEST_RETRY_AFTER, excerpt, translate, translate_failure

MISSING = {"name": "rr-a-1", "kind": "remediationrequests"}
NO_SPACE = {"name": "prod", "kind": "namespaces"}
LEAVING = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
TOO_NEW = {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1}
DENIED = 'admission webhook "policy.example.com" denied the request: no'


def status(reason: str = "", message: str = "", details: dict[str, Any] | None = None) -> bytes:
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return json.dumps(said | ({"details": details} if details else {})).encode()


TABLE: list[tuple[int, bytes, type[KubeError]]] = [
    (302, b"", KubeUnavailable),
    (400, status("BadRequest", "the object provided is unrecognized"), KubeInvalid),
    (400, status("BadRequest", DENIED), KubeInvalid),
    (401, status("Unauthorized", "Unauthorized"), KubeForbidden),
    (403, status("Forbidden", 'User "x" cannot create resource', MISSING), KubeForbidden),
    (403, status("Forbidden", "exceeded quota: q, requested: count/x=1", MISSING), KubeThrottled),
    (403, status("Forbidden", "unable to create new content", LEAVING), KubeNamespaceMissing),
    (
        403,
        status("Forbidden", "unable to create new content in namespace x because it is being terminated"),
        KubeNamespaceMissing,
    ),
    (403, status("Forbidden", DENIED), KubeInvalid),
    (403, b"<html>a proxy's opinion</html>", KubeForbidden),
    (404, status("NotFound", 'remediationrequests "rr-a-1" not found', MISSING), KubeNotFound),
    (404, status("NotFound", 'namespaces "prod" not found', NO_SPACE), KubeNamespaceMissing),
    (404, status("NotFound", "the server could not find the requested resource", {}), KubeUnavailable),
    (404, b"404 page not found\n", KubeUnavailable),
    (405, status("MethodNotAllowed"), KubeInvalid),
    (408, b"", KubeUnavailable),
    (409, status("AlreadyExists", "exists", MISSING), KubeAlreadyExists),
    (409, status("Conflict", "the object has been modified", MISSING), KubeConflict),
    (409, status("Conflict", "modified", {"name": "q", "kind": "resourcequotas"}), KubeThrottled),
    (409, b"", KubeConflict),
    (410, status("Expired", "too old resource version"), KubeExpired),
    (410, status("Gone"), KubeExpired),
    (413, status("RequestEntityTooLarge"), KubeInvalid),
    (415, status("UnsupportedMediaType"), KubeInvalid),
    (418, b"", KubeInvalid),
    (422, status("Invalid", "spec.severity: Unsupported value", MISSING), KubeInvalid),
    (425, b"", KubeUnavailable),
    (429, status("TooManyRequests", "storage is (re)initializing"), KubeThrottled),
    (429, b"Too many requests, please try again later.\n", KubeThrottled),
    (429, status("TooManyRequests", DENIED), KubeThrottled),
    (500, status("InternalError", "failed calling webhook: context deadline exceeded"), KubeUnavailable),
    (500, status("", "etcdserver: request is too large"), KubeInvalid),
    (500, status("", "rpc error: trying to send message larger than max (2500 vs. 2097152)"), KubeInvalid),
    (500, status("", "etcdserver: mvcc: database space exceeded"), KubeUnavailable),
    (502, b"<html>bad gateway</html>", KubeUnavailable),
    (503, b"", KubeUnavailable),
    (504, status("Timeout", "request did not complete"), KubeUnavailable),
    (504, status("Timeout", "Too large resource version: 9, current: 8", TOO_NEW), KubeExpired),
    (599, b"", KubeUnavailable),
]


@pytest.mark.parametrize(("code", "body", "wanted"), TABLE)
def test_each_answer_has_its_error(code: int, body: bytes, wanted: type[KubeError]) -> None:
    error = translate(code, body, {})
    assert type(error) is wanted
    assert error.status == code


def test_the_table_knows_every_error() -> None:
    assert {wanted for _, _, wanted in TABLE} == set(KubeError.__subclasses__())


@given(st.integers(100, 999), st.one_of(st.binary(), st.builds(status, st.text(), st.text())), st.text())
def test_no_answer_is_without_an_error(code: int, body: bytes, wait: str) -> None:
    error = translate(code, body, {"Retry-After": wait, "Date": wait})
    assert type(error) in KubeError.__subclasses__()
    assert len(str(error)) <= LONGEST_EXCERPT + 5
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST_RETRY_AFTER


_STRANGE = [
    b"null",
    b"[]",
    b"7",
    b'{"kind":"Pod"}',
    b'{"kind":"Status","details":[]}',
    b"\xff",
    b'{"kind":1}',
]


@pytest.mark.parametrize("body", _STRANGE)
def test_a_body_of_another_shape_is_as_good_as_none(body: bytes) -> None:
    assert type(translate(404, body, {})) is KubeUnavailable
    assert type(translate(503, body, {})) is KubeUnavailable


def test_the_message_is_kept_and_cut() -> None:
    assert str(translate(422, status("Invalid", "spec.priority:\n  bad"), {})) == "422: spec.priority: bad"
    assert str(translate(503, b"", {})) == "503: no body"
    assert len(str(translate(500, b"x" * 10_000_000, {}))) <= LONGEST_EXCERPT + 5


DATE = "Sat, 31 Jan 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "7"}, None, 7.0),
        ({"Retry-After": " 0 "}, None, 0.0),
        ({"Retry-After": "99999999"}, None, LONGEST_RETRY_AFTER),
        ({"Retry-After": "Sat, 31 Jan 2026 09:00:20 GMT", "Date": DATE}, None, 20.0),
        ({"Retry-After": "Sat, 31 Jan 2026 08:00:00 GMT", "Date": DATE}, None, 0.0),
        ({"Retry-After": "Sat, 31 Jan 2026 09:00:20 GMT"}, None, None),
        ({"Retry-After": "soon", "Date": DATE}, None, None),
        ({"Retry-After": "soon"}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry-After": "-5"}, None, None),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry-After": "1"}, {"retryAfterSeconds": 3}, 1.0),
        ({}, None, None),
    ],
)
def test_how_long_the_server_asks_to_wait(
    headers: dict[str, str], details: dict[str, Any] | None, seconds: float | None
) -> None:
    assert translate(429, status("TooManyRequests", "", details), headers).retry_after == seconds


@pytest.mark.parametrize(
    "failure",
    [
        TimeoutError(),
        TimeoutError("slow"),
        ConnectionRefusedError(111, "refused"),
        ConnectionResetError(),
        ssl.SSLError("bad certificate"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ServerTimeoutError("x" * 10_000),
        RuntimeError("Session is closed"),
        EOFError(),
    ],
)
def test_no_answer_may_mean_that_it_happened(failure: Exception) -> None:
    error = translate_failure(failure)
    assert type(error) is KubeUnavailable
    assert error.status == 0
    assert error.retryable
    assert type(failure).__name__ in str(error)
    assert len(str(error)) <= LONGEST_EXCERPT + 60


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a\n b\t\tc ") == "a b c"
    assert len(excerpt("x" * 1000)) == LONGEST_EXCERPT
