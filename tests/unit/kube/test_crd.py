"""The definition that is shipped: an object that is valid under it is valid under the published one, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.model import API_GROUP, API_VERSION, KIND, PLURAL

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT.parent / "shared" / "fixtures" / "crds" / "kubernaut_remediationrequests.yaml"


def definition(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def meaning(schema: Any) -> Any:
    """A schema without its descriptions, and with sets in one order."""
    if isinstance(schema, list):
        return [meaning(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: sorted(value) if key in {"required", "enum"} else meaning(value)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str))
    }


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return definition(ROOT / "deploy" / "crds" / "remediationrequests.yaml")


def test_it_defines_what_the_gateway_writes(ours: dict[str, Any]) -> None:
    names = ours["spec"]["names"]
    assert (ours["spec"]["group"], names["kind"], names["plural"]) == (API_GROUP, KIND, PLURAL)
    assert ours["metadata"]["name"] == f"{PLURAL}.{API_GROUP}"
    assert names["shortNames"] == ["rr"]
    assert names["categories"] == ["remediation"]
    (version,) = ours["spec"]["versions"]
    assert version["name"] == API_VERSION
    assert version["subresources"] == {"status": {}}


def test_kubectl_shows_what_an_operator_asks_first(ours: dict[str, Any]) -> None:
    columns = [column["name"] for column in ours["spec"]["versions"][0]["additionalPrinterColumns"]]
    wanted = ["Signal", "Severity", "Priority", "Storm", "Alerts", "Occurrences", "Phase", "Age"]
    assert columns == wanted


def test_everything_is_described(ours: dict[str, Any]) -> None:
    def missing(schema: dict[str, Any], path: str) -> list[str]:
        own = [] if schema.get("description") or path == ".metadata" else [path]
        fields = schema.get("properties", {}).items()
        return own + [gap for name, field in fields for gap in missing(field, f"{path}.{name}")]

    assert missing(ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "") == []


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published definition is not here")
def test_its_rules_are_those_of_the_published_one(ours: dict[str, Any]) -> None:
    theirs = definition(PUBLISHED)
    for key in ("group", "scope"):
        assert ours["spec"][key] == theirs["spec"][key]
    assert ours["spec"]["names"].items() >= theirs["spec"]["names"].items()
    (one,), (other,) = ours["spec"]["versions"], theirs["spec"]["versions"]
    assert meaning(one["schema"]) == meaning(other["schema"])
