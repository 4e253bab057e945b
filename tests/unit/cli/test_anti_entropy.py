"""`gateway audit --alertmanager` as a command: one look at each side, its exit code, its table and its JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.cli import anti_entropy, main
from gateway.config.settings import Settings
from gateway.intake.payload import Alert
from gateway.intake.reading import Intake
from tests.unit.cli.fakes import FakeAlertmanager, FakeKubernetes

RESOLVED = "2026-01-31T09:30:00Z"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anti_entropy, "POLL", 0.02)
    monkeypatch.delenv("ALERTMANAGER_TOKEN", raising=False)


def labels(pod: str) -> dict[str, str]:
    return {"alertname": "Down", "namespace": "prod", "pod": pod}


def fires(pod: str, **changes: Any) -> dict[str, Any]:
    return {
        "annotations": {},
        "endsAt": "2026-11-21T10:21:27.697Z",
        "fingerprint": pod,
        "receivers": [{"name": "gateway"}],
        "startsAt": "2026-01-31T08:00:00.000Z",
        "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
        "updatedAt": "2026-11-21T10:16:27.697Z",
        "labels": labels(pod),
        **changes,
    }


def stored(pod: str, *, resolved_at: str = "") -> dict[str, Any]:
    found = Intake(Settings(), lambda _: None).identify(Alert(labels=labels(pod))).fingerprint
    prefix = "remediation.kubernaut.io"
    annotations = {f"{prefix}/applied": json.dumps({found: {"p.1": "0-1"}})}
    if resolved_at:
        annotations[f"{prefix}/signal-resolved-at"] = resolved_at
    return {
        "metadata": {
            "namespace": "prod",
            "name": f"rr-down-{pod}-1",
            "labels": {"app.kubernetes.io/managed-by": "gateway"},
            "annotations": annotations,
        },
        "spec": {
            "signalFingerprint": found,
            "signalName": "Down",
            "deduplication": {"occurrenceCount": 1, "lastSeen": "2026-01-31T08:00:01Z"},
        },
    }


def audit(alertmanager: FakeAlertmanager, kubernetes: FakeKubernetes, *words: str) -> int:
    return main(["audit", "--alertmanager", alertmanager.url, "--kubeconfig", kubernetes.kubeconfig, *words])


def test_everything_held_is_code_0_and_one_line(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = ["a", "b", "c"]
    fake_alertmanager.alerts = [fires(pod) for pod in pods]
    fake_kubernetes.items = [stored(pod) for pod in pods]
    assert audit(fake_alertmanager, fake_kubernetes) == 0
    assert capsys.readouterr().out == (
        "Nothing is missing: 3 firing (3 held), 0 open requests of what fires no more.\n"
    )
    assert audit(fake_alertmanager, fake_kubernetes, "-v") == 0
    assert "prod/rr-down-c-1" in capsys.readouterr().out


def test_what_is_missing_is_code_1_and_stale_requests_are_only_told(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_alertmanager.alerts = [fires("a"), fires("lost")]
    fake_kubernetes.items = [stored("a"), stored("over", resolved_at=RESOLVED)]
    assert audit(fake_alertmanager, fake_kubernetes) == 1
    shown = capsys.readouterr().out
    assert "1 alert without an open request: 2 firing (1 held, 1 missing), 1 open request of" in shown
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("missing")] == [
        ["missing", "Down", "prod"]
    ]
    (stale,) = [line for line in shown.splitlines() if line.startswith("prod/rr-down-over-1")]
    assert RESOLVED in stale
    fake_alertmanager.alerts.pop()
    assert audit(fake_alertmanager, fake_kubernetes) == 0


def test_scripts_get_each_alert_with_its_request(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    just_now = datetime.now(UTC).isoformat()
    fake_alertmanager.alerts = [fires("a"), fires("lost"), fires("young", startsAt=just_now)]
    fake_kubernetes.items = [stored("a"), stored("over", resolved_at=RESOLVED)]
    assert audit(fake_alertmanager, fake_kubernetes, "-o", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["clean"], found["firing"], found["alertmanager"]) == (False, 3, fake_alertmanager.url)
    assert (found["held"], found["missing"], found["pending"], found["heldTwice"]) == (1, 1, 1, 0)
    assert [(alert["labels"]["pod"], alert["state"], alert["requests"]) for alert in found["alerts"]] == [
        ("lost", "missing", []),
        ("young", "pending", []),
        ("a", "held", ["prod/rr-down-a-1"]),
    ]
    assert [(one["request"], one["resolvedAt"]) for one in found["stale"]] == [
        ("prod/rr-down-over-1", RESOLVED)
    ]
    assert len(found["alerts"][0]["fingerprint"]) == 64


def test_it_waits_until_what_is_missing_or_pending_has_its_request(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes
) -> None:
    fake_alertmanager.alerts = [fires("a", startsAt=datetime.now(UTC).isoformat()), fires("b")]
    fake_kubernetes.changes = [
        lambda: None,
        lambda: fake_kubernetes.items.append(stored("b")),
        lambda: fake_kubernetes.items.append(stored("a")),
    ]
    assert audit(fake_alertmanager, fake_kubernetes, "--wait", "30s") == 0
    assert not fake_kubernetes.changes


def test_it_waits_no_longer_than_it_was_told(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes
) -> None:
    fake_alertmanager.alerts = [fires("a")]
    assert audit(fake_alertmanager, fake_kubernetes, "--wait", "100ms") == 1


def test_the_options_reach_the_comparison(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = {"inhibitedBy": [], "silencedBy": ["s1"], "state": "suppressed"}
    fake_alertmanager.alerts = [fires("a", receivers=[{"name": "pager"}]), fires("b", status=quiet)]
    assert audit(fake_alertmanager, fake_kubernetes, "--receiver", "gateway") == 0
    assert "1 firing (1 suppressed)" in capsys.readouterr().out
    assert audit(fake_alertmanager, fake_kubernetes, "--receiver", "pager") == 1
    assert audit(fake_alertmanager, fake_kubernetes, "--receiver", "gateway", "--include", "silenced") == 1
    assert audit(fake_alertmanager, fake_kubernetes, "--receiver", "gatewya") == 2
    assert audit(fake_alertmanager, fake_kubernetes, "--grace", "80000h") == 0
    assert audit(fake_alertmanager, fake_kubernetes, "--alertmanager-token", "t0ken") == 1
    assert fake_alertmanager.tokens == {"", "Bearer t0ken"}


def test_policy_rules_about_environments_see_the_labels_of_namespaces(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    deny = "policy.rules=[{matchers: ['environment=\"test\"'], action: deny}]"
    fake_alertmanager.alerts = [fires("a")]
    # It lists the same objects under every path: a namespace of that name has a label, the request has none.
    fake_kubernetes.items = [{"metadata": {"name": "prod", "labels": {"environment": "test"}}}]
    assert audit(fake_alertmanager, fake_kubernetes, "--set", deny) == 0
    assert "1 firing (1 denied)" in capsys.readouterr().out
    assert "/api/v1/namespaces" in fake_kubernetes.paths


def test_what_is_no_alertmanager_is_code_3(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_alertmanager.url = fake_kubernetes.url
    assert audit(fake_alertmanager, fake_kubernetes) == 3
    shown = capsys.readouterr()
    assert not shown.out
    assert "does not answer as an Alertmanager does" in shown.err


@pytest.mark.parametrize(
    "words",
    [
        ["audit"],
        ["audit", "--sent", "a.jsonl", "--alertmanager", "http://127.0.0.1:1"],
        ["audit", "--alertmanager", "127.0.0.1:9093"],
    ],
)
def test_exactly_one_side_to_compare_with_is_needed(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_an_option_of_the_other_side_is_refused(
    fake_alertmanager: FakeAlertmanager, fake_kubernetes: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(fake_alertmanager, fake_kubernetes, "--exclusive") == 2
    assert "--exclusive" in capsys.readouterr().err
    assert main(["audit", "--sent", "sent.jsonl", "--receiver", "gateway"]) == 2
    assert "--receiver" in capsys.readouterr().err
