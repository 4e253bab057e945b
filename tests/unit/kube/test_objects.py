"""Requests are valid whatever alerts hold, named alike everywhere, and counted by one guarded write."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube import fitting, objects
from gateway.kube.decoding import RequestDecoder
from gateway.model import Severity, Signal

FP = "1a2b3c4d5e" + "f" * 54
AT = "2026-01-31T09:00:00.000000000Z"
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def signal(**fields: Any) -> Signal:
    values: dict[str, Any] = {
        "fingerprint": FP,
        "alertname": "PodOOMKilled",
        "namespace": "prod-api",
        "group": "prod-api/PodOOMKilled",
        "labels": {"alertname": "PodOOMKilled", "namespace": "prod-api"},
        "annotations": {"summary": "out of memory"},
        "severity": Severity.CRITICAL,
        "environment": "production",
        "priority": "P0",
        "resource": "prod-api:Pod:api-0",
        "starts_at": AT,
        "received_at": AT,
        "raw": b'{"labels":{}}',
    }
    return Signal(**{**values, **fields})


def created(one: Signal, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "namespace": "prod-api",
        "name": "rr-x-1",
        "generation": 1,
        "applied": "{}",
        "count": 1,
        "first_seen": AT,
        "last_seen": AT,
    }
    body: dict[str, Any] = json.loads(objects.create_body(one, **{**values, **fields}))
    return body


@pytest.mark.parametrize(
    ("alertname", "name"),
    [
        ("PodOOMKilled", "rr-podoomkilled-1a2b3c4d5e-1"),
        ("Kube_Pod.Crash Looping", "rr-kube-pod-crash-looping-1a2b3c4d5e-1"),
        ("--x--", "rr-x-1a2b3c4d5e-1"),
        ("\U0001f4a5", "rr-alert-1a2b3c4d5e-1"),
        ("", "rr-alert-1a2b3c4d5e-1"),
        ("İ", "rr-i-1a2b3c4d5e-1"),
        ("a" * 100, f"rr-{'a' * 47}-1a2b3c4d5e-1"),
        ("a" * 46 + "-b", f"rr-{'a' * 46}-1a2b3c4d5e-1"),
    ],
)
def test_names_are_made_of_the_alert_name_and_the_fingerprint(alertname: str, name: str) -> None:
    assert objects.request_name(alertname, FP, 1) == name


@given(st.text(), st.integers(1, 10**9), st.sampled_from(sorted(objects.NAME_DIGITS)))
def test_every_name_is_a_dns_label_that_ends_in_digits_and_generation(
    alertname: str, generation: int, digits: int
) -> None:
    name = objects.request_name(alertname, FP, generation, digits)
    assert DNS_LABEL.fullmatch(name)
    assert name.startswith("rr-")
    assert name.endswith(f"-{FP[:digits]}-{generation}")
    assert "--" not in name


@given(st.text(max_size=80))
def test_a_name_that_no_namespace_can_have_is_told(name: str) -> None:
    assert objects.is_namespace(name) == bool(DNS_LABEL.fullmatch(name))


def test_a_storm_is_named_by_its_window() -> None:
    assert objects.storm_name("PodOOMKilled", "w7f3") == "rr-podoomkilled-storm-w7f3"


def test_a_request_holds_what_its_alert_says() -> None:
    body = created(
        signal(),
        name="rr-podoomkilled-1a2b3c4d5e-2",
        generation=2,
        applied='{"p.1":"0-3"}',
        count=3,
        last_seen="2026-01-31T10:00:00.000000000Z",
        source="buffer_expiration",
        predecessor="rr-podoomkilled-1a2b3c4d5e-1",
    )
    assert body["metadata"] == {
        "name": "rr-podoomkilled-1a2b3c4d5e-2",
        "namespace": "prod-api",
        "labels": {
            "alert-name": "PodOOMKilled",
            "app.kubernetes.io/managed-by": "gateway",
            "remediation.kubernaut.io/fingerprint": FP[:63],
            "remediation.kubernaut.io/generation": "2",
            "remediation.kubernaut.io/severity": "critical",
            "remediation.kubernaut.io/storm": "false",
        },
        "annotations": {
            "remediation.kubernaut.io/applied": '{"p.1":"0-3"}',
            "remediation.kubernaut.io/source": "buffer_expiration",
        },
    }
    spec = body["spec"]
    assert json.loads(b64decode(spec.pop("providerData"))) == {
        "namespace": "prod-api",
        "resource": {"kind": "Pod", "name": "api-0"},
    }
    assert b64decode(spec.pop("originalPayload")) == b'{"labels":{}}'
    assert spec == {
        "signalFingerprint": FP,
        "signalName": "PodOOMKilled",
        "severity": "critical",
        "environment": "production",
        "priority": "P0",
        "signalType": "prometheus",
        "signalSource": "prometheus-adapter",
        "targetType": "kubernetes",
        "firingTime": AT,
        "receivedTime": AT,
        "deduplication": {
            "isDuplicate": False,
            "firstSeen": AT,
            "lastSeen": "2026-01-31T10:00:00.000000000Z",
            "occurrenceCount": 3,
            "previousRemediationRequestRef": "rr-podoomkilled-1a2b3c4d5e-1",
        },
        "isStorm": False,
        "signalLabels": {"alertname": "PodOOMKilled", "namespace": "prod-api"},
        "signalAnnotations": {"summary": "out of memory"},
    }


def test_an_alert_that_resolved_before_its_request_is_marked_from_the_start() -> None:
    annotations = created(signal(), resolved_at=AT, resolved_starts_at=AT)["metadata"]["annotations"]
    assert annotations["remediation.kubernaut.io/signal-resolved-at"] == AT
    assert annotations["remediation.kubernaut.io/signal-resolved-starts-at"] == AT


def test_the_alert_s_own_namespace_survives_the_fallback() -> None:
    one = signal(namespace="gone", labels={"alertname": "A", "namespace": "gone"})
    body = created(one, namespace="kubernaut-system")
    assert body["metadata"]["namespace"] == "kubernaut-system"
    assert body["spec"]["signalLabels"]["namespace"] == "gone"
    assert json.loads(b64decode(body["spec"]["providerData"]))["namespace"] == "gone"


@given(
    alertname=st.text(min_size=1),
    environment=st.text(),
    priority=st.text(),
    namespace=st.text(),
    resource=st.text(),
    labels=st.dictionaries(st.text(min_size=1), st.text()),
    annotations=st.dictionaries(st.text(), st.text()),
    raw=st.binary(),
)
def test_whatever_an_alert_holds_the_object_is_within_its_bounds(**fields: Any) -> None:
    body = created(signal(**fields))
    spec = body["spec"]
    assert all(LABEL_VALUE.fullmatch(value) for value in body["metadata"]["labels"].values())
    assert len(spec["signalName"]) <= 253
    assert 1 <= len(spec["environment"]) <= 63
    assert spec["priority"] in {"P0", "P1", "P2", "P3"}
    assert b64decode(spec.get("originalPayload", "")) == fields["raw"]
    assert spec["signalLabels"] == fields["labels"]


def test_half_a_surrogate_pair_is_replaced() -> None:
    one = signal(
        alertname="a\ud800", environment="\udfff", labels={"k\ud800": "v\udc00"}, resource="\ud800:P:\ud800"
    )
    assert created(one)["spec"]["signalLabels"] == {"k?": "v?"}


def test_a_payload_beyond_its_limit_is_left_out_whole() -> None:
    assert "originalPayload" in created(signal(raw=b"x" * fitting.LONGEST_PAYLOAD))["spec"]
    assert "originalPayload" not in created(signal(raw=b"x" * (fitting.LONGEST_PAYLOAD + 1)))["spec"]
    assert "originalPayload" not in created(signal(raw=b""))["spec"]


def test_a_trimmed_object_says_so() -> None:
    body = created(signal(labels={"alertname": "A", "big": "x" * 500_000}))
    assert body["metadata"]["annotations"]["remediation.kubernaut.io/trimmed"] == "true"
    assert body["spec"]["signalLabels"]["alertname"] == "A"
    assert "remediation.kubernaut.io/trimmed" not in created(signal())["metadata"]["annotations"]


def test_a_count_is_one_write_guarded_by_the_version() -> None:
    patch = objects.patch_body(resource_version=42, applied='{"p.1":"0-2"}', count=2, last_seen=AT)
    assert json.loads(patch) == {
        "metadata": {
            "resourceVersion": "42",
            "annotations": {"remediation.kubernaut.io/applied": '{"p.1":"0-2"}'},
        },
        "spec": {"deduplication": {"occurrenceCount": 2, "lastSeen": AT}},
    }


def test_marks_and_count_are_never_written_apart() -> None:
    with pytest.raises(ValueError, match="together"):
        objects.patch_body(resource_version=1, applied="{}")
    with pytest.raises(ValueError, match="together"):
        objects.patch_body(resource_version=1, count=1)


def test_a_mark_of_resolution_can_be_set_cleared_and_left() -> None:
    prefix = "remediation.kubernaut.io/signal-resolved-"
    set_one = json.loads(objects.patch_body(resource_version=1, resolved_at=AT, resolved_starts_at=AT))
    assert set_one["metadata"]["annotations"] == {prefix + "at": AT, prefix + "starts-at": AT}
    assert "spec" not in set_one
    cleared = json.loads(objects.patch_body(resource_version=1, resolved_at=None, resolved_starts_at=None))
    assert cleared["metadata"]["annotations"] == {prefix + "at": None, prefix + "starts-at": None}
    assert "annotations" not in json.loads(objects.patch_body(resource_version=1, last_seen=AT))["metadata"]


def test_what_is_written_is_read_back() -> None:
    body = created(signal(), name="rr-podoomkilled-1a2b3c4d5e-4", generation=4, applied="marks", count=9)
    body["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    stored = RequestDecoder(["Completed"])(json.dumps(body).encode())
    assert (stored.generation, stored.applied, stored.count, stored.fingerprint) == (4, "marks", 9, FP)
    assert (stored.source, stored.members, stored.damaged) == ("immediate", None, False)


_NASTY = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("<>&\x00\u2028\U0001f4a5")), max_size=30
)
_SIZES = st.sampled_from([1, 1, 40, 3000, 20_000])


@given(st.dictionaries(_NASTY, st.builds(lambda text, times: text * times, _NASTY, _SIZES), max_size=12))
def test_what_is_kept_fits_and_is_as_it_was_or_marked_as_cut(labels: dict[str, str]) -> None:
    fitted = fitting.fit(labels, {})
    size = sum(2 * fitting.stored_size(k) + fitting.stored_size(v) + 16 for k, v in fitted.labels.items())
    assert size <= fitting.BUDGET
    assert fitted.trimmed == (fitted.labels != labels)
    for key, value in fitted.labels.items():
        assert value == labels[key] or (value.endswith("…") and labels[key].startswith(value[:-1]))
    assert list(fitted.labels) == [key for key in labels if key in fitted.labels]


def test_long_values_are_cut_and_short_ones_stay() -> None:
    labels = {"long": "<" * 300_000, "longer": "x" * 600_000, **{f"short{n}": "v" * 100 for n in range(50)}}
    fitted = fitting.fit(labels, {})
    assert fitted.trimmed
    assert all(fitted.labels[key] == labels[key] for key in labels if key.startswith("short"))
    # Each of the two long ones has about half of what the short ones leave.
    assert fitting.stored_size(fitted.labels["long"]) > 0.45 * fitting.BUDGET
    assert fitting.stored_size(fitted.labels["longer"]) > 0.45 * fitting.BUDGET


def test_name_and_namespace_outlive_any_number_of_labels() -> None:
    labels = {f"l{n}": "" for n in range(100_000)} | {"alertname": "A", "namespace": "n"}
    fitted = fitting.fit(labels, {})
    assert fitted.trimmed
    assert (fitted.labels["alertname"], fitted.labels["namespace"]) == ("A", "n")
    assert len(fitted.labels) > 10_000


@given(st.text(), st.integers(3, 2000))
def test_a_text_is_cut_once_however_often_it_is_cut(text: str, room: int) -> None:
    once = fitting.cut(text, room)
    assert fitting.stored_size(once) <= max(room, fitting.stored_size(fitting.CUT))
    again = fitting.cut(once, max(3, room - 5))
    assert again.removesuffix("…") == once.removesuffix("…")[: len(again.removesuffix("…"))]
    assert not again.removesuffix("…").endswith("…") or "……" in text
