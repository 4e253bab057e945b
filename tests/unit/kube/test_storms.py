"""Aggregated requests: what is written is read back, sums are right, and whatever alerts hold, it can be stored."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube import fitting, objects, storms
from gateway.kube.decoding import RequestDecoder, UndecodableError
from gateway.kube.storms import Change, Newcomer, Storm, StormDecoder
from gateway.model import Severity, Signal

TERMINAL = ("Completed",)
PREFIX = "remediation.kubernaut.io/"
ETCD_LIMIT = 1.5 * 1024 * 1024
"""What etcd takes (1.5 MiB), of which controllers and others want a part."""


def at(seconds: float) -> str:
    return f"2026-01-31T09:00:{seconds:012.9f}Z"


def fingerprint(text: object) -> str:
    return sha256(str(text).encode()).hexdigest()


def signal(name: object = 0, **fields: Any) -> Signal:
    values: dict[str, Any] = {
        "fingerprint": fingerprint(name),
        "alertname": "PodCrashLooping",
        "namespace": "prod-api",
        "group": "prod-api/PodCrashLooping",
        "labels": {"alertname": "PodCrashLooping", "namespace": "prod-api", "pod": f"api-{name}"},
        "annotations": {"summary": "it crashes"},
        "severity": Severity.WARNING,
        "environment": "production",
        "priority": "P1",
        "resource": f"prod-api:Pod:api-{name}",
        "starts_at": at(1),
        "received_at": at(2),
        "raw": b"{}",
    }
    return Signal(**{**values, **fields})


def newcomer(name: object = 0, *, reached: int = 1, process: str = "p1", **fields: Any) -> Newcomer:
    return Newcomer(
        signal=signal(name, **fields), marks={f"{process}.{name}": f"0-{reached}"}, occurrences=reached
    )


def created(*newcomers: Newcomer, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "window": "w7f3",
        "namespace": "prod-api",
        "name": "rr-podcrashlooping-storm-w7f3",
        "source": "storm",
        "last_seen": at(9),
    }
    body: dict[str, Any] = json.loads(storms.create_body(newcomers=newcomers, **{**values, **fields}))
    body["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    return body


def read(body: dict[str, Any]) -> Storm:
    return StormDecoder(TERMINAL)(json.dumps(body).encode())


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def patched(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"changes": {}, "newcomers": (), "last_seen": at(9)} | fields
    return merged(body, json.loads(storms.patch_body(read(body), **values)))


def full_labels(body: dict[str, Any]) -> list[dict[str, str]]:
    """Every member's labels, as a controller puts them together."""
    storm = read(body)
    return [storm.labels | member.labels for member in storm.members]


def test_a_storm_holds_what_its_alerts_share_and_its_members_the_rest() -> None:
    body = created(
        newcomer(1, reached=2, starts_at=at(5), received_at=at(3)),
        Newcomer(
            signal=signal(
                2,
                severity=Severity.CRITICAL,
                priority="P0",
                labels={"alertname": "PodCrashLooping", "namespace": "prod-api", "pod": "api-2", "zone": "b"},
                annotations={"summary": "it crashes", "runbook": "here"},
                received_at=at(44.5),
            ),
            marks={"p2.1": "0-2,5-6", "p1.8": "0-1"},
            occurrences=4,
            resolved_since=at(1),
            resolved_at=at(50),
        ),
    )
    digest = sha256(b"w7f3").hexdigest()
    assert body["metadata"] == {
        "name": "rr-podcrashlooping-storm-w7f3",
        "namespace": "prod-api",
        "labels": {
            "alert-name": "PodCrashLooping",
            "app.kubernetes.io/managed-by": "gateway",
            PREFIX + "fingerprint": digest[:63],
            PREFIX + "severity": "critical",
            PREFIX + "storm": "true",
            PREFIX + "window": "w7f3",
        },
        "annotations": {PREFIX + "source": "storm"},
        "uid": "u",
        "resourceVersion": "7",
    }
    spec = body["spec"]
    assert json.loads(b64decode(spec.pop("providerData"))) == {
        "processes": ["p1", "p2"],
        "members": [
            {
                "fingerprint": fingerprint(1),
                "resource": "prod-api:Pod:api-1",
                "occurrences": 2,
                "startsAt": at(5),
                "labels": {"pod": "api-1"},
                "marks": {"0.1": "0-2"},
            },
            {
                "fingerprint": fingerprint(2),
                "resource": "prod-api:Pod:api-2",
                "occurrences": 4,
                "startsAt": at(1),
                "labels": {"pod": "api-2", "zone": "b"},
                "marks": {"1.1": "0-2,5-6", "0.8": "0-1"},
                "resolvedStartsAt": at(1),
                "resolvedAt": at(50),
            },
        ],
    }
    assert spec == {
        "signalFingerprint": digest,
        "signalName": "PodCrashLooping",
        "severity": "critical",
        "environment": "production",
        "priority": "P0",
        "signalType": "prometheus",
        "signalSource": "prometheus-adapter",
        "targetType": "kubernetes",
        "firingTime": at(1),
        "receivedTime": at(3),
        "deduplication": {"isDuplicate": False, "firstSeen": at(3), "lastSeen": at(9), "occurrenceCount": 6},
        "isStorm": True,
        "stormType": "rate",
        "stormWindow": "42s",
        "stormAlertCount": 2,
        "affectedResources": ["prod-api:Pod:api-1", "prod-api:Pod:api-2"],
        "signalLabels": {"alertname": "PodCrashLooping", "namespace": "prod-api"},
        "signalAnnotations": {"summary": "it crashes"},
    }


def test_what_is_written_is_what_the_index_and_the_next_write_read() -> None:
    body = created(newcomer(1), newcomer(2, process="p2", reached=3))
    storm = read(body)
    stored = RequestDecoder(TERMINAL)(json.dumps(body).encode())
    assert storm.stored == stored
    assert (stored.is_storm, stored.window, stored.source, stored.count) == (True, "w7f3", "storm", 4)
    assert (stored.generation, stored.applied, stored.damaged) == (0, "", False)
    assert stored.fingerprint == objects.window_fingerprint("w7f3")
    assert stored.members is not None
    assert [(key, marks.applied) for key, marks in stored.members.items()] == [
        (fingerprint(1), {"p1.1": "0-1"}),
        (fingerprint(2), {"p2.2": "0-3"}),
    ]
    assert [member.marks for member in storm.members] == [marks.applied for marks in stored.members.values()]


def test_a_count_leaves_all_but_the_members_it_counts_and_is_guarded_by_the_version() -> None:
    body = created(newcomer(1), newcomer(2))
    change = Change(
        marks={"p1.2": "0-1", "p3.9": "1-4"}, occurrences=4, resolved_since=at(1), resolved_at=at(8)
    )
    patch = json.loads(
        storms.patch_body(read(body), changes={fingerprint(2): change}, newcomers=(), last_seen=at(30))
    )
    assert patch.keys() == {"metadata", "spec"}
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert patch["spec"].keys() == {"providerData", "deduplication"}
    assert patch["spec"]["deduplication"] == {"occurrenceCount": 5, "lastSeen": at(30)}
    before, after = read(body), read(merged(body, patch))
    assert after.members[0] == before.members[0]
    assert (after.members[1].marks, after.members[1].occurrences) == (change.marks, 4)
    assert (after.members[1].resolved_since, after.members[1].resolved_at) == (at(1), at(8))
    assert after.members[1].labels == before.members[1].labels


def test_a_count_without_a_time_leaves_the_time() -> None:
    patch = json.loads(storms.patch_body(read(created(newcomer(1))), changes={}, newcomers=(), last_seen=""))
    assert patch["spec"]["deduplication"] == {"occurrenceCount": 1}


def test_newcomers_join_behind_the_others_and_what_they_do_not_share_goes_down_into_the_members() -> None:
    first = created(newcomer(1, annotations={"summary": "it crashes", "link": "x"}), newcomer(2))
    odd = signal(3).labels | {"namespace": "prod-db"}
    body = patched(
        first, newcomers=[newcomer(3, labels=odd, resource="prod-db:Pod:api-3", reached=5)], last_seen=at(20)
    )
    storm = read(body)
    assert [member.fingerprint for member in storm.members] == [fingerprint(n) for n in (1, 2, 3)]
    assert body["spec"]["signalLabels"] == {"alertname": "PodCrashLooping"}
    assert body["spec"]["signalAnnotations"] == {"summary": "it crashes"}
    assert full_labels(body) == [signal(1).labels, signal(2).labels, odd]
    assert body["spec"]["stormAlertCount"] == 3
    assert body["spec"]["deduplication"]["occurrenceCount"] == 7
    assert body["spec"]["affectedResources"][2] == "prod-db:Pod:api-3"


def test_a_newcomer_makes_a_storm_more_urgent_and_never_less() -> None:
    first = created(newcomer(1))
    body = patched(first, newcomers=[newcomer(2, severity=Severity.CRITICAL, priority="P0", starts_at=at(0))])
    body = patched(body, newcomers=[newcomer(3, severity=Severity.INFO, priority="P3")])
    assert (body["spec"]["severity"], body["spec"]["priority"]) == ("critical", "P0")
    assert body["metadata"]["labels"][PREFIX + "severity"] == "critical"
    assert body["spec"]["firingTime"] == at(0)


def test_the_window_s_length_is_from_the_first_receipt_to_the_last_in_whatever_order_they_join() -> None:
    body = created(newcomer(1, received_at=at(10)), newcomer(2, received_at=at(12.1)))
    assert body["spec"]["stormWindow"] == "3s"
    body = patched(body, newcomers=[newcomer(3, received_at=at(40))])
    assert body["spec"]["stormWindow"] == "30s"
    body = patched(body, newcomers=[newcomer(4, received_at=at(5))])
    assert (body["spec"]["stormWindow"], body["spec"]["receivedTime"]) == ("30s", at(5))
    assert body["spec"]["deduplication"]["firstSeen"] == at(5)


def test_an_environment_that_not_all_are_in_is_none_of_theirs() -> None:
    body = created(newcomer(1), newcomer(2, environment="staging"))
    assert body["spec"]["environment"] == "mixed"
    assert patched(body, newcomers=[newcomer(3)])["spec"]["environment"] == "mixed"
    assert (
        patched(created(newcomer(1)), newcomers=[newcomer(2, environment="")])["spec"]["environment"]
        == "mixed"
    )


def test_resources_are_named_once_each_and_in_order() -> None:
    same = [newcomer(n, resource=f"n:Pod:{name}") for n, name in enumerate("bab")]
    assert created(*same, newcomer(3, resource=""))["spec"]["affectedResources"] == ["n:Pod:b", "n:Pod:a"]


def test_nobody_joins_twice_or_changes_what_is_not_there() -> None:
    body = created(newcomer(1))
    with pytest.raises(ValueError, match="once"):
        created(newcomer(1), newcomer(1))
    with pytest.raises(ValueError, match="once"):
        patched(body, newcomers=[newcomer(1)])
    with pytest.raises(ValueError, match="not among"):
        patched(body, changes={fingerprint(2): Change(marks={}, occurrences=0)})
    with pytest.raises(ValueError, match="has members"):
        created()
    with pytest.raises(ValueError, match="slot"):
        created(Newcomer(signal=signal(), marks={"nodot": "0-1"}, occurrences=1))


def test_an_own_request_is_no_storm() -> None:
    body = {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}, "spec": {"isStorm": False}}
    with pytest.raises(UndecodableError):
        read(body)


def test_where_the_members_are_damaged_there_are_none_and_newcomers_start_anew() -> None:
    body = created(newcomer(1))
    body["spec"]["providerData"] = "damaged!"
    storm = read(body)
    assert (storm.members, storm.stored.members, storm.stored.damaged) == ((), {}, True)
    mended = read(patched(body, newcomers=[newcomer(2)]))
    assert (len(mended.members), mended.stored.damaged) == (1, False)


def test_labels_that_somebody_broke_cost_labels_and_not_marks() -> None:
    body = created(newcomer(1))
    data = json.loads(b64decode(body["spec"]["providerData"]))
    data["members"][0]["labels"] = ["strange"]
    body["spec"]["providerData"] = b64encode(json.dumps(data).encode()).decode()
    storm = read(body)
    assert not storm.stored.damaged
    assert (storm.members[0].labels, storm.members[0].marks) == ({}, {"p1.1": "0-1"})


# --- whatever alerts hold

_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("<>&\x00\u2028\ud800…")), max_size=6)
_LABELS = st.dictionaries(st.sampled_from(["pod", "zone", "a", "ü", "\ud800"]), _TEXT, max_size=4)
_MARKS = st.dictionaries(
    st.builds("{}.{}".format, st.sampled_from(["p1", "p2", "0", "é.x"]), st.integers(1, 3)),
    st.integers(0, 9).map("0-{}".format),
    min_size=1,
    max_size=3,
)


@st.composite
def _newcomers(draw: st.DrawFn, names: str) -> list[Newcomer]:
    found = []
    for name in draw(st.lists(st.sampled_from(names), unique=True, min_size=1)):
        marks = draw(_MARKS)
        one = signal(
            name,
            labels={"alertname": "A", **draw(_LABELS)},
            annotations=draw(_LABELS),
            severity=draw(st.sampled_from(Severity)),
            environment=draw(_TEXT),
            priority=draw(st.sampled_from(["P0", "P1", "P2", "P3", "", "x"])),
            resource=draw(_TEXT),
            starts_at=at(draw(st.integers(0, 59))),
            received_at=at(draw(st.integers(0, 59))),
        )
        reached = sum(int(text.partition("-")[2]) for text in marks.values())
        found.append(Newcomer(signal=one, marks=marks, occurrences=reached))
    return found


@given(_newcomers("abc"), st.lists(_newcomers("defg"), max_size=1), st.data())
def test_members_keep_their_labels_and_marks_whoever_joins_and_counts(
    first: list[Newcomer], later: list[list[Newcomer]], data: st.DataObject
) -> None:
    body = created(*first)
    everyone = list(first)
    for joining in later:
        body = patched(body, newcomers=joining)
        everyone += joining
    counted = {n.signal.fingerprint: (n.marks, n.occurrences) for n in everyone}
    for one in data.draw(st.lists(st.sampled_from(everyone), unique_by=lambda n: n.signal.fingerprint)):
        marks = one.marks | {"p9.1": "0-2"}
        body = patched(
            body, changes={one.signal.fingerprint: Change(marks=marks, occurrences=one.occurrences + 2)}
        )
        counted[one.signal.fingerprint] = (marks, one.occurrences + 2)
    storm = read(body)
    assert [m.fingerprint for m in storm.members] == [n.signal.fingerprint for n in everyone]
    assert {m.fingerprint: (m.marks, m.occurrences) for m in storm.members} == counted
    # The opener's slot comes first, so the order of the marks matters.
    assert [list(m.marks) for m in storm.members] == [list(counted[m.fingerprint][0]) for m in storm.members]
    assert storm.stored.count == sum(occurrences for _, occurrences in counted.values())
    assert full_labels(body) == [objects.clean(n.signal.labels) for n in everyone]
    shared = set.intersection(*({*objects.clean(n.signal.labels).items()} for n in everyone))
    assert set(storm.labels.items()) == shared
    notes = set.intersection(*({*objects.clean(n.signal.annotations).items()} for n in everyone))
    assert set(storm.annotations.items()) == notes
    spec = body["spec"]
    assert spec["firingTime"] == min(n.signal.starts_at for n in everyone)
    assert spec["receivedTime"] == min(n.signal.received_at for n in everyone)
    assert spec["priority"] == min(objects.priority(n.signal.priority) for n in everyone)
    assert spec["stormAlertCount"] == len(everyone)
    assert 1 <= len(spec["environment"]) <= 63
    order = [Severity.CRITICAL, Severity.WARNING, Severity.INFO]
    assert spec["severity"] == min((n.signal.severity for n in everyone), key=order.index)
    assert PREFIX + "trimmed" not in body["metadata"]["annotations"]


# --- room


def stored_bytes(body: dict[str, Any]) -> int:
    """What etcd is given: JSON with the characters of HTML escaped, and the labels' keys again in `managedFields`."""
    keys = [*body["spec"]["signalLabels"], *body["spec"]["signalAnnotations"]]
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return (
        len(text.encode())
        + 5 * sum(map(text.count, "<>&"))
        + 3 * sum(map(text.count, "\u2028\u2029"))
        + sum(fitting.stored_size(key) + len('"f:":{},') for key in keys)
    )


def grown(body: dict[str, Any], processes: int, *, resolved: bool = False) -> dict[str, Any]:
    """Counted on by so many processes, with slots as late as they come in a long life."""
    ended = {"resolved_since": at(1), "resolved_at": at(2)} if resolved else {}
    changes = {
        member.fingerprint: Change(
            marks=member.marks | {f"{p:010x}.{10**6 + place}": "0-1234" for p in range(1, processes)},
            occurrences=member.occurrences + 1234 * (processes - 1),
            **ended,
        )
        for place, member in enumerate(read(body).members)
    }
    return patched(body, changes=changes)


def crowd(size: int, *, width: int = 40, text: str = "x", **fields: Any) -> list[Newcomer]:
    """Alerts of 30 labels each, of which most differ."""
    return [
        newcomer(
            n,
            labels=signal(n).labels | {f"label_{i:02}": f"{n}-{i}-".ljust(width, text) for i in range(27)},
            **fields,
        )
        for n in range(size)
    ]


@pytest.mark.parametrize(
    "arriving",
    [
        lambda: crowd(1000),
        lambda: crowd(1000, width=400, text="\x00"),
        lambda: crowd(1000, resource="\x01" * 5000),
        lambda: [newcomer(n, resource=f"{n}<" + "<" * 5000) for n in range(1000)],
        lambda: crowd(1000, annotations={"a": "<" * 250_000, "b" * 20_000: ""}),
        lambda: [
            newcomer(n, labels={f"c{i}": "<" * 2000 for i in range(100)} | signal(n).labels)
            for n in range(1000)
        ],
    ],
    ids=["usual", "escaped", "one resource", "resources", "annotations", "common"],
)
def test_a_thousand_members_fit_and_still_do_when_ten_processes_count_them(
    arriving: Callable[[], list[Newcomer]],
) -> None:
    members = arriving()
    body = created(*members)
    assert stored_bytes(body) < ETCD_LIMIT - 100_000
    body = grown(body, 10, resolved=True)
    assert stored_bytes(body) < ETCD_LIMIT - 100_000
    assert body["metadata"]["annotations"][PREFIX + "trimmed"] == "true"
    storm = read(body)
    assert len(storm.members) == len(members)
    assert all(len(member.marks) == 10 for member in storm.members)
    assert storm.stored.count == len(members) * (1 + 9 * 1234)


def test_a_hundred_members_of_thirty_labels_keep_them_all() -> None:
    members = crowd(100)
    body = grown(created(*members), 10)
    assert full_labels(body) == [n.signal.labels for n in members]
    assert PREFIX + "trimmed" not in body["metadata"]["annotations"]


def test_labels_that_name_the_resource_outlive_the_others() -> None:
    body = grown(created(*crowd(1000)), 10)
    storm = read(body)
    assert all(member.labels["pod"] == f"api-{n}" for n, member in enumerate(storm.members))
    assert all(len(member.labels) > 3 for member in storm.members)


def test_a_long_name_of_the_resource_comes_before_short_labels_that_say_less() -> None:
    pod = "a-name-of-a-pod-that-is-longer-than-any-other-label-of-this-alert"
    body = created(
        *(newcomer(n, labels=c.signal.labels | {"pod": f"{pod}-{n}"}) for n, c in enumerate(crowd(1000)))
    )
    assert all(member.labels["pod"] == f"{pod}-{n}" for n, member in enumerate(read(body).members))


def test_the_object_says_that_something_was_cut_from_the_write_on_that_cut_it() -> None:
    trimmed = PREFIX + "trimmed"
    assert created(*crowd(1000))["metadata"]["annotations"][trimmed] == "true"
    body = created(*crowd(300))
    assert trimmed not in body["metadata"]["annotations"]
    body = patched(body, newcomers=crowd(700)[300:])
    assert body["metadata"]["annotations"] == {PREFIX + "source": "storm", trimmed: "true"}
    body = created(*crowd(520))
    assert trimmed not in body["metadata"]["annotations"]
    assert grown(body, 10)["metadata"]["annotations"][trimmed] == "true"
    many = [newcomer(n, resource=f"{n}:" + "<" * 300) for n in range(300)]
    assert created(*many)["metadata"]["annotations"][trimmed] == "true"
    assert patched(created(newcomer("x")), newcomers=many)["metadata"]["annotations"][trimmed] == "true"


def test_a_value_that_only_looks_as_if_it_was_cut_is_a_value_like_any_other() -> None:
    body = created(newcomer(1, labels=signal(1).labels | {"text": "so…"}))
    body = patched(body, newcomers=[newcomer(2, labels=signal(2).labels | {"text": "some"})])
    assert [labels["text"] for labels in full_labels(body)] == ["so…", "some"]


def test_one_greedy_member_costs_the_others_nothing() -> None:
    members = [newcomer(n) for n in range(50)]
    greedy = newcomer("greedy", labels=signal("greedy").labels | {"big": "x" * 2_000_000})
    labels = full_labels(created(*members, greedy))
    assert labels[:50] == [n.signal.labels for n in members]
    assert labels[50]["pod"] == "api-greedy"
    assert labels[50]["big"].endswith("…")
    assert len(labels[50]["big"]) > 500_000


def test_a_common_label_that_was_cut_stays_common_while_newcomers_share_it() -> None:
    long = "x" * 100_000
    body = created(*(newcomer(n, labels=signal(n).labels | {"long": long}) for n in range(3)))
    assert body["spec"]["signalLabels"]["long"].endswith("…")
    body = patched(body, newcomers=[newcomer(4, labels=signal(4).labels | {"long": long})])
    assert "long" in body["spec"]["signalLabels"]
    body = patched(body, newcomers=[newcomer(5, labels=signal(5).labels | {"long": "y"})])
    assert "long" not in body["spec"]["signalLabels"]
    assert full_labels(body)[4]["long"] == "y"
    assert full_labels(body)[0]["long"].startswith("xxx")


def test_most_counts_on_a_full_storm_cut_nothing_further() -> None:
    body = created(*crowd(1000))
    labels = [member.labels for member in read(body).members]
    body = grown(body, 2)
    assert [member.labels for member in read(body).members] == labels
