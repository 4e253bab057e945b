"""Content negotiation: which of its forms an answer takes, and how a body is decoded.

kubectl asks for a Table and takes plain JSON as well; controllers ask for metadata only; some typed clients send
protobuf for the few kinds that are built in, which `protobuf` reads as far as kubectl needs it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
import yaml

from gateway.dev.kubernetes import errors
from gateway.dev.kubernetes.protobuf import Unreadable, read_object

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
BODIES = (JSON, YAML, PROTOBUF)

_decoder = msgspec.json.Decoder()
_SURROGATES = re.compile("[\ud800-\udfff]")


class Form(StrEnum):
    """What an answer shows of an object."""

    WHOLE = "whole"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form and the media type that the client prefers of those on offer."""

    form: Form = Form.WHOLE
    media_type: str = JSON


def accepted(header: str) -> Accepted:
    """Reads an `Accept` header; raises `ApiError` (406) if nothing on offer is acceptable."""
    if not header.strip():
        return Accepted()
    for clause in header.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media_type in ("*/*", "application/*"):
            return Accepted()
        if media_type not in (JSON, YAML):
            continue
        form = values.get("as", "")
        if not form:
            return Accepted(Form.WHOLE, media_type)
        if values.get("g") != "meta.k8s.io" or values.get("v") not in ("v1", "v1beta1") or media_type != JSON:
            continue
        if form == "Table":
            return Accepted(Form.TABLE)
        if form in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Accepted(Form.METADATA)
    raise errors.not_acceptable(BODIES)


def decode(body: bytes, content_type: str, what: str) -> Any:
    """An object out of a request's body; `what` is the kind that is expected. Raises `ApiError`."""
    media_type = content_type.partition(";")[0].strip().lower()
    unrecognized = f"the object provided is unrecognized (must be of type {what})"
    if media_type == PROTOBUF:
        try:
            return read_object(body)
        except Unreadable as error:
            raise errors.bad_request(f"{unrecognized}: {error}") from error
    if media_type == YAML:
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise errors.bad_request(f"yaml: {' '.join(str(error).split())}") from error
    if media_type not in ("", JSON):
        raise errors.unsupported_media_type(BODIES)
    prefix = f"{unrecognized}: couldn't get version/kind; json parse error: "
    if not body:
        raise errors.bad_request(f"{prefix}unexpected end of JSON input (<empty>)")
    return parse_json(body, prefix)


def parse_json(body: bytes, prefix: str) -> Any:
    """JSON as the API reads it: what is not Unicode becomes U+FFFD. Raises `ApiError` (400), `prefix` first."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        lenient = json.loads(body.decode("utf-8", "replace"), parse_constant=_no_constant)
        text = _SURROGATES.sub("\ufffd", json.dumps(lenient, ensure_ascii=False))
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errors.bad_request(f"{prefix}{error}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")
