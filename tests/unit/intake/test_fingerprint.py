"""A fingerprint names one problem: it stays while the problem stays, and no two problems share one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config import load
from gateway.intake.fingerprint import Basis, Fingerprinter, Identity

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=5)


def fingerprinter(*sets: str) -> Fingerprinter:
    settings = load(None, {}, sets)
    return Fingerprinter(settings.dedup, settings.storm.group_by)


RESOURCE_LABELS = [
    "exported_pod",
    "pod",
    "deployment",
    "statefulset",
    "daemonset",
    "cronjob",
    "job_name",
    "persistentvolumeclaim",
    "horizontalpodautoscaler",
    "node",
]

DEFAULT = fingerprinter()


def identify(
    by: Fingerprinter = DEFAULT, annotations: dict[str, str] | None = None, **labels: str
) -> Identity:
    return by.identify({"alertname": "A", **labels}, annotations or {})


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (identify(annotations={"fingerprint": "mine"}), ["/A", "annotation", "mine"]),
        (
            identify(namespace="prod", pod="web-1"),
            ["prod/A", "resource", "prod", "A", "prod", "Pod", "web-1"],
        ),
        (identify(namespace="prod", node="n1"), ["prod/A", "resource", "prod", "A", "", "Node", "n1"]),
        (
            identify(namespace="prod", job="x", instance="é", uid="u", empty=""),
            ["prod/A", "labels", "alertname", "A", "instance", "é", "job", "x", "namespace", "prod"],
        ),
    ],
    ids=["annotation", "resource", "node", "labels"],
)
def test_what_is_hashed_never_changes_between_versions(found: Identity, parts: list[str]) -> None:
    # A change would give every open problem of a running installation a second request.
    assert found.fingerprint == sha256(b"\xff".join(part.encode() for part in parts)).hexdigest()


@given(LABELS, st.randoms())
def test_the_order_of_labels_makes_no_difference(labels: dict[str, str], random: Any) -> None:
    entries = list({"alertname": "A", **labels}.items())
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert DEFAULT.identify(dict(entries), {}) == DEFAULT.identify(dict(shuffled), {})


@given(LABELS)
def test_an_empty_label_is_no_label(labels: dict[str, str]) -> None:
    everything = {"alertname": "A", **labels}
    assume(everything["alertname"])
    present = {name: value for name, value in everything.items() if value}
    assert DEFAULT.identify(everything, {}) == DEFAULT.identify(present, {})


@given(LABELS, LABELS)
def test_different_labels_have_different_fingerprints(one: dict[str, str], other: dict[str, str]) -> None:
    sides = [{name: value for name, value in side.items() if value} for side in (one, other)]
    assume(sides[0] != sides[1])
    by = fingerprinter(
        "dedup.exclude_labels=[]", """dedup.rules=[{matchers: ['alertname="A"'], by: labels}]"""
    )
    assume(all("alertname" not in side for side in sides))
    first, second = (by.identify({"alertname": "A", **side}, {}).fingerprint for side in sides)
    assert first != second


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "b", "c": "d"}, {"a": "b\xffc\xffd"}),
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "b", "c": "d"}, {"a": "b,c=d"}),
        ({"namespace": "x/A", "a": "b"}, {"namespace": "x", "a": "b"}),
        ({"namespace": "n", "pod": "x"}, {"namespace": "n", "node": "x"}),
        ({"namespace": "n", "pod": "x"}, {"namespace": "n", "deployment": "x"}),
        ({"namespace": "n", "pod": "x"}, {"namespace": "m", "pod": "x"}),
        ({"namespace": "n:Pod", "pod": "x"}, {"namespace": "n", "pod": "Pod:x"}),
        ({"exported_namespace": "n", "pod": "x"}, {"exported_namespace": "m", "pod": "x"}),
        ({"pod": "x"}, {"resource": "x"}),
    ],
)
def test_no_value_can_pass_for_the_border_between_two(one: dict[str, str], other: dict[str, str]) -> None:
    assert identify(**one).fingerprint != identify(**other).fingerprint


def test_an_annotation_cannot_pass_for_a_resource_or_for_labels() -> None:
    parts = ["\xff", "resource", "labels", "n", "A", "Pod", "x"]
    forged = {
        identify(namespace="n", annotations={"fingerprint": "\xff".join(parts[i:])}).fingerprint
        for i in range(7)
    }
    assert identify(namespace="n", pod="x").fingerprint not in forged
    assert identify(namespace="n").fingerprint not in forged


@given(st.tuples(TEXT, TEXT.filter(bool)), st.tuples(TEXT, TEXT.filter(bool)))
def test_groups_are_unambiguous(one: tuple[str, str], other: tuple[str, str]) -> None:
    groups = [
        DEFAULT.identify({"alertname": name, "namespace": space}, {}).group for space, name in (one, other)
    ]
    assert (groups[0] == groups[1]) == (one == other)


def test_a_group_is_readable_and_bounded() -> None:
    assert identify(namespace="prod-api").group == "prod-api/A"
    assert identify().group == "/A"
    assert identify(namespace="a/b%c").group == "a%2Fb%25c/A"
    long = identify(namespace="n" * 65536, alertname="a" * 65536).group
    assert len(long) < 200
    assert long != identify(namespace="n" * 65537, alertname="a" * 65536).group
    assert identify(namespace="%%" + "0" * 64).group.startswith("%25%25")


def test_further_labels_of_a_group_are_a_hash_in_its_key() -> None:
    by = fingerprinter("storm.group_by=[team, alertname, cluster]")
    one = identify(by, team="a", cluster="b", namespace="n")
    assert one.group.startswith("/A/")
    assert len(one.group) == len("/A/") + 32
    assert one.group == identify(by, team="a", cluster="b", namespace="m").group
    assert one.group != identify(by, team="ab", cluster="").group
    assert one.group != identify(by, team="b", cluster="a").group
    assert by.identify({"alertname": "A/x"}, {}).group != by.identify({"alertname": "A"}, {}).group


@pytest.mark.parametrize("label", RESOURCE_LABELS)
def test_the_resource_decides_where_a_label_names_one(label: str) -> None:
    one = identify(
        namespace="n", **{label: "x"}, instance="10.0.0.1:80", job="a", service="s", severity="warning"
    )
    other = identify(
        namespace="n", **{label: "x"}, instance="10.9.9.9:80", job="b", service="t", severity="critical"
    )
    assert one == other
    assert one.basis is Basis.RESOURCE
    assert one.fingerprint != identify(namespace="n", **{label: "y"}).fingerprint


def test_resources_are_asked_in_the_documented_order() -> None:
    labels = {"node": "g", "deployment": "c", "pod": "b", "exported_pod": "a"}
    seen = []
    while labels:
        seen.append(identify(namespace="n", **labels).resource)
        labels.popitem()
    assert seen == ["n:Pod:a", "n:Pod:b", "n:Deployment:c", ":Node:g"]


def test_job_and_service_name_no_resource() -> None:
    found = identify(namespace="n", job="kube-state-metrics", service="ksm", instance="i")
    assert (found.basis, found.resource) == (Basis.LABELS, "")
    assert (
        found.fingerprint
        != identify(namespace="n", job="kube-state-metrics", service="ksm", instance="j").fingerprint
    )


def test_a_renamed_namespace_is_that_of_the_resource() -> None:
    one = identify(namespace="monitoring", exported_namespace="prod", exported_pod="web-0")
    other = identify(namespace="monitoring", exported_namespace="test", exported_pod="web-0")
    assert (one.resource, other.resource) == ("prod:Pod:web-0", "test:Pod:web-0")
    assert one.fingerprint != other.fingerprint
    assert one.group == "monitoring/A"


def test_an_annotation_decides_before_all_else() -> None:
    one = identify(annotations={"fingerprint": "any text"}, namespace="n", pod="a")
    other = identify(annotations={"fingerprint": "any text"}, namespace="n", pod="b")
    assert one.fingerprint == other.fingerprint
    assert one.basis is Basis.ANNOTATION
    assert one.resource == "n:Pod:a"
    assert identify(annotations={"fingerprint": ""}, namespace="n", pod="a").basis is Basis.RESOURCE
    assert one.fingerprint != identify(annotations={"fingerprint": "any text"}, namespace="m").fingerprint


def test_excluded_labels_do_not_count() -> None:
    one = identify(namespace="n", prometheus="p/0", prometheus_replica="0", replica="a", uid="1")
    assert one.fingerprint == identify(namespace="n", prometheus="p/1", replica="b").fingerprint
    assert (
        one.fingerprint
        != identify(fingerprinter("dedup.exclude_labels=[]"), namespace="n", uid="1").fingerprint
    )


def test_a_fingerprint_stays_when_an_exporter_restarts() -> None:
    labels = {"namespace": "monitoring", "job": "node-exporter", "instance": "10.0.0.1:9100"}
    before = identify(**labels, pod="node-exporter-abcde", container="c1", endpoint="web", service="s1")
    after = identify(**labels, pod="node-exporter-vwxyz", container="c2", endpoint="https", service="s2")
    assert before == after
    assert before.rule == "shipped: exporters"
    assert before.fingerprint != identify(**labels | {"instance": "10.0.0.2:9100"}).fingerprint
    on_target = identify(namespace="monitoring", job="x-exporter", pod="x-exporter-1", exported_pod="web-1")
    assert on_target.resource == "monitoring:Pod:web-1"
    assert identify(namespace="n", job="exporter-tests", pod="web-1").resource == "n:Pod:web-1"


def test_configured_rules_come_before_the_shipped_ones() -> None:
    by = fingerprinter(
        """dedup.rules=[{matchers: ['job="my-exporter"'], by: resource, ignore: [container]}]"""
    )
    found = identify(by, namespace="n", job="my-exporter", pod="p", annotations={"fingerprint": "x"})
    assert (found.basis, found.rule, found.resource) == (Basis.RESOURCE, "dedup.rules[0]", "n:Pod:p")
    assert identify(by, namespace="n", job="other-exporter", pod="p").rule == "shipped: exporters"
    assert identify(by, namespace="n", job="other", pod="p").rule == "default"


def test_a_rule_can_start_with_the_labels() -> None:
    by = fingerprinter("""dedup.rules=[{matchers: ['team="a"'], by: labels, ignore: [path]}]""")
    one = identify(by, team="a", pod="p", path="/1", annotations={"fingerprint": "x"})
    assert one.basis is Basis.LABELS
    assert one.fingerprint == identify(by, team="a", pod="p", path="/2").fingerprint
    assert one.fingerprint != identify(by, team="a", pod="q", path="/1").fingerprint
    assert one.resource == ":Pod:p"


def test_a_rule_can_make_one_problem_of_several_namespaces() -> None:
    by = fingerprinter("""dedup.rules=[{matchers: ['alertname="A"'], ignore: [namespace]}]""")
    assert identify(by, namespace="a", deployment="d") == identify(by, namespace="b", deployment="d")


@given(LABELS, st.dictionaries(TEXT, TEXT, max_size=3))
def test_any_labels_have_an_identity(labels: dict[str, str], annotations: dict[str, str]) -> None:
    found = DEFAULT.identify({"alertname": "A", **labels}, annotations)
    assert len(found.fingerprint) == 64
    assert set(found.fingerprint) <= set("0123456789abcdef")
