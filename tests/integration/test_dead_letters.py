"""What the API server refuses for good is kept and counted, and written once the reason is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import eventually, wait_until
from tests.integration.sight import PATIENT, adds_up, fires, send_one, settled, words
from tests.integration.test_counting import check_marks
from tests.integration.windows import STEADY
from tests.rig.fixtures import StartGateway

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
REQUESTS = "/apis/remediation.kubernaut.io/v1alpha1/namespaces/{}/remediationrequests"


class Verdict:
    """A policy of the cluster that admits no request of one namespace: the API server answers 422."""

    def __init__(self, cluster: Api, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = f"none-in-{namespace}"

    def install(self) -> None:
        version = "admissionregistration.k8s.io/v1"
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
        rule = {
            "apiGroups": ["remediation.kubernaut.io"],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["remediationrequests"],
        }
        self._cluster.call(
            "POST",
            POLICIES,
            {
                "apiVersion": version,
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": self._name},
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
                    "validations": [{"expression": "false", "message": "no requests here"}],
                },
            },
        )
        self._cluster.call(
            "POST",
            BINDINGS,
            {
                "apiVersion": version,
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": self._name},
                "spec": {"policyName": self._name, "validationActions": ["Deny"]},
            },
        )
        wait_until(lambda: self._probe() == 422 and self._refuses(), "the policy to be in force", seconds=30)

    def remove(self) -> None:
        for collection in (BINDINGS, POLICIES):
            self._cluster.send("DELETE", f"{collection}/{self._name}")
        wait_until(lambda: not self._refuses(), "the policy to be out of force", seconds=30)

    def _probe(self) -> int:
        return self._try()[0]

    def _refuses(self) -> bool:
        return "no requests here" in str(self._try()[1])

    def _try(self) -> tuple[int, dict[str, Any]]:
        """Create a request without creating it."""
        probe = {
            "apiVersion": "remediation.kubernaut.io/v1alpha1",
            "kind": "RemediationRequest",
            "metadata": {"name": "probe"},
            "spec": {
                "signalFingerprint": "0" * 64,
                "signalName": "Probe",
                "severity": "info",
                "environment": "test",
                "priority": "P3",
                "signalType": "prometheus",
                "targetType": "kubernetes",
                "firingTime": "2026-01-31T09:00:00Z",
                "receivedTime": "2026-01-31T09:00:00Z",
                "deduplication": {
                    "isDuplicate": False,
                    "firstSeen": "2026-01-31T09:00:00Z",
                    "lastSeen": "2026-01-31T09:00:00Z",
                    "occurrenceCount": 1,
                },
            },
        }
        return self._cluster.send("POST", REQUESTS.format(self._namespace) + "?dryRun=All", probe)


@pytest.fixture
def verdict(cluster: Api, namespace: str) -> Iterator[Verdict]:
    found = Verdict(cluster, namespace)
    yield found
    found.remove()


def dead_letters(redis: RedisServer, *arguments: str) -> tuple[int, Any]:
    """Run `gateway dead-letters`; its exit code and JSON."""
    command = [sys.executable, "-m", "gateway", "dead-letters", *arguments, "--output", "json"]
    done = subprocess.run(
        [*command, "--set", f"redis.url={redis.url}"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout)


async def test_what_is_refused_for_good_is_listed_goes_on_counting_and_is_written_by_a_retry(
    verdict: Verdict,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings=STEADY)
    verdict.install()

    first = send_one(gateway, fires(namespace))
    assert first["outcome"] == "queued"
    await eventually(lambda: gateway.metric("gateway_dead_letters_total") == 1, "a dead letter", seconds=15)
    more = [send_one(gateway, fires(namespace)) for _ in range(3)]
    assert words(more) == {"queued": 3}
    assert all("dead letters" in one["detail"] for one in more)

    code, letters = dead_letters(redis_server)
    assert code == 0
    assert [(one["fingerprint"], one["alert"], one["occurrences"]) for one in letters] == [
        (first["fingerprint"], "PodOOMKilled", 4)
    ]
    assert "no requests here" in letters[0]["reason"]
    # It is not tried for ever: the API hears nothing more of it.
    assert gateway.metric("gateway_k8s_api_requests_total", verb="create", code="422") == 1
    assert cluster.requests(namespace) == []

    verdict.remove()
    assert dead_letters(redis_server, "retry", "0123456789")[0] == 1
    code, retried = dead_letters(redis_server, "retry", first["fingerprint"][:10])
    assert (code, retried["retried"]) == (0, [first["fingerprint"]])
    await adds_up(cluster, namespace, [4])
    assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    await adds_up(cluster, namespace, [5])
    await settled(gateway)

    assert dead_letters(redis_server) == (0, [])
    assert cluster.requests(namespace)[0]["metadata"]["name"] == first["request"]["name"]
    check_marks(cluster.requests(namespace))


async def test_counts_that_are_refused_for_good_are_kept_too(
    verdict: Verdict,
    start_gateway: StartGateway,
    redis_server: RedisServer,
    cluster: Api,
    namespace: str,
) -> None:
    gateway = start_gateway(redis=redis_server, cluster=cluster, settings={**PATIENT, **STEADY})
    assert send_one(gateway, fires(namespace))["outcome"] == "created"
    verdict.install()

    for _ in range(3):
        assert send_one(gateway, fires(namespace))["outcome"] == "duplicate"
    await eventually(lambda: gateway.metric("gateway_dead_letters_total") == 1, "a dead letter", seconds=15)
    assert dead_letters(redis_server)[1][0]["occurrences"] == 3

    verdict.remove()
    assert dead_letters(redis_server, "retry")[0] == 0
    await adds_up(cluster, namespace, [4])
    await settled(gateway)
    check_marks(cluster.requests(namespace))
