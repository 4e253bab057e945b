"""What the contract suite cannot ask of a real API server alone: controllers' work, definitions, dropped history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.dev.kubernetes.admission import WriteOptions
from gateway.dev.kubernetes.api import Api, DeleteOptions
from gateway.dev.kubernetes.errors import ApiError
from gateway.dev.kubernetes.kinds import DEFINITIONS, MERGE, NAMESPACES, Kind
from tests.unit.dev.conftest import WIDGETS

Widget = Callable[..., dict[str, Any]]


def test_a_fresh_cluster_has_its_namespaces(api: Api) -> None:
    names = [stored.name for stored in api.list(NAMESPACES, "").items]
    assert names == ["default", "home", "kube-node-lease", "kube-public", "kube-system"]


def test_a_definition_is_served_at_once_and_says_so(api: Api, widgets: Kind) -> None:
    status = api.get(DEFINITIONS, "", "widgets.example.com").body()["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert (widgets.short_names, widgets.categories, widgets.list_kind) == (
        ("wi",),
        ("things",),
        "WidgetList",
    )


def test_a_changed_definition_changes_what_is_valid(api: Api, widgets: Kind, widget: Widget) -> None:
    with pytest.raises(ApiError):
        api.create(widgets, "home", widget("one", size=10))
    body = api.get(DEFINITIONS, "", "widgets.example.com").body()
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["size"]["maximum"] = 20
    api.replace(DEFINITIONS, "", "widgets.example.com", body)
    again = api.find("example.com", "v1", "widgets")
    assert again is not None
    assert api.create(again, "home", widget("one", size=10)).stored.body()["spec"]["size"] == 10


def test_a_definition_without_columns_shows_the_age(api: Api) -> None:
    plain = {**WIDGETS, "metadata": {"name": "plains.example.com"}}
    spec: Any = WIDGETS["spec"]
    plain["spec"] = {
        **spec,
        "names": {"kind": "Plain", "plural": "plains"},
        "versions": [{"name": "v1", "served": True, "storage": True}, {"name": "v2", "served": False}],
    }
    api.create(DEFINITIONS, "", plain)
    found = api.find("example.com", "v1", "plains")
    assert found is not None
    assert [column.name for column in found.columns] == ["Age"]
    assert found.singular == "plain"
    assert api.find("example.com", "v2", "plains") is None


def test_a_terminating_namespace_goes_with_its_content(api: Api, widgets: Kind, widget: Widget) -> None:
    api.create(NAMESPACES, "", {"metadata": {"name": "away"}})
    for namespace in ("home", "away"):
        api.create(widgets, namespace, widget("one"))
    api.finish_namespace("away")
    assert api.get(NAMESPACES, "", "away").name == "away"
    api.delete(NAMESPACES, "", "away")
    api.finish_namespace("away")
    api.finish_namespace("away")
    with pytest.raises(ApiError) as missing:
        api.get(NAMESPACES, "", "away")
    assert missing.value.code == 404
    assert [stored.namespace for stored in api.list(widgets, "").items] == ["home"]


def test_a_page_of_a_forgotten_moment_is_expired(api: Api, widgets: Kind, widget: Widget) -> None:
    for number in range(3):
        api.create(widgets, "home", widget(f"n{number}"))
    page = api.list(widgets, "home", limit=1)
    assert (page.more, page.remaining) == ("home/n0", 2)
    for size in range(2, 9):
        api.patch(widgets, "home", "n0", MERGE, {"spec": {"size": size}})
    with pytest.raises(ApiError) as gone:
        api.list(widgets, "home", limit=1, version=page.version, after="home/n0")
    assert (gone.value.code, gone.value.reason) == (410, "Expired")


def test_a_selected_page_does_not_say_how_many_remain(api: Api, widgets: Kind, widget: Widget) -> None:
    for number in range(3):
        api.create(widgets, "home", widget(f"n{number}", labels={"a": "b"}))
    page = api.list(widgets, "home", lambda stored: stored.labels.get("a") == "b", limit=2)
    assert ([stored.name for stored in page.items], page.more, page.remaining) == (
        ["n0", "n1"],
        "home/n1",
        None,
    )
    rest = api.list(widgets, "home", lambda stored: True, limit=2, version=page.version, after="home/n1")
    assert ([stored.name for stored in rest.items], rest.more) == (["n2"], None)


def test_what_was_immutable_stays(api: Api, widgets: Kind, widget: Widget) -> None:
    api.create(widgets, "home", widget("one", owner="a"))
    with pytest.raises(ApiError) as refused:
        api.patch(widgets, "home", "one", MERGE, {"spec": {"owner": "b"}})
    assert [(c.field, c.message) for c in refused.value.causes] == [
        ("spec.owner", 'Invalid value: "string": owner stays')
    ]


def test_warnings_go_with_what_was_written(api: Api, widgets: Kind, widget: Widget) -> None:
    given = widget("one", unheard=1)
    assert api.create(widgets, "home", given).warnings == ('unknown field "spec.unheard"',)
    given = widget("two", unheard=1)
    assert api.create(widgets, "home", given, WriteOptions(unknown_fields="Ignore")).warnings == ()


def test_a_deletion_by_collection_may_be_dry(api: Api, widgets: Kind, widget: Widget) -> None:
    api.create(widgets, "home", widget("one"))
    assert len(api.delete_all(widgets, "home", None, DeleteOptions(dry_run=True)).items) == 1
    assert len(api.list(widgets, "home").items) == 1
    api.delete_all(widgets, "home")
    assert api.list(widgets, "home").items == []


def test_an_object_that_grows_too_large_is_refused(api: Api, widgets: Kind, widget: Widget) -> None:
    api.create(widgets, "home", widget("one"))
    before = api.versions.current
    with pytest.raises(ApiError) as refused:
        api.patch(widgets, "home", "one", MERGE, {"spec": {"shape": "x" * 1_600_000}})
    assert refused.value.code == 500
    assert api.versions.current == before
