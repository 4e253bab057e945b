"""The served definition is compared with what the gateway writes, field by field."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.doctor import schema
from gateway.kube import objects, storms
from gateway.model import Severity, Signal

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "deploy" / "crds" / "remediationrequests.yaml"
PUBLISHED = ROOT.parent / "shared" / "fixtures" / "crds" / "kubernaut_remediationrequests.yaml"
WHEN = "2026-01-01T00:00:00.000000000Z"


def spec(path: Path = SHIPPED) -> dict[str, Any]:
    (version,) = yaml.safe_load(path.read_text())["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return copy.deepcopy(found)


def signal(**changes: Any) -> Signal:
    given: dict[str, Any] = {
        "fingerprint": "a" * 64,
        "alertname": "Down",
        "namespace": "prod",
        "group": "prod/Down",
        "labels": {"alertname": "Down"},
        "annotations": {"summary": "down"},
        "severity": Severity.INFO,
        "environment": "production",
        "priority": "P2",
        "resource": "prod:Pod:a",
        "starts_at": WHEN,
        "received_at": WHEN,
        "raw": b"{}",
    }
    return Signal(**{**given, **changes})


def fields(value: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, below in value.items():
        yield prefix + name
        if name == "deduplication":
            yield from fields(below, "deduplication.")


def own(predecessor: str = "") -> set[str]:
    body = objects.create_body(
        signal(raw=b"{}" if predecessor else b""),
        namespace="prod",
        name="rr-down",
        generation=1,
        applied="{}",
        count=1,
        first_seen=WHEN,
        last_seen=WHEN,
        predecessor=predecessor,
    )
    return set(fields(json.loads(body)["spec"]))


def aggregated() -> set[str]:
    newcomer = storms.Newcomer(signal=signal(), marks={"p.1": "0-1"}, occurrences=1)
    body = storms.create_body(
        window="w1", namespace="prod", name="rr-storm", source="storm", newcomers=[newcomer], last_seen=WHEN
    )
    return set(fields(json.loads(body)["spec"]))


def test_every_field_that_is_written_is_compared_and_no_other() -> None:
    assert own("rr-before") | aggregated() == schema.WRITTEN.keys()
    assert own() & aggregated() == schema.ALWAYS


def test_the_shipped_definition_takes_all_of_it() -> None:
    assert schema.faults(spec()) == []


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published definition is not here")
def test_the_published_definition_takes_all_of_it() -> None:
    assert schema.faults(spec(PUBLISHED)) == []


@pytest.mark.parametrize("path", sorted(schema.WRITTEN))
def test_each_field_that_is_missing_is_named(path: str) -> None:
    served = spec()
    at = served
    *above, name = path.split(".")
    for part in above:
        at = at["properties"][part]
    del at["properties"][name]
    assert schema.faults(served)[0] == f"spec.{path} is not known, and would be dropped"


def test_a_field_of_another_type_is_named() -> None:
    served = spec()
    served["properties"]["stormAlertCount"]["type"] = "string"
    (fault,) = schema.faults(served)
    assert fault == "spec.stormAlertCount is of type string, and the gateway writes integer"


@pytest.mark.parametrize("name", ["stormType", "originalPayload", "approver"])
def test_a_required_field_that_is_not_always_written_is_named(name: str) -> None:
    served = spec()
    served["required"].append(name)
    (fault,) = schema.faults(served)
    assert f"spec.{name} is required" in fault


def test_a_definition_that_takes_any_field_takes_these() -> None:
    assert schema.faults({"type": "object", "x-kubernetes-preserve-unknown-fields": True}) == []
    served = spec()
    served["properties"]["deduplication"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert schema.faults(served) == []


@pytest.mark.parametrize("document", [None, [], {}, {"components": {"schemas": {"a": None, "b": {}}}}])
def test_a_document_without_requests_has_no_schema_of_them(document: Any) -> None:
    assert schema.spec_of(document) is None
