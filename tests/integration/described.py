"""A gateway's own description, held against what it answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema_rs

Json = dict[str, Any]
METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})


class RequestExample(NamedTuple):
    """A request as the description shows it."""

    method: str
    path: str
    name: str
    content: bytes
    answer: int


class Described:
    """An OpenAPI document whose schemas take no member that is not described."""

    def __init__(self, text: bytes) -> None:
        self.document: Json = json.loads(text)
        strict: Json = copy.deepcopy(self.document["components"])
        for schema in strict["schemas"].values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
        self._strict = strict

    def operations(self) -> Iterator[tuple[str, str, Json]]:
        """(path, METHOD, operation)."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in METHODS:
                    yield path, method.upper(), operation

    def requests(self) -> Iterator[RequestExample]:
        """Every example of a body."""
        for path, method, operation in self.operations():
            for name, example in _media(operation.get("requestBody")).get("examples", {}).items():
                content = json.dumps(example["value"]).encode()
                yield RequestExample(method, path, name, content, example["x-answer"])

    def faults(self, schema: Json, value: Any) -> list[str]:
        """What is wrong with a value."""
        whole = {**schema, "components": self._strict}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(value)]

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """An answer is one of those that are described for the path."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in responses, f"{method} {path}: {status} is not described: {body[:300]!r}"
        content = responses[str(status)]["content"]
        media = content_type.partition(";")[0]
        assert media in content, f"{method} {path}: {status} has {content_type}"
        if "schema" in content[media]:
            found = self.faults(content[media]["schema"], json.loads(body))
            assert not found, f"{method} {path}: {status}: {found}: {body[:500]!r}"


def _media(body: Json | None) -> Json:
    found: Json = body["content"]["application/json"] if body else {}
    return found
