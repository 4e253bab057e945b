"""An embedded API without HTTP, with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.dev.kubernetes.api import Api
from gateway.dev.kubernetes.kinds import DEFINITIONS, NAMESPACES, Kind

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wi"], "categories": ["things"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colours[0]", "priority": 1},
                    {"name": "Made", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                                    "colours": {
                                        "type": "array",
                                        "maxItems": 2,
                                        "items": {"type": "string", "minLength": 1},
                                    },
                                    "shape": {"type": "string", "default": "round"},
                                    "note": {"type": "string", "nullable": True},
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "ratio": {"type": "number"},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "owner": {
                                        "type": "string",
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "owner stays"}
                                        ],
                                    },
                                },
                            },
                            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Api:
    """An API with widgets and a namespace `home`, whose history holds four changes."""
    made = Api(clock=clock, history=4)
    made.create(DEFINITIONS, "", WIDGETS)
    made.create(NAMESPACES, "", {"metadata": {"name": "home"}})
    return made


@pytest.fixture
def widgets(api: Api) -> Kind:
    found = api.find("example.com", "v1", "widgets")
    assert found is not None
    return found


@pytest.fixture
def widget() -> Callable[..., dict[str, Any]]:
    def make(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "labels": labels or {}}
        return {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": metadata,
            "spec": {"size": 1, **spec},
        }

    return make
