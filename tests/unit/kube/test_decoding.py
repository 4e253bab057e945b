"""Objects of any age and maker are read as far as they go, and one that cannot be read hides no other."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import KubeUnavailable
from gateway.kube.client import LONGEST_LINE, lines
from gateway.kube.decoding import (
    Change,
    Event,
    Failure,
    HeadDecoder,
    RequestDecoder,
    SpaceDecoder,
    UndecodableError,
    decode_line,
    decode_page,
)
from gateway.kube.objects import window_fingerprint
from gateway.kube.stored import MemberMarks
from gateway.model import RequestRef

FP = "1a2b3c4d5e" + "f" * 54
DECODE = RequestDecoder(["Completed", "Failed"])
PREFIX = "remediation.kubernaut.io/"


def provider_data(**fields: Any) -> str:
    member = {"fingerprint": FP, "resource": "n:Pod:p", "occurrences": 2, "startsAt": "", "labels": {}}
    data = {"processes": ["p1"], "members": [{**member, "marks": {"0.4": "0-2"}}]}
    return b64encode(json.dumps(data | fields).encode()).decode()


PROVIDER_DATA = provider_data()


def request(**fields: Any) -> dict[str, Any]:
    metadata = {"name": "rr-a-1", "namespace": "prod", "uid": "u1", "resourceVersion": "17"}
    metadata |= fields.pop("metadata", {})
    spec = {"signalFingerprint": FP, "signalName": "A", "deduplication": {"occurrenceCount": 3}}
    return {
        "kind": "RemediationRequest",
        "metadata": metadata,
        "spec": spec | fields.pop("spec", {}),
        **fields,
    }


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_what_matters_is_read_and_the_rest_skipped() -> None:
    stored = DECODE(
        encoded(
            request(
                metadata={
                    "labels": {PREFIX + "generation": "12", PREFIX + "window": "w1", "other": "x"},
                    "annotations": {
                        PREFIX + "applied": "marks",
                        PREFIX + "source": "recovery",
                        PREFIX + "signal-resolved-at": "at",
                        PREFIX + "signal-resolved-starts-at": "since",
                        "other": "x",
                    },
                    "managedFields": [{"fieldsV1": {"f:x": {}}}],
                },
                spec={"isStorm": True, "signalLabels": {"a": "b"}, "providerData": PROVIDER_DATA},
                status={"overallPhase": "Analyzing", "other": 1},
            )
        )
    )
    assert stored.ref == RequestRef("prod", "rr-a-1")
    assert (stored.namespace, stored.name, stored.uid) == ("prod", "rr-a-1", "u1")
    assert (stored.resource_version, stored.generation, stored.count) == (17, 12, 3)
    assert (stored.fingerprint, stored.signal_name, stored.window) == (FP, "A", "w1")
    assert (stored.applied, stored.resolved_at, stored.resolved_starts_at) == ("marks", "at", "since")
    assert (stored.is_storm, stored.open, stored.phase, stored.deleted) == (True, True, "Analyzing", False)
    assert (stored.members, stored.damaged, stored.source) == (
        {FP: MemberMarks({"p1.4": "0-2"})},
        False,
        "recovery",
    )


@pytest.mark.parametrize(
    ("phase", "dying", "is_open"),
    [
        ("", False, True),
        ("Pending", False, True),
        ("Completed", False, False),
        ("Failed", False, False),
        ("completed", False, True),
        ("Pending", True, False),
    ],
)
def test_open_until_the_phase_is_terminal_or_deletion_was_asked_for(
    phase: str,
    dying: bool,
    is_open: bool,
) -> None:
    metadata = {"deletionTimestamp": "2026-01-31T09:00:00Z"} if dying else {}
    stored = DECODE(encoded(request(metadata=metadata, status={"overallPhase": phase})))
    assert (stored.open, stored.deleted) == (is_open, dying)


def test_an_object_of_someone_else_s_making_is_read_too() -> None:
    stored = DECODE(encoded({"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}}))
    assert (stored.fingerprint, stored.generation, stored.count, stored.open) == ("", 0, 0, True)


@pytest.mark.parametrize(
    ("label", "name", "generation"),
    [
        ("3", "whatever", 3),
        ("3", "rr-a-1a2b3c4d5e-9", 3),
        (None, "rr-a-1a2b3c4d5e-9", 9),
        (None, "rr-a-1a2b3c4d5effffff-9", 9),
        (None, "rr-a-1a2b3c4d5efffff-9", 0),
        (None, "rr-a-0000000000-9", 0),
        (None, "rr-1a2b3c4d5eff-1763712345", 0),
        (None, "rr-a-1a2b3c4d5e-x", 0),
        (None, "rr", 0),
        ("", "rr-a-1a2b3c4d5e-9", 9),
        ("-1", "x", 0),
        ("three", "x", 0),
        ("٣", "x", 0),
        ("99999999999999999999", "x", 0),
    ],
)
def test_the_generation_is_the_label_s_or_that_of_a_name_only_the_gateway_gives(
    label: str | None, name: str, generation: int
) -> None:
    labels = {} if label is None else {PREFIX + "generation": label}
    assert DECODE(encoded(request(metadata={"name": name, "labels": labels}))).generation == generation


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no base64!",
        7,
        b64encode(b"no JSON").decode(),
        b64encode(b"{}").decode(),
        b64encode(b'{"namespace":"n","resource":{"kind":"Pod","name":"p"}}').decode(),
        provider_data(processes=[]),
        provider_data(processes="p1"),
        provider_data(members=[{"fingerprint": FP}]),
        provider_data(members=2 * json.loads(b64decode(PROVIDER_DATA))["members"]),
        PROVIDER_DATA[:-8],
    ],
)
def test_members_that_cannot_be_read_are_said_to_be_damaged_and_the_rest_is_read(text: Any) -> None:
    spec = {"isStorm": True} | ({} if text is None else {"providerData": text})
    stored = DECODE(encoded(request(spec=spec)))
    assert (stored.members, stored.damaged, stored.count) == ({}, True, 3)


@pytest.mark.parametrize("text", [PROVIDER_DATA, "no base64!", 7])
def test_the_provider_data_of_an_own_request_are_not_looked_at(text: Any) -> None:
    stored = DECODE(encoded(request(spec={"providerData": text})))
    assert (stored.members, stored.damaged) == (None, False)


@pytest.mark.parametrize(
    ("window", "name", "found"),
    [
        ("w7f3", "rr-a-storm-w7f3", "w7f3"),
        ("w7f3", "rr-a-storm-b-storm-w7f3", "w7f3"),
        ("w7f3", "rr-a-storm-other", ""),
        ("w7f3", "foreign", ""),
    ],
)
def test_a_window_whose_label_was_stripped_is_told_by_the_name(window: str, name: str, found: str) -> None:
    spec = {"isStorm": True, "signalFingerprint": window_fingerprint(window), "providerData": PROVIDER_DATA}
    assert DECODE(encoded(request(metadata={"name": name}, spec=spec))).window == found


_BROKEN = [
    b"",
    b"{}",
    b"[]",
    b"\xff",
    encoded(request(metadata={"resourceVersion": "x"})),
    encoded(request(metadata={"resourceVersion": 7})),
    encoded(request(spec={"deduplication": {"occurrenceCount": "many"}})),
]


@pytest.mark.parametrize("raw", _BROKEN)
def test_what_is_no_request_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(UndecodableError):
        DECODE(raw)


@pytest.mark.parametrize("decoder", [DECODE, HeadDecoder(), SpaceDecoder("environment")])
@given(st.binary())
def test_arbitrary_bytes_are_no_object(decoder: Any, raw: bytes) -> None:
    with pytest.raises(UndecodableError):
        decoder(raw)


def test_one_strange_object_hides_no_other() -> None:
    page = decode_page(
        encoded(
            {
                "metadata": {"resourceVersion": "99", "continue": "next"},
                "items": [request(), request(metadata={"uid": 5}), request(metadata={"uid": "u2"})],
            }
        ),
        DECODE,
    )
    assert [stored.uid for stored in page.items] == ["u1", "u2"]
    assert (page.resource_version, page.token, page.skipped) == (99, "next", 1)


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_is_a_list(items: list[Any] | None) -> None:
    page = decode_page(encoded({"metadata": {"resourceVersion": "5"}, "items": items}), DECODE)
    assert (page.items, page.resource_version, page.token) == ([], 5, "")


@pytest.mark.parametrize("body", [b"", b"null", b'{"items":[]}', b'{"metadata":{"resourceVersion":"x"}}'])
def test_what_is_no_list_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode_page(body, DECODE)


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_events_carry_their_object(kind: str) -> None:
    event = decode_line(encoded({"type": kind, "object": request()}), DECODE)
    assert event == Event(Change(kind), 17, DECODE(encoded(request())))


def test_a_bookmark_carries_only_a_version() -> None:
    line = encoded({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "123"}}})
    assert decode_line(line, DECODE) == Event(Change.BOOKMARK, 123, None)


def test_an_unreadable_object_still_moves_the_version() -> None:
    line = encoded({"type": "ADDED", "object": {"metadata": {"resourceVersion": "55"}}})
    event = decode_line(line, DECODE)
    assert event == Event(Change.UNKNOWN, 55, None)
    assert isinstance(event, Event)
    assert event.unreadable
    assert decode_line(encoded({"type": "NEW", "object": request()}), DECODE) == Event(
        Change.UNKNOWN, 17, None
    )


def test_a_failure_carries_its_status() -> None:
    said = {"kind": "Status", "code": 410, "reason": "Expired"}
    failure = decode_line(encoded({"type": "ERROR", "object": said}), DECODE)
    assert isinstance(failure, Failure)
    assert failure.status == 410
    assert json.loads(failure.body) == said


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"type":"ADDED"}', b'{"type":"BOOKMARK","object":7}', b"\xff"]
)
def test_what_is_no_event_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(UndecodableError):
        decode_line(line, DECODE)


def test_heads_and_namespaces() -> None:
    labels = {PREFIX + "fingerprint": FP[:63], PREFIX + "generation": "2", "env": "prod"}
    raw = encoded(request(metadata={"labels": labels}))
    head = HeadDecoder()(raw)
    assert (head.ref, head.uid, head.resource_version) == (RequestRef("prod", "rr-a-1"), "u1", 17)
    assert (head.fingerprint, head.generation) == (FP[:63], 2)
    space = SpaceDecoder("env")(raw)
    assert (space.name, space.environment, space.deleted, space.resource_version) == (
        "rr-a-1",
        "prod",
        False,
        17,
    )
    assert SpaceDecoder("other")(raw).environment is None


@given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b"")).filter(bytes.strip)), st.data())
async def test_lines_are_whole_in_whatever_pieces_they_come(wanted: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in wanted) + b"unfinished"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]

    async def pieces() -> Any:
        for start, end in pairwise(edges):
            yield stream[start:end]

    assert [line async for line in lines(pieces())] == wanted


async def test_a_line_without_end_is_given_up() -> None:
    async def pieces() -> Any:
        while True:
            yield b"x" * (LONGEST_LINE // 4)

    with pytest.raises(KubeUnavailable):
        async for _ in lines(pieces()):
            pass
