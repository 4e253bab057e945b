"""What tells one problem from another: the fingerprint, and the group by which storms are counted.

The fingerprint is a SHA-256 over the group and the first of these that an alert has: the text of its
annotation `fingerprint`; the resource that its labels name; all its labels but those that say who measured. A
rule can start elsewhere in that order, and can ignore labels that move while the problem stays, as an
exporter's own pod does. The order of labels makes no difference, and an empty label is no label.

The parts of the hash are joined by the byte 0xFF, which no UTF-8 text contains, so that two identities never
give one input. Changing what goes in gives every open problem a second request: a change here needs a
decision record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gateway.config.matchers import Matcher, matches, parse_matchers
from gateway.config.settings import Dedup
from gateway.intake import resources

SEPARATOR = b"\xff"
FINGERPRINT = "fingerprint"
"""The annotation with which a rule names a problem itself."""
_LONGEST_PART = 253


class Basis(StrEnum):
    """What a fingerprint was made of."""

    ANNOTATION = "annotation"
    RESOURCE = "resource"
    LABELS = "labels"


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Which problem an alert is about."""

    fingerprint: str
    """64 hex digits."""
    group: str
    resource: str
    """`namespace:Kind:name`, empty where the labels name none; a node's namespace is empty."""
    basis: Basis
    rule: str
    """The rule that decided: `dedup.rules[0]`, `shipped: exporters` or `default`."""


class _Rule(msgspec.Struct, frozen=True):
    name: str
    matchers: tuple[Matcher, ...]
    by: Basis
    ignored: frozenset[str]


_DEFAULT = _Rule("default", (), Basis.ANNOTATION, frozenset())
_SHIPPED = (
    # These labels are the exporter's own, and its pod's name changes with each restart.
    _Rule(
        "shipped: exporters",
        parse_matchers('job=~".*exporter"'),
        Basis.ANNOTATION,
        frozenset({"pod", "container", "endpoint", "service"}),
    ),
)


class Fingerprinter:
    """Identifies alerts by the rules of the settings, compiled once. Immutable."""

    def __init__(self, dedup: Dedup, group_by: tuple[str, ...]) -> None:
        configured = tuple(
            _Rule(
                f"dedup.rules[{number}]",
                rule.matchers,
                Basis(rule.by or Basis.ANNOTATION),
                frozenset(rule.ignore),
            )
            for number, rule in enumerate(dedup.rules)
        )
        self._rules = configured + _SHIPPED
        self._excluded = frozenset(dedup.exclude_labels)
        self._by_namespace = "namespace" in group_by
        self._further = tuple(sorted(set(group_by) - {"namespace", "alertname"}))

    def identify(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Identity:
        """Return which problem the alert with these labels (`alertname` among them) is about."""
        rule = _DEFAULT
        for candidate in self._rules:
            if matches(candidate.matchers, labels):
                rule = candidate
                break
        ignored = rule.ignored
        group = self._group(labels, ignored)
        found = resources.find(labels, ignored)
        parts = [group]
        if rule.by is Basis.ANNOTATION and (text := annotations.get(FINGERPRINT)):
            basis = Basis.ANNOTATION
            parts += (basis, text)
        elif rule.by is not Basis.LABELS and found is not None:
            basis = Basis.RESOURCE
            namespace = "" if "namespace" in ignored else labels.get("namespace", "")
            parts += (basis, namespace, labels["alertname"], *found)
        else:
            basis = Basis.LABELS
            parts.append(basis)
            without = self._excluded | ignored if ignored else self._excluded
            for name in sorted(labels):
                if name not in without and (value := labels[name]):
                    parts += (name, value)
        digest = hashlib.sha256(SEPARATOR.join([part.encode() for part in parts])).hexdigest()
        return Identity(digest, group, f"{found[0]}:{found[1]}:{found[2]}" if found else "", basis, rule.name)

    def _group(self, labels: Mapping[str, str], ignored: frozenset[str]) -> str:
        """Return `namespace/alertname`, and a hash of the further labels where the settings ask for some.

        Unambiguous, and bounded whatever the labels hold: it becomes part of keys in Redis.
        """
        namespace = ""
        if self._by_namespace and "namespace" not in ignored:
            namespace = _part(labels.get("namespace", ""))
        group = f"{namespace}/{_part(labels['alertname'])}"
        if not self._further:
            return group
        values = [b"" if name in ignored else labels.get(name, "").encode() for name in self._further]
        return f"{group}/{hashlib.sha256(SEPARATOR.join(values)).hexdigest()[:32]}"


def _part(value: str) -> str:
    """Return `value` without a slash: as it is, or escaped; a long one is `%%` and its hash."""
    if len(value) > _LONGEST_PART:
        return f"%%{hashlib.sha256(value.encode()).hexdigest()}"
    if "/" in value or "%" in value:
        return value.replace("%", "%25").replace("/", "%2F")
    return value
