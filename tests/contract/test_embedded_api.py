"""One suite for two APIs: the embedded Kubernetes API must answer as a real kube-apiserver does.

Every test runs against both; what differs in words (the parsers' own messages) is compared by code and reason only.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from chaos.rig.api import CRD_FILE, GROUP_PATH, JSON_PATCH, MERGE_PATCH, Api
from chaos.rig.waiting import wait_until
from tests.contract.speaking import (
    Json,
    a_request,
    about,
    causes,
    create,
    merge,
    path,
    refusal,
    version,
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@contextmanager
def connection(
    api: Api, where: str, *, accept: str = "application/json", timeout: float = 30
) -> Iterator[http.client.HTTPResponse]:
    """A GET whose answer is read as it comes."""
    url = urlsplit(api.url)
    opened: http.client.HTTPConnection
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=str(api.ca))
        opened = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout, context=context)
    else:
        opened = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
    try:
        opened.request("GET", where, headers={"Accept": accept, "Authorization": f"Bearer {api.token}"})
        yield opened.getresponse()
    finally:
        opened.close()


def get(api: Api, where: str, accept: str) -> Json:
    with connection(api, where, accept=accept) as answer:
        assert answer.status == 200
        body: Json = json.loads(answer.read())
        return body


def events(answer: http.client.HTTPResponse, count: int) -> list[tuple[str, Json]]:
    """The next `count` events of a watch."""
    read = [json.loads(answer.readline()) for _ in range(count)]
    return [(event["type"], event["object"]) for event in read]


def watched(
    api: Api, where: str, *, least: int = 0, accept: str = "application/json"
) -> list[tuple[str, Json]]:
    """All events of a watch that ends by itself, but bookmarks.

    One that showed fewer than `least` is begun again: its time may be over before a busy server has sent what is there.
    """
    for _ in range(5):
        with connection(api, where, accept=accept) as answer:
            assert answer.status == 200
            read = [json.loads(line) for line in answer]
        found = [(event["type"], event["object"]) for event in read if event["type"] != "BOOKMARK"]
        if len(found) >= least:
            break
    return found


# Creating


def test_a_created_object_gets_its_system_fields_and_loses_what_is_not_the_callers(
    api: Api, home: str
) -> None:
    given = a_request("one", labels={"a": "b"})
    given["status"] = {"overallPhase": "Completed"}
    given["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "2020-01-01T00:00:00Z"}
    given["metadata"] |= {"annotations": {}, "finalizers": None}
    made = api.call("POST", path(home), given)
    metadata = made["metadata"]
    assert {key for key in metadata if key != "managedFields"} == {
        *("creationTimestamp", "generation", "labels", "name", "namespace", "resourceVersion", "uid")
    }
    assert (metadata["generation"], metadata["namespace"], metadata["labels"]) == (1, home, {"a": "b"})
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", metadata["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert metadata["creationTimestamp"] > "2026"
    assert "status" not in made
    assert made["spec"] == given["spec"]
    assert api.call("GET", path(home, "one")) == made


def test_unknown_fields_are_dropped_unless_the_caller_is_strict(api: Api, home: str) -> None:
    given = a_request("one", unheardOf=1) | {"extra": True}
    assert "unheardOf" not in api.call("POST", path(home), given)["spec"]
    given["metadata"]["name"] = "two"
    code, reason, _ = refusal(answer := api.send("POST", path(home, fieldValidation="Strict"), given))
    assert (code, reason) == (400, "BadRequest")
    assert 'unknown field "spec.unheardOf"' in answer[1]["message"]
    assert 'unknown field "extra"' in answer[1]["message"]


def test_nulls_are_dropped(api: Api, home: str) -> None:
    given = a_request("one", signalLabels={"a": None, "b": "c"})
    given["spec"]["affectedResources"] = None
    spec = api.call("POST", path(home), given)["spec"]
    assert spec["signalLabels"] == {"b": "c"}
    assert "affectedResources" not in spec


def test_a_name_is_made_from_a_prefix(api: Api, home: str) -> None:
    given = a_request("x")
    given["metadata"] = {"generateName": "some-"}
    assert re.fullmatch(r"some-[a-z0-9]{5}", api.call("POST", path(home), given)["metadata"]["name"])


def test_what_exists_cannot_be_created_again(api: Api, home: str) -> None:
    create(api, home, "one")
    answer = api.send("POST", path(home), a_request("one"))
    assert refusal(answer) == (409, "AlreadyExists", about("one"))
    assert answer[1]["message"] == 'remediationrequests.remediation.kubernaut.io "one" already exists'


def test_a_namespace_must_exist(api: Api) -> None:
    answer = api.send("POST", path("missing"), a_request("one"))
    assert refusal(answer) == (404, "NotFound", {"name": "missing", "kind": "namespaces"})
    assert api.call("GET", path("missing"))["items"] == []


def test_a_terminating_namespace_takes_nothing_new_but_lets_go(api: Api, home: str) -> None:
    create(api, home, "one")
    code, namespace = api.send("DELETE", f"/api/v1/namespaces/{home}")
    assert (code, namespace["status"]["phase"]) == (200, "Terminating")
    answer = api.send("POST", path(home), a_request("two"))
    assert refusal(answer) == (403, "Forbidden", about("two"))
    assert causes(answer) == {("metadata.namespace", "NamespaceTerminating")}
    assert merge(api, home, "one", {"metadata": {"labels": {"a": "b"}}})["metadata"]["labels"] == {"a": "b"}
    assert api.send("DELETE", path(home, "one"))[0] == 200


def changed(**members: Any) -> Json:
    """A request with members of its top level replaced; None removes them."""
    given = a_request("one") | members
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("given", "code", "reason"),
    [
        (b"{no", 400, "BadRequest"),
        (b"", 400, "BadRequest"),
        (b"[]", 400, "BadRequest"),
        (b'"text"', 400, "BadRequest"),
        (changed(kind=None), 400, "BadRequest"),
        (changed(apiVersion=None), 400, "BadRequest"),
        (changed(apiVersion="v1"), 400, "BadRequest"),
        (changed(kind="Other"), 422, "Invalid"),
        (changed(metadata="text"), 400, "BadRequest"),
        (changed(metadata={"name": 5}), 400, "BadRequest"),
        (changed(metadata={"name": "one", "labels": {"a": 1}}), 400, "BadRequest"),
        (changed(metadata={"name": "one", "namespace": "elsewhere"}), 400, "BadRequest"),
        (changed(metadata={"name": "one", "resourceVersion": "5"}), 500, ""),
        (a_request("one", originalPayload="A" * 1_700_000), 500, ""),
        (a_request("one", originalPayload="A" * 3_200_000), 413, "RequestEntityTooLarge"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(
    api: Api, home: str, given: object, code: int, reason: str
) -> None:
    assert refusal(api.send("POST", path(home), given))[:2] == (code, reason)


def test_a_body_of_an_unknown_type_is_refused(api: Api, home: str) -> None:
    answer = api.send("POST", path(home), a_request("one"), content_type="text/plain")
    assert refusal(answer)[:2] == (415, "UnsupportedMediaType")
    create(api, home, "one")
    answer = api.send("PATCH", path(home, "one"), {}, content_type="application/json")
    assert refusal(answer)[:2] == (415, "UnsupportedMediaType")


UNEVALUATED = ("<nil>", "FieldValueInvalid")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"severity": "bad"}, {("spec.severity", "FieldValueNotSupported"), UNEVALUATED}),
        (
            {"severity": 3},
            {
                ("spec.severity", "FieldValueTypeInvalid"),
                ("spec.severity", "FieldValueNotSupported"),
                UNEVALUATED,
            },
        ),
        ({"severity": None}, {("spec.severity", "FieldValueRequired"), UNEVALUATED}),
        ({"signalFingerprint": "zz"}, {("spec.signalFingerprint", "FieldValueInvalid")}),
        ({"environment": ""}, {("spec.environment", "FieldValueInvalid")}),
        ({"environment": "e" * 64}, {("spec.environment", "FieldValueTooLong"), UNEVALUATED}),
        ({"signalName": "é" * 254}, {("spec.signalName", "FieldValueTooLong"), UNEVALUATED}),
        ({"isStorm": 1}, {("spec.isStorm", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"stormAlertCount": 1.5}, {("spec.stormAlertCount", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"stormAlertCount": 10**20}, {("spec.stormAlertCount", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"firingTime": "2026-01-31 09:00:00Z"}, {("spec.firingTime", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"firingTime": "2026-02-30T09:00:00Z"}, {("spec.firingTime", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"providerData": "e30"}, {("spec.providerData", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"providerData": ""}, {("spec.providerData", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"affectedResources": "x"}, {("spec.affectedResources", "FieldValueTypeInvalid"), UNEVALUATED}),
        ({"signalLabels": {"a": 1}}, {("spec.signalLabels.a", "FieldValueTypeInvalid"), UNEVALUATED}),
        (
            {
                "deduplication": {
                    "isDuplicate": False,
                    "firstSeen": "2026-01-31T09:00:00Z",
                    "occurrenceCount": 1,
                }
            },
            {("spec.deduplication.lastSeen", "FieldValueRequired"), UNEVALUATED},
        ),
    ],
)
def test_what_the_schema_forbids_is_refused_with_the_field(
    api: Api, home: str, spec: Json, expected: set[tuple[str, str]]
) -> None:
    answer = api.send("POST", path(home), a_request("one", **spec))
    assert refusal(answer) == (422, "Invalid", about("one", "RemediationRequest"))
    assert causes(answer) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"name": "Upper"}, {("metadata.name", "FieldValueInvalid")}),
        ({"name": "x" * 254}, {("metadata.name", "FieldValueInvalid")}),
        ({}, {("metadata.name", "FieldValueRequired"), UNEVALUATED}),
        ({"name": "a", "labels": {"bad key": "v"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"a/b/c": "v"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"UP.io/c": "v"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"": "v"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"k" * 64: "v"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"k": "v" * 64}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "labels": {"k": "not ok!"}}, {("metadata.labels", "FieldValueInvalid")}),
        ({"name": "a", "annotations": {"Bad Key": "v"}}, {("metadata.annotations", "FieldValueInvalid")}),
        (
            {"name": "a", "annotations": {"k": "v" * 262_144}},
            {("metadata.annotations", "FieldValueTooLong"), UNEVALUATED},
        ),
    ],
)
def test_what_metadata_may_not_hold_is_refused_with_the_field(
    api: Api, home: str, metadata: Json, expected: set[tuple[str, str]]
) -> None:
    answer = api.send("POST", path(home), changed(metadata=metadata))
    assert refusal(answer)[:2] == (422, "Invalid")
    assert causes(answer) == expected


def test_awkward_text_is_kept_and_what_is_no_text_is_replaced(api: Api, home: str) -> None:
    labels = {"nul": "x\x00y", "right-to-left": "مرحبا", "😀": "\u2028", "long": "v" * 65_536}
    assert create(api, home, "one", signalLabels=labels)["spec"]["signalLabels"] == labels
    given = json.dumps(a_request("two", signalLabels={"a": "@", "b": "#"}))
    body = given.replace("@", "\\ud800").encode().replace(b"#", b"\xff")
    assert api.call("POST", path(home), body)["spec"]["signalLabels"] == {"a": "\ufffd", "b": "\ufffd"}


def test_a_dry_run_answers_and_stores_nothing(api: Api, home: str) -> None:
    made = api.call("POST", path(home, dryRun="All"), a_request("one"))
    assert "uid" in made["metadata"]
    assert "resourceVersion" not in made["metadata"]
    assert api.send("GET", path(home, "one"))[0] == 404
    assert refusal(api.send("POST", path(home, dryRun="Some"), a_request("one")))[:2] == (422, "Invalid")
    kept = create(api, home, "one")
    patched = api.call(
        "PATCH", path(home, "one", dryRun="All"), {"spec": {"environment": "dry"}}, content_type=MERGE_PATCH
    )
    assert patched["spec"]["environment"] == "dry"
    api.call("DELETE", path(home, "one", dryRun="All"))
    assert api.call("GET", path(home, "one")) == kept


# Changing


def test_a_merge_patch_with_a_stale_version_is_a_conflict(api: Api, home: str) -> None:
    first = create(api, home, "one")
    second = merge(
        api, home, "one", {"metadata": {"resourceVersion": version(first)}, "spec": {"environment": "e"}}
    )
    assert int(version(second)) > int(version(first))
    answer = api.send(
        "PATCH",
        path(home, "one"),
        {"metadata": {"resourceVersion": version(first)}, "spec": {"environment": "f"}},
        content_type=MERGE_PATCH,
    )
    assert refusal(answer) == (409, "Conflict", about("one"))
    assert (
        "the object has been modified; please apply your changes to the latest version"
        in answer[1]["message"]
    )
    assert api.call("GET", path(home, "one"))["spec"]["environment"] == "e"


def test_a_merge_patch_keeps_what_it_does_not_name_and_removes_nulls(api: Api, home: str) -> None:
    create(api, home, "one", labels={"a": "1", "b": "2"}, signalLabels={"x": "1"})
    patched = merge(
        api,
        home,
        "one",
        {
            "metadata": {"labels": {"a": None, "c": "3"}},
            "spec": {"signalLabels": {"y": "2"}, "priority": "P2"},
        },
    )
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert patched["spec"]["signalLabels"] == {"x": "1", "y": "2"}
    assert (patched["spec"]["priority"], patched["spec"]["severity"]) == ("P2", "critical")


@pytest.mark.parametrize(
    ("patch", "code", "reason"),
    [
        (b"nope", 400, "BadRequest"),
        (b"[]", 400, "BadRequest"),
        ({"metadata": {"name": "other"}}, 400, "BadRequest"),
        ({"metadata": {"namespace": "other"}}, 400, "BadRequest"),
        ({"metadata": {"uid": "other"}}, 422, "Invalid"),
        ({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, 422, "Invalid"),
        ({"metadata": {"resourceVersion": "0"}}, 422, "Invalid"),
        ({"metadata": {"resourceVersion": "abc"}}, 500, ""),
        ({"kind": "Other"}, 422, "Invalid"),
        ({"spec": {"environment": None}}, 422, "Invalid"),
        ({"spec": {"signalFingerprint": "b" * 64}}, 422, "Invalid"),
        ({"metadata": {"labels": {"a": "not ok!"}}}, 422, "Invalid"),
    ],
)
def test_a_merge_patch_that_may_not_be_is_refused(
    api: Api, home: str, patch: object, code: int, reason: str
) -> None:
    before = create(api, home, "one")
    answer = api.send("PATCH", path(home, "one"), patch, content_type=MERGE_PATCH)
    assert refusal(answer)[:2] == (code, reason)
    assert api.call("GET", path(home, "one")) == before


def test_system_fields_come_back_where_a_patch_removes_them(api: Api, home: str) -> None:
    before = create(api, home, "one")
    patched = merge(api, home, "one", {"metadata": {"uid": None, "creationTimestamp": None, "generation": 9}})
    patched = merge(api, home, "one", {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}})
    assert patched["metadata"]["uid"] == before["metadata"]["uid"]
    assert patched["metadata"]["creationTimestamp"] == before["metadata"]["creationTimestamp"]
    assert patched["metadata"]["generation"] == 1


def test_what_is_not_there_cannot_be_read_patched_or_deleted(api: Api, home: str) -> None:
    for answer in (
        api.send("GET", path(home, "one")),
        api.send("PATCH", path(home, "one"), {}, content_type=MERGE_PATCH),
        api.send("PUT", path(home, "one"), a_request("one")),
        api.send("DELETE", path(home, "one")),
    ):
        assert refusal(answer) == (404, "NotFound", about("one"))


def test_a_json_patch_applies_all_its_operations(api: Api, home: str) -> None:
    create(api, home, "one", stormType="rate")
    patch = [
        {"op": "test", "path": "/spec/environment", "value": "production"},
        {"op": "replace", "path": "/spec/environment", "value": "staging"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "c"}},
        {"op": "replace", "path": "/metadata/annotations/a~1b", "value": "d"},
        {"op": "add", "path": "/spec/affectedResources", "value": ["b"]},
        {"op": "add", "path": "/spec/affectedResources/-", "value": "c"},
        {"op": "add", "path": "/spec/affectedResources/0", "value": "a"},
        {"op": "remove", "path": "/spec/affectedResources/1"},
        {"op": "move", "from": "/spec/stormType", "path": "/spec/stormWindow"},
        {"op": "copy", "from": "/spec/severity", "path": "/spec/stormType"},
    ]
    patched = api.call("PATCH", path(home, "one"), patch, content_type=JSON_PATCH)
    assert patched["metadata"]["annotations"] == {"a/b": "d"}
    spec = patched["spec"]
    assert (spec["environment"], spec["affectedResources"]) == ("staging", ["a", "c"])
    assert (spec["stormWindow"], spec["stormType"]) == ("rate", "critical")


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([{"op": "test", "path": "/spec/environment", "value": "other"}], 422),
        ([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}], 422),
        ([{"op": "remove", "path": "/spec/stormType"}], 422),
        ([{"op": "add", "path": "/spec/nothing/there", "value": 1}], 422),
        ([{"op": "shake", "path": "/spec"}], 422),
        ({"op": "remove"}, 400),
    ],
)
def test_a_json_patch_that_does_not_apply_changes_nothing(
    api: Api, home: str, patch: object, code: int
) -> None:
    before = create(api, home, "one")
    answer = api.send("PATCH", path(home, "one"), patch, content_type=JSON_PATCH)
    assert refusal(answer) == ((422, "Invalid", {}) if code == 422 else (400, "BadRequest", {}))
    assert api.call("GET", path(home, "one")) == before


def test_an_object_is_replaced_under_its_version(api: Api, home: str) -> None:
    first = create(api, home, "one", stormType="rate")
    without = {**first, "spec": {k: v for k, v in first["spec"].items() if k != "stormType"}}
    second = api.call("PUT", path(home, "one"), without)
    assert "stormType" not in second["spec"]
    assert refusal(api.send("PUT", path(home, "one"), without)) == (409, "Conflict", about("one"))
    unversioned = {**second, "metadata": {"name": "one", "namespace": home}}
    answer = api.send("PUT", path(home, "one"), unversioned)
    assert refusal(answer) == (422, "Invalid", about("one"))
    assert causes(answer) == {("metadata.resourceVersion", "FieldValueInvalid")}
    stranger = {**second, "metadata": {**second["metadata"], "uid": "other"}}
    assert refusal(api.send("PUT", path(home, "one"), stranger)) == (409, "Conflict", about("one"))
    misnamed = {**second, "metadata": {**second["metadata"], "name": "two"}}
    assert refusal(api.send("PUT", path(home, "one"), misnamed))[:2] == (400, "BadRequest")


def test_status_is_written_through_its_subresource_only(api: Api, home: str) -> None:
    create(api, home, "one")
    patched = merge(api, home, "one", {"status": {"overallPhase": "Completed"}})
    assert "status" not in patched
    both = {"status": {"overallPhase": "Executing"}, "spec": {"environment": "x"}}
    both["metadata"] = {"labels": {"a": "b"}}
    after = merge(api, home, "one", both, "status")
    assert after["status"] == {"overallPhase": "Executing"}
    assert after["spec"]["environment"] == "production"
    assert "labels" not in after["metadata"]
    again = merge(api, home, "one", {"spec": {"environment": "y"}, "status": {"overallPhase": "Failed"}})
    assert (again["status"], again["spec"]["environment"]) == ({"overallPhase": "Executing"}, "y")
    put = api.call("PUT", path(home, "one", "status"), {**again, "status": {"overallPhase": "Failed"}})
    assert put["status"] == {"overallPhase": "Failed"}
    stale = {"metadata": {"resourceVersion": version(again)}, "status": {"overallPhase": "Late"}}
    answer = api.send("PATCH", path(home, "one", "status"), stale, content_type=MERGE_PATCH)
    assert refusal(answer) == (409, "Conflict", about("one"))
    answer = api.send(
        "PATCH", path(home, "one", "status"), {"status": {"overallPhase": 5}}, content_type=MERGE_PATCH
    )
    assert causes(answer) == {("status.overallPhase", "FieldValueTypeInvalid"), UNEVALUATED}
    operation = [{"op": "replace", "path": "/status/overallPhase", "value": "Skipped"}]
    patched = api.call("PATCH", path(home, "one", "status"), operation, content_type=JSON_PATCH)
    assert patched["status"] == {"overallPhase": "Skipped"}
    assert api.call("GET", path(home, "one", "status")) == api.call("GET", path(home, "one"))


def test_a_generation_counts_changes_of_the_spec(api: Api, home: str) -> None:
    create(api, home, "one")
    assert merge(api, home, "one", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert merge(api, home, "one", {"status": {"overallPhase": "X"}}, "status")["metadata"]["generation"] == 1
    assert merge(api, home, "one", {"spec": {"environment": "x"}})["metadata"]["generation"] == 2


def test_a_change_that_changes_nothing_is_no_new_version(api: Api, home: str) -> None:
    first = create(api, home, "one")
    assert version(merge(api, home, "one", {"spec": {"environment": "production"}})) == version(first)
    assert version(merge(api, home, "one", {})) == version(first)
    assert version(api.call("PUT", path(home, "one"), first)) == version(first)


# Deleting


def test_a_deletion_under_preconditions(api: Api, home: str) -> None:
    first = create(api, home, "one")
    second = merge(api, home, "one", {"spec": {"environment": "x"}})
    uid = first["metadata"]["uid"]
    for preconditions in ({"uid": "other"}, {"uid": uid, "resourceVersion": version(first)}):
        answer = api.send("DELETE", path(home, "one"), {"preconditions": preconditions})
        assert refusal(answer) == (409, "Conflict", about("one", "RemediationRequest"))
    code, done = api.send(
        "DELETE",
        path(home, "one"),
        {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": version(second)},
        },
    )
    assert (code, done["kind"], done["status"]) == (200, "Status", "Success")
    assert done["details"] == about("one") | {"uid": uid}
    assert refusal(api.send("DELETE", path(home, "one"))) == (404, "NotFound", about("one"))


def test_a_deletion_that_is_asked_for_wrongly_is_refused(api: Api, home: str) -> None:
    create(api, home, "one")
    assert refusal(api.send("DELETE", path(home, "one", propagationPolicy="Fast")))[:2] == (422, "Invalid")
    assert refusal(api.send("DELETE", path(home, "one"), b"{no"))[:2] == (500, "")
    assert api.send("GET", path(home, "one"))[0] == 200


def test_finalizers_hold_an_object_until_they_are_gone(api: Api, home: str) -> None:
    given = a_request("one")
    given["metadata"]["finalizers"] = ["example.com/hold"]
    first = api.call("POST", path(home), given)
    code, held = api.send("DELETE", path(home, "one"))
    assert code == 200
    assert held["metadata"]["deletionTimestamp"]
    assert (held["metadata"]["generation"], held["metadata"]["deletionGracePeriodSeconds"]) == (2, 0)
    assert api.call("GET", path(home, "one")) == held
    released = merge(api, home, "one", {"metadata": {"finalizers": None}})
    assert released["metadata"]["deletionTimestamp"]
    assert api.send("GET", path(home, "one"))[0] == 404
    seen = watched(api, path(home, watch=1, timeoutSeconds=1, resourceVersion=version(first)), least=2)
    assert [change for change, _ in seen] == ["MODIFIED", "DELETED"]


def test_many_are_deleted_by_a_selector(api: Api, home: str) -> None:
    for number in range(4):
        create(api, home, f"n{number}", labels={"n": str(number)})
    code, answer = api.send("DELETE", path(home, labelSelector="n in (1,2)"))
    assert (code, answer["kind"]) == (200, "RemediationRequestList")
    assert [item["metadata"]["name"] for item in answer["items"]] == ["n1", "n2"]
    assert names(api, path(home)) == ["n0", "n3"]


# Listing


def names(api: Api, where: str) -> list[str]:
    return [item["metadata"]["name"] for item in api.call("GET", where)["items"]]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", ["l0", "l1", "l2", "l3", "plain"]),
        ("n=1", ["l1"]),
        ("n==1", ["l1"]),
        ("n!=1", ["l0", "l2", "l3", "plain"]),
        ("n in (1, 2)", ["l1", "l2"]),
        ("n in (3)", ["l3"]),
        ("n in ()", []),
        ("n notin (1,2)", ["l0", "l3", "plain"]),
        ("n", ["l0", "l1", "l2", "l3"]),
        ("!n", ["plain"]),
        ("n>1", ["l2", "l3"]),
        ("n<1", ["l0"]),
        ("n,all=y,n notin (0)", ["l1", "l2", "l3"]),
        ("example.com/part=x", ["l3"]),
        ("nothing", []),
    ],
)
def test_label_selectors(api: Api, home: str, selector: str, expected: list[str]) -> None:
    for number in range(4):
        labels = {"n": str(number), "all": "y"} | ({"example.com/part": "x"} if number == 3 else {})
        create(api, home, f"l{number}", labels=labels)
    create(api, home, "plain")
    assert names(api, path(home, labelSelector=selector)) == expected


@pytest.mark.parametrize(
    "selector", ["&&", "a=b!", "a in", "a in (b", "a notin b", "a=b=c", "=a", "a b", "a>x"]
)
def test_what_is_no_label_selector_is_refused(api: Api, home: str, selector: str) -> None:
    assert refusal(api.send("GET", path(home, labelSelector=selector)))[:2] == (400, "BadRequest")


def test_field_selectors(api: Api, home: str) -> None:
    create(api, home, "one")
    create(api, home, "two")
    assert names(api, path(home, fieldSelector="metadata.name=one")) == ["one"]
    assert names(api, path(home, fieldSelector="metadata.name!=one")) == ["two"]
    assert names(api, path(home, fieldSelector=f"metadata.namespace={home}")) == ["one", "two"]
    assert names(api, path(home, fieldSelector=f"metadata.name=two,metadata.namespace=={home}")) == ["two"]
    for selector in ("spec.severity=critical", "metadata.name~one"):
        assert refusal(api.send("GET", path(home, fieldSelector=selector)))[:2] == (400, "BadRequest")


def test_the_list_of_all_namespaces(api: Api, home: str) -> None:
    create(api, home, "one", labels={"home": home})
    everywhere = f"{GROUP_PATH}/remediationrequests?labelSelector=home%3D{home}"
    listed = api.call("GET", everywhere)
    assert (listed["kind"], listed["apiVersion"]) == (
        "RemediationRequestList",
        "remediation.kubernaut.io/v1alpha1",
    )
    assert [item["metadata"]["namespace"] for item in listed["items"]] == [home]
    assert api.send("POST", f"{GROUP_PATH}/remediationrequests", a_request("two"))[0] == 404


def test_pages_show_one_moment_whatever_happens_meanwhile(api: Api, home: str) -> None:
    for number in range(5):
        create(api, home, f"n{number}")
    page = api.call("GET", path(home, limit=2))
    at = version(page)
    assert page["metadata"]["remainingItemCount"] == 3
    api.call("DELETE", path(home, "n3"))
    create(api, home, "n31")
    merge(api, home, "n4", {"spec": {"environment": "late"}})
    seen = list(page["items"])
    while token := page["metadata"].get("continue"):
        page = api.call("GET", path(home, **{"limit": 2, "continue": token}))
        assert version(page) == at
        seen += page["items"]
    assert [item["metadata"]["name"] for item in seen] == ["n0", "n1", "n2", "n3", "n4"]
    assert seen[-1]["spec"]["environment"] == "production"
    assert names(api, path(home)) == ["n0", "n1", "n2", "n31", "n4"]
    exact = api.call("GET", path(home, resourceVersion=at, resourceVersionMatch="Exact"))
    assert [item["metadata"]["name"] for item in exact["items"]] == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ({"limit": "x"}, 400, "BadRequest"),
        ({"continue": "zzz"}, 400, "BadRequest"),
        ({"resourceVersion": "abc"}, 400, "BadRequest"),
        ({"resourceVersionMatch": "Exact"}, 422, "Invalid"),
        ({"resourceVersion": "999999999", "timeoutSeconds": "1"}, 504, "Timeout"),
    ],
)
def test_a_list_that_is_asked_for_wrongly_is_refused(
    api: Api, home: str, query: dict[str, str], code: int, reason: str
) -> None:
    assert refusal(api.send("GET", path(home, **query)))[:2] == (code, reason)


def test_metadata_alone(api: Api, home: str) -> None:
    made = create(api, home, "one", labels={"a": "b"})
    one = get(api, path(home, "one"), METADATA)
    assert one == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": made["metadata"],
    }
    listed = get(api, path(home, labelSelector="a in (b,c)"), METADATA_LIST)
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert listed["items"] == [one]


def test_tables_have_the_columns_of_the_definition(api: Api, home: str) -> None:
    create(api, home, "one", isStorm=True, stormAlertCount=3)
    merge(api, home, "one", {"status": {"overallPhase": "Executing"}}, "status")
    shown = get(api, path(home), TABLE)
    assert (shown["kind"], shown["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in shown["columnDefinitions"]]
    wanted = ["Name", "Signal", "Severity", "Priority", "Storm", "Alerts", "Occurrences", "Phase", "Age"]
    assert [name for name in columns if name in wanted] == wanted
    (row,) = shown["rows"]
    cells = dict(zip(columns, row["cells"], strict=True))
    assert re.fullmatch(r"\d+s", cells.pop("Age"))
    expected = ["one", "PodOOMKilled", "critical", "P0", True, 3, 1, "Executing"]
    assert [cells[name] for name in wanted[:-1]] == expected
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert get(api, path(home, "one", includeObject="None"), TABLE)["rows"][0]["object"] is None


# Watching


def test_a_watch_continues_from_a_version(api: Api, home: str) -> None:
    first = create(api, home, "one")
    second = merge(api, home, "one", {"spec": {"environment": "x"}})
    other = create(api, home, "two")
    api.call("DELETE", path(home, "one"))
    seen = watched(api, path(home, watch="true", timeoutSeconds=1, resourceVersion=version(first)), least=3)
    assert [change for change, _ in seen] == ["MODIFIED", "ADDED", "DELETED"]
    assert [item for _, item in seen[:2]] == [second, other]
    last = seen[2][1]
    assert last["spec"] == second["spec"]
    assert int(version(last)) > int(version(other))
    resumed = watched(
        api, path(home, watch="true", timeoutSeconds=1, resourceVersion=version(other)), least=1
    )
    assert resumed == seen[2:]


def test_a_watch_shows_changes_as_they_happen(api: Api, home: str) -> None:
    first = create(api, home, "one")
    where = path(home, watch=1, resourceVersion=version(first), timeoutSeconds=20)
    with connection(api, where) as answer:
        second = merge(api, home, "one", {"spec": {"environment": "x"}})
        assert events(answer, 1) == [("MODIFIED", second)]
        third = create(api, home, "two")
        assert events(answer, 1) == [("ADDED", third)]


def test_a_watch_of_what_is_selected_turns_leaving_into_deletion(api: Api, home: str) -> None:
    start = create(api, home, "start")
    first = create(api, home, "one", labels={"s": "1"})
    left = merge(api, home, "one", {"metadata": {"labels": {"s": "2"}}})
    merge(api, home, "one", {"spec": {"environment": "x"}})
    back = merge(api, home, "one", {"metadata": {"labels": {"s": "1"}}})
    api.call("DELETE", path(home, "one"))
    create(api, home, "two", labels={"s": "2"})
    query = {"watch": 1, "timeoutSeconds": 1, "resourceVersion": version(start), "labelSelector": "s=1"}
    seen = watched(api, path(home, **query), least=4)
    assert [change for change, _ in seen] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    assert [seen[0][1], seen[2][1]] == [first, back]
    gone = seen[1][1]
    assert (version(gone), gone["metadata"]["labels"]) == (version(left), {"s": "1"})
    query = {"watch": 1, "timeoutSeconds": 1, "resourceVersion": version(start)}
    by_name = watched(api, path(home, **query, fieldSelector="metadata.name=two"), least=1)
    assert [(change, item["metadata"]["name"]) for change, item in by_name] == [("ADDED", "two")]


def test_a_watch_of_other_namespaces_is_quiet(api: Api, home: str) -> None:
    start = create(api, home, "one")
    create(api, home, "two")
    query = {"watch": 1, "timeoutSeconds": 1, "resourceVersion": version(start)}
    assert watched(api, path(f"{home}-other", **query)) == []


def test_a_watch_from_too_long_ago_is_told_to_list_again(api: Api, home: str) -> None:
    create(api, home, "one")
    ((change, status),) = watched(api, path(home, watch=1, timeoutSeconds=2, resourceVersion=1), least=1)
    assert change == "ERROR"
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")


def test_a_watch_from_no_version_is_refused(api: Api, home: str) -> None:
    assert refusal(api.send("GET", path(home, watch=1, resourceVersion="abc")))[0] == 500
    answer = api.send("GET", path(home, watch=1, sendInitialEvents="true"))
    assert refusal(answer)[:2] == (422, "Invalid")


def test_a_watch_ends_in_its_time(api: Api, home: str) -> None:
    start = create(api, home, "one")
    began = time.monotonic()
    assert watched(api, path(home, watch=1, timeoutSeconds=1, resourceVersion=version(start))) == []
    assert 0.5 < time.monotonic() - began < 10


def test_bookmarks_bring_a_quiet_watch_forward(api: Api, home: str) -> None:
    # A real server sends one a minute, and this one waits for it.
    mine = create(api, home, "one")
    query = {
        "watch": 1,
        "timeoutSeconds": 90,
        "allowWatchBookmarks": "true",
        "resourceVersion": version(mine),
    }
    with connection(api, path(home, **query), timeout=90) as answer:
        create(api, "default", other := f"bookmarked-{os.urandom(4).hex()}")
        api.call("DELETE", path("default", other))
        ((change, item),) = events(answer, 1)
    assert change == "BOOKMARK"
    assert item == {
        "apiVersion": "remediation.kubernaut.io/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {"resourceVersion": version(item)},
    }
    assert int(version(item)) > int(version(mine))
    late = create(api, home, "two")
    query = {"watch": 1, "timeoutSeconds": 1, "resourceVersion": version(item)}
    assert watched(api, path(home, **query), least=1) == [("ADDED", late)]


def test_a_watch_in_other_forms(api: Api, home: str) -> None:
    start = create(api, home, "one")
    second = merge(api, home, "one", {"spec": {"environment": "x"}})
    third = merge(api, home, "one", {"spec": {"environment": "y"}})
    where = path(home, watch=1, timeoutSeconds=1, resourceVersion=version(start))
    partial = [item for _, item in watched(api, where, accept=METADATA, least=2)]
    assert [item["kind"] for item in partial] == ["PartialObjectMetadata"] * 2
    assert [item["metadata"] for item in partial] == [second["metadata"], third["metadata"]]
    tables = [item for _, item in watched(api, where, accept=TABLE, least=2)]
    assert [item["kind"] for item in tables] == ["Table"] * 2
    assert [bool(item["columnDefinitions"]) for item in tables] == [True, False]
    assert [item["rows"][0]["cells"][0] for item in tables] == ["one", "one"]


# Namespaces, discovery and the rest


def test_namespaces(api: Api, home: str) -> None:
    namespace = api.call("GET", f"/api/v1/namespaces/{home}")
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": home}
    assert (namespace["status"], namespace["spec"]) == ({"phase": "Active"}, {"finalizers": ["kubernetes"]})
    for kind in (MERGE_PATCH, "application/strategic-merge-patch+json"):
        patch = {"metadata": {"labels": {"environment": kind[12:17]}}}
        patched = api.call("PATCH", f"/api/v1/namespaces/{home}", patch, content_type=kind)
        assert patched["metadata"]["labels"]["environment"] == kind[12:17]
    replaced = api.call(
        "PUT", f"/api/v1/namespaces/{home}", {"metadata": {"name": home, "labels": {"a": "b"}}}
    )
    assert replaced["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": home}
    answer = api.send("POST", "/api/v1/namespaces", {"metadata": {"name": home}})
    assert refusal(answer) == (409, "AlreadyExists", {"name": home, "kind": "namespaces"})
    answer = api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "Not.A.Label"}})
    assert refusal(answer) == (422, "Invalid", {"name": "Not.A.Label", "kind": "Namespace"})
    assert refusal(api.send("GET", "/api/v1/namespaces/missing")) == (
        *(404, "NotFound"),
        {"name": "missing", "kind": "namespaces"},
    )
    answer = api.send("DELETE", "/api/v1/namespaces/default")
    assert refusal(answer) == (403, "Forbidden", {"name": "default", "kind": "namespaces"})
    assert refusal(api.send("DELETE", "/api/v1/namespaces"))[:2] == (405, "MethodNotAllowed")


def test_the_resource_is_discovered(api: Api) -> None:
    listed = api.call("GET", GROUP_PATH)["resources"]
    found = {resource["name"]: resource for resource in listed}
    request = found["remediationrequests"]
    assert (request["kind"], request["namespaced"]) == ("RemediationRequest", True)
    assert (request["singularName"], request["shortNames"]) == ("remediationrequest", ["rr"])
    assert set(request["verbs"]) == {
        *("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    }
    assert set(found["remediationrequests/status"]["verbs"]) == {"get", "patch", "update"}
    groups = [group["name"] for group in api.call("GET", "/apis")["groups"]]
    assert {"remediation.kubernaut.io", "apiextensions.k8s.io"} <= set(groups)
    assert "v1" in api.call("GET", "/api")["versions"]
    assert int(api.call("GET", "/version")["minor"]) >= 30


def test_what_is_not_served_is_not_found(api: Api, home: str) -> None:
    create(api, home, "one")
    assert api.send("GET", f"{GROUP_PATH}/others")[0] == 404
    assert api.send("GET", "/apis/other.example.com/v1/things")[0] == 404
    assert refusal(api.send("GET", "/api/v1/others")) == (404, "NotFound", {})
    assert refusal(api.send("GET", path(home, "one", "scale"))) == (404, "NotFound", about("one"))
    assert refusal(api.send("PUT", path(home), a_request("one")))[:2] == (400, "BadRequest")


def test_health_and_permission_are_answered(api: Api) -> None:
    for where in ("/healthz", "/livez", "/readyz"):
        assert api.send("GET", where) == (200, {"message": "ok"})
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "remediationrequests"}}}
    where = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert api.call("POST", where, review)["status"]["allowed"] is True


def schema_of_requests(api: Api) -> Json:
    """The schema that clients are told of, found as kubectl finds it: by group, version and kind."""
    listed = api.call("GET", "/openapi/v3")["paths"]
    document = api.call("GET", listed[GROUP_PATH.strip("/")]["serverRelativeURL"])
    assert document["openapi"] == "3.0.0"
    wanted = {"group": "remediation.kubernaut.io", "kind": "RemediationRequest", "version": "v1alpha1"}
    (schema,) = (
        one
        for one in document["components"]["schemas"].values()
        if wanted in one.get("x-kubernetes-group-version-kind", ())
    )
    return schema


def test_openapi_tells_the_schema_of_the_definition(api: Api) -> None:
    # A real server publishes a definition a moment after it serves its objects.
    def published() -> bool:
        return GROUP_PATH.strip("/") in api.call("GET", "/openapi/v3")["paths"]

    wait_until(published, "the schema to be published", seconds=20)
    definition = yaml.safe_load(CRD_FILE.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema = schema_of_requests(api)
    assert schema["properties"]["spec"] == definition["properties"]["spec"]
    assert schema["properties"]["status"] == definition["properties"]["status"]
    assert set(schema["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert api.send("GET", "/openapi/v3/apis/other.example.com/v1")[0] == 404


@pytest.mark.parametrize("since", [{}, {"resourceVersion": "0"}])
def test_a_watch_without_a_version_begins_with_what_is_there(
    api: Api, home: str, since: dict[str, str]
) -> None:
    first, second = create(api, home, "one"), create(api, home, "two")
    with connection(api, path(home, watch=1, timeoutSeconds=20, **since)) as answer:
        shown = events(answer, 2)
        third = create(api, home, "three")
        assert events(answer, 1) == [("ADDED", third)]
    by_name = sorted((item["metadata"]["name"], change, item) for change, item in shown)
    assert by_name == [("one", "ADDED", first), ("two", "ADDED", second)]


def test_a_watch_of_all_namespaces_sees_each(api: Api, home: str) -> None:
    start = create(api, home, "one")
    mine = create(api, home, "two", labels={"home": home})
    other = create(api, "default", f"two-{home}", labels={"home": home})
    api.call("DELETE", path("default", f"two-{home}"))
    selector = f"labelSelector=home%3D{home}"
    where = f"{GROUP_PATH}/remediationrequests?watch=1&timeoutSeconds=1&{selector}"
    seen = watched(api, f"{where}&resourceVersion={version(start)}", least=3)
    assert [change for change, _ in seen] == ["ADDED", "ADDED", "DELETED"]
    assert [item for _, item in seen[:2]] == [mine, other]
