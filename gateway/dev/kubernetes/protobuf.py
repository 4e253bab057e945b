"""The little protobuf that kubectl cannot be talked out of.

`kubectl create namespace` sends its object in Kubernetes' protobuf envelope: four magic bytes, then
`runtime.Unknown` (typeMeta = 1, raw = 2), whose raw bytes hold the object. Of the object only `metadata` is read
(name, generateName, namespace, labels, annotations), which is all that a namespace has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MAGIC = b"k8s\x00"
_STRINGS = {1: "name", 2: "generateName", 3: "namespace"}
_MAPS = {11: "labels", 12: "annotations"}
_SUPPORTED = (
    "Namespace",
    "SelfSubjectAccessReview",
    "SubjectAccessReview",
    "SelfSubjectReview",
    "DeleteOptions",
)


class Unreadable(Exception):
    """Bytes that are no such message, or an object of a kind that is not read from protobuf."""


def read_object(data: bytes) -> dict[str, Any]:
    """The object in an envelope, with `apiVersion`, `kind` and the part of its metadata that is read."""
    if not data.startswith(_MAGIC):
        raise Unreadable("the body does not start with the protobuf envelope's magic bytes")
    version = kind = ""
    raw = b""
    for number, value in _fields(data[len(_MAGIC) :]):
        if number == 1:
            names = dict(_fields(value))
            version, kind = _text(names.get(1, b"")), _text(names.get(2, b""))
        elif number == 2:
            raw = value
    if kind not in _SUPPORTED:
        raise Unreadable(f"protobuf is not supported for {kind or 'this kind'}; send JSON")
    body: dict[str, Any] = {"apiVersion": version, "kind": kind}
    if kind == "Namespace":
        body["metadata"] = _metadata(dict(_fields(raw)).get(1, b""))
    return body


def _metadata(data: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for number, value in _fields(data):
        if number in _STRINGS and value:
            metadata[_STRINGS[number]] = _text(value)
        elif number in _MAPS:
            entry = dict(_fields(value))
            metadata.setdefault(_MAPS[number], {})[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    return metadata


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message; numbers are passed over."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                _, position = _varint(data, position)
            case 1:
                position += 8
            case 5:
                position += 4
            case 2:
                size, position = _varint(data, position)
                if position + size > len(data):
                    raise Unreadable("the message is cut short")
                yield tag >> 3, data[position : position + size]
                position += size
            case _:
                raise Unreadable("an unknown wire type")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Unreadable("the message is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
