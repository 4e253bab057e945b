"""Accept headers, bodies, and the little protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dev.kubernetes.errors import ApiError
from gateway.dev.kubernetes.negotiation import JSON, PROTOBUF, YAML, Accepted, Form, accepted, decode
from gateway.dev.kubernetes.protobuf import Unreadable, read_object

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", Accepted()),
        ("*/*", Accepted()),
        ("application/json, */*", Accepted()),
        (f"{TABLE},application/json", Accepted(Form.TABLE)),
        ("application/json; as=Table; g=meta.k8s.io; v=v1", Accepted(Form.TABLE)),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Accepted()),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Accepted(Form.METADATA)),
        (f"{PROTOBUF},{JSON}", Accepted()),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", Accepted()),
        (YAML, Accepted(Form.WHOLE, YAML)),
    ],
)
def test_the_first_acceptable_form_is_taken(header: str, wanted: Accepted) -> None:
    assert accepted(header) == wanted


@pytest.mark.parametrize("header", ["text/html", PROTOBUF, "application/json;as=Else;v=v1;g=meta.k8s.io"])
def test_what_is_not_offered_is_refused(header: str) -> None:
    with pytest.raises(ApiError) as refused:
        accepted(header)
    assert refused.value.code == 406


def test_yaml_bodies_are_read() -> None:
    assert decode(b"a: [1, {b: c}]", YAML, "Thing") == {"a": [1, {"b": "c"}]}
    with pytest.raises(ApiError):
        decode(b"a: [", YAML, "Thing")


@given(st.binary(max_size=60), st.sampled_from((JSON, YAML, PROTOBUF, "text/plain", "")))
def test_any_body_is_read_or_refused(body: bytes, kind: str) -> None:
    code = 0
    try:
        decode(body, kind, "Thing")
    except ApiError as error:
        code = error.code
    assert code in {0, 400, 415}


def field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, raw)


def test_a_namespace_is_read_from_protobuf() -> None:
    label = field(11, field(1, b"environment") + field(2, b"staging"))
    raw = field(1, field(1, b"one") + field(2, b"") + b"\x38\x07" + label) + field(2, b"")
    body: dict[str, Any] = {"name": "one", "labels": {"environment": "staging"}}
    assert read_object(envelope("Namespace", raw)) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": body,
    }


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"k8s\x00\x0a\xff", b"k8s\x00\x80", b"k8s\x00\x0b", envelope("Pod", b""), envelope("", b"")],
)
def test_other_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_object(data)
