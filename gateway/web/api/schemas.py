"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) of the types that decode bodies and encode answers.

The types decide; what is added here is what they cannot say: the texts below their fields, that an answer always has
all members that it does not leave out, and what a single alert has to look like to be taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect

from gateway.intake.payload import Alert, Webhook
from gateway.web.api import docstrings

Schema = dict[str, Any]

REF: Final = "#/components/schemas/{name}"

# A webhook's alerts are decoded one by one, and one that is wrong costs nothing but itself: so the types take more
# than a sender should send.
_REFINED: Final[Mapping[type, Mapping[str, Schema]]] = {
    Webhook: {"alerts": {"type": "array", "items": {"$ref": REF.format(name=Alert.__name__)}}},
    Alert: {
        "labels": {
            "type": "object",
            "properties": {"alertname": {"type": "string", "minLength": 1}},
            "required": ["alertname"],
            "propertyNames": {"minLength": 1},
            "additionalProperties": {"type": "string"},
        },
        "startsAt": {"type": ["string", "null"], "format": "date-time"},
        "endsAt": {"type": ["string", "null"], "format": "date-time"},
    },
}
_REQUIRED: Final[Mapping[type, Sequence[str]]] = {Alert: ("labels",)}


def components(decoded: Sequence[type], encoded: Sequence[type]) -> dict[str, Schema]:
    """The schema of each type, and of each that it is made of, by name."""
    kinds = (*decoded, *encoded)
    _, made = msgspec.json.schema_components(kinds, ref_template=REF)
    answers = {kind.__name__ for kind in _reachable(encoded)}
    found = {}
    for kind in _reachable(kinds):
        schema = made[kind.__name__]
        schema["description"] = docstrings.of_type(kind)
        if issubclass(kind, msgspec.Struct):
            _explain(schema, kind, encoded=kind.__name__ in answers)
        else:
            schema["type"] = "string"
        found[kind.__name__] = schema
    return dict(sorted(found.items()))


def ref(kind: type) -> Schema:
    """Where the schema of a type is."""
    return {"$ref": REF.format(name=kind.__name__)}


def _explain(schema: Schema, kind: type[msgspec.Struct], *, encoded: bool) -> None:
    texts = docstrings.of_fields(kind)
    required = []
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        member = schema["properties"][name]
        refined = _REFINED.get(kind, {}).get(name)
        if refined is not None:
            member = dict(refined)
        if encoded:
            member.pop("default", None)
        if field.name in texts:
            member["description"] = texts[field.name]
        schema["properties"][name] = member
        if field.required or (encoded and not kind.__struct_config__.omit_defaults):
            required.append(name)
    required.extend(_REQUIRED.get(kind, ()))
    schema["required"] = required


def _reachable(kinds: Sequence[type]) -> Sequence[type]:
    """The types, and the structs and enums that they are made of, each once."""
    found: dict[type, None] = {}
    waiting = list(inspect.multi_type_info(kinds))
    while waiting:
        info = waiting.pop(0)
        if isinstance(info, inspect.StructType | inspect.EnumType):
            if info.cls in found:
                continue
            found[info.cls] = None
        waiting.extend(_parts(info))
    names = [kind.__name__ for kind in found]
    assert len(names) == len(set(names)), "two types of one name would be one schema"
    return list(found)


def _parts(info: inspect.Type) -> Iterator[inspect.Type]:
    match info:
        case inspect.StructType():
            yield from (field.type for field in info.fields)
        case inspect.UnionType():
            yield from info.types
        case inspect.DictType():
            yield info.value_type
        case inspect.ListType() | inspect.CollectionType() | inspect.VarTupleType():
            yield info.item_type
        case _:
            return
