"""A missing permission is named by verb, resource and namespace, for as long as it is missing."""

from __future__ import annotations

import pytest

from gateway.kube.observing import Verb
from gateway.kube.permissions import MOST, REMEMBERED, Permissions, placed

OURS = "/apis/remediation.kubernaut.io/v1alpha1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("verb", "path", "place"),
    [
        (Verb.LIST, f"{OURS}/remediationrequests", ("list", "remediationrequests", "")),
        (Verb.CREATE, f"{OURS}/namespaces/a/remediationrequests", ("create", "remediationrequests", "a")),
        (Verb.PROBE, f"{OURS}/namespaces/a/remediationrequests", ("create", "remediationrequests", "a")),
        (Verb.PATCH, f"{OURS}/namespaces/a/remediationrequests/b", ("patch", "remediationrequests", "a")),
        (Verb.WATCH, "/api/v1/namespaces", ("watch", "namespaces", "")),
        (Verb.GET, "/x", ("get", "", "")),
    ],
)
def test_a_call_s_path_tells_what_it_needs(verb: Verb, path: str, place: tuple[str, str, str]) -> None:
    assert placed(verb, path) == place


def test_what_was_refused_is_told_until_it_passes_or_is_not_asked_for_any_more() -> None:
    clock = Clock()
    permissions = Permissions(clock)
    assert permissions.missing() == []
    permissions.refused(Verb.WATCH, "/api/v1/namespaces")
    clock.now += REMEMBERED - 1
    permissions.refused(Verb.CREATE, f"{OURS}/namespaces/prod/remediationrequests")
    permissions.refused(Verb.CREATE, f"{OURS}/namespaces/test/remediationrequests")
    assert permissions.missing() == [
        "create remediationrequests in namespace prod",
        "create remediationrequests in namespace test",
        "watch namespaces in all namespaces",
    ]
    clock.now += 1
    permissions.passed(Verb.CREATE, f"{OURS}/namespaces/prod/remediationrequests")
    permissions.passed(Verb.PATCH, f"{OURS}/namespaces/test/remediationrequests/a")
    assert permissions.missing() == ["create remediationrequests in namespace test"]


def test_their_number_is_bounded() -> None:
    permissions = Permissions(Clock())
    for number in range(MOST + 5):
        permissions.refused(Verb.CREATE, f"{OURS}/namespaces/n{number}/remediationrequests")
    assert len(permissions.missing()) == MOST
