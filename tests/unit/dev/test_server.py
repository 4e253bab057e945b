"""The embedded API over HTTP: what surrounds the resources, and starting and stopping."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from chaos.rig.waiting import eventually
from gateway.dev.kubernetes import EmbeddedKubernetes
from gateway.dev.kubernetes.kinds import NAMESPACES
from tests.unit.dev.conftest import WIDGETS

WHERE = "/apis/example.com/v1/namespaces/home/widgets"


@pytest.fixture
async def kubernetes() -> AsyncIterator[EmbeddedKubernetes]:
    async with EmbeddedKubernetes(crds=[WIDGETS], namespace_grace=0.05) as started:
        started.ensure_namespace("home", {"environment": "test"})
        yield started


@pytest.fixture
async def http(kubernetes: EmbeddedKubernetes) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(kubernetes.url) as session:
        yield session


def widget(name: str, **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}}
    return body | {"spec": {"size": 1, **spec}}


async def test_a_namespace_is_ensured_once(kubernetes: EmbeddedKubernetes) -> None:
    kubernetes.ensure_namespace("home", {"environment": "other"})
    assert kubernetes.api.get(NAMESPACES, "", "home").labels["environment"] == "test"


async def test_warnings_are_headers(http: aiohttp.ClientSession) -> None:
    async with http.post(WHERE, json=widget("one", **{'é"\\': 1})) as answer:
        assert answer.status == 201
        assert answer.headers.getall("Warning") == ['299 - "unknown field \\"spec.?\\"\\\\\\""']


async def test_other_names_than_loopback_are_refused(http: aiohttp.ClientSession) -> None:
    async with http.get("/version", headers={"Host": "attacker.example.com"}) as answer:
        assert answer.status == 403
    async with http.get("/version", headers={"Host": "localhost:8001"}) as answer:
        assert answer.status == 200


async def test_yaml_is_answered_where_it_is_asked_for(http: aiohttp.ClientSession) -> None:
    async with http.post(WHERE, json=widget("one")) as answer:
        made = await answer.json()
    async with http.get(f"{WHERE}/one", headers={"Accept": "application/yaml"}) as answer:
        assert yaml.safe_load(await answer.text()) == made
    async with http.get(WHERE, headers={"Accept": "application/yaml"}) as answer:
        assert yaml.safe_load(await answer.text())["items"] == [made]


async def test_schemas_are_published_under_their_hash(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi/v3") as answer:
        paths = (await answer.json())["paths"]
    assert set(paths) == {"api/v1", "apis/apiextensions.k8s.io/v1", "apis/example.com/v1"}
    async with http.get(paths["apis/example.com/v1"]["serverRelativeURL"]) as answer:
        document = await answer.json()
    schema = document["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["properties"]["spec"]["required"] == ["size"]
    group_version_kind = {"group": "example.com", "version": "v1", "kind": "Widget"}
    assert schema["x-kubernetes-group-version-kind"] == [group_version_kind]
    async with http.get("/openapi/v3/apis/none/v1") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 200),
        ("HEAD", "/version", 200),
        ("GET", "/apis/authorization.k8s.io/v1", 200),
        ("GET", "/apis/authentication.k8s.io", 200),
        ("GET", "/apis/example.com/v2", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/readyz/", 404),
        ("POST", "/version", 404),
        ("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com", 405),
        ("OPTIONS", WHERE, 405),
        ("GET", "/apis/example.com/v1/namespaces/home/widgets/a/b/c", 404),
        ("GET", "/apis/example.com/v1/widgets/one", 404),
    ],
)
async def test_what_is_there_and_what_is_not(
    http: aiohttp.ClientSession, method: str, path: str, code: int
) -> None:
    async with http.request(method, path) as answer:
        assert answer.status == code


async def test_a_client_that_asks_who_it_is_hears_admin(http: aiohttp.ClientSession) -> None:
    where = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with http.post(where, json={}) as answer:
        assert (await answer.json())["status"]["userInfo"]["username"] == "admin"


async def test_a_deleted_namespace_goes_soon(
    kubernetes: EmbeddedKubernetes, http: aiohttp.ClientSession
) -> None:
    async with http.post(WHERE, json=widget("one")) as answer:
        assert answer.status == 201
    async with http.delete("/api/v1/namespaces/home") as answer:
        assert (await answer.json())["status"]["phase"] == "Terminating"
    namespaces = kubernetes.api.collection(NAMESPACES)
    await eventually(lambda: namespaces.get("", "home") is None, "the namespace to go")
    async with http.get("/apis/example.com/v1/widgets") as answer:
        assert (await answer.json())["items"] == []


async def test_a_client_that_goes_away_takes_its_watch_along(
    kubernetes: EmbeddedKubernetes, http: aiohttp.ClientSession
) -> None:
    kind = kubernetes.api.find("example.com", "v1", "widgets")
    assert kind is not None
    listeners = kubernetes.api.collection(kind).listeners
    answer = await http.get(WHERE, params={"watch": "1"})
    await eventually(lambda: len(listeners) == 1, "the watch to begin")
    answer.close()
    await eventually(lambda: not listeners, "the watch to end")


async def test_a_stop_ends_watches_and_keeps_what_is_stored() -> None:
    kubernetes = EmbeddedKubernetes(crds=[WIDGETS])
    await kubernetes.start()
    kubernetes.ensure_namespace("home")
    url = kubernetes.url
    async with aiohttp.ClientSession(url) as http, http.get(WHERE, params={"watch": "1"}) as answer:
        await asyncio.wait_for(kubernetes.stop(), 5)
        assert await answer.read() == b""
    await kubernetes.start()
    assert kubernetes.url == url
    async with aiohttp.ClientSession(url) as http, http.get("/api/v1/namespaces/home") as answer:
        assert answer.status == 200
    await kubernetes.stop()


async def test_a_kubeconfig_is_for_its_owner_only(kubernetes: EmbeddedKubernetes, tmp_path: Path) -> None:
    written = kubernetes.write_kubeconfig(tmp_path / "kubeconfig")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    config = yaml.safe_load(written.read_text())
    assert config["clusters"][0]["cluster"]["server"] == kubernetes.url
    assert config["current-context"] == config["contexts"][0]["name"]


async def test_a_table_is_streamed_to_a_watch(http: aiohttp.ClientSession) -> None:
    async with http.post(WHERE, json=widget("one")) as answer:
        assert answer.status == 201
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with http.get(WHERE, params={"watch": "1", "timeoutSeconds": "20"}, headers=headers) as answer:
        first = json.loads(await answer.content.readline())
        assert [c["name"] for c in first["object"]["columnDefinitions"]] == ["Name", "Size", "Colour", "Made"]
