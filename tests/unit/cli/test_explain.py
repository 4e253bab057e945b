"""`gateway explain`: the verdict on each alert, its reasons, and the request that it would make."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import main

GOOD = {
    "labels": {"alertname": "PodOOMKilled", "namespace": "prod-api", "pod": "web-1", "severity": "critical"},
    "startsAt": "2026-01-31T09:00:00Z",
}


@pytest.fixture
def body(tmp_path: Path) -> Path:
    return tmp_path / "webhook.json"


def write(body: Path, *alerts: Any) -> str:
    body.write_text(json.dumps({"alerts": alerts}))
    return str(body)


def explained(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    alerts: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["alerts"]
    return alerts


def test_a_sound_alert_shows_its_decisions_and_its_request(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", write(body, GOOD), "-o", "json"]) == 0
    (alert,) = explained(capsys)
    assert alert["fate"] == "taken"
    assert alert["resource"] == "prod-api:Pod:web-1"
    assert (alert["severity"], alert["mode"], alert["policy"]) == ("critical", "immediate", "allow")
    request = alert["request"]
    assert request["metadata"]["namespace"] == "prod-api"
    assert request["metadata"]["name"] == f"rr-podoomkilled-{alert['fingerprint'][:10]}-1"
    assert request["spec"]["deduplication"]["occurrenceCount"] == 1


def test_a_problem_that_is_twice_in_the_body_is_one_request_with_count_2(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", write(body, GOOD, GOOD), "-o", "json"]) == 0
    requests = [alert["request"] for alert in explained(capsys)]
    assert {request["spec"]["deduplication"]["occurrenceCount"] for request in requests} == {2}
    assert len({request["metadata"]["name"] for request in requests}) == 1


def test_a_resolved_alert_makes_no_request(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", write(body, GOOD | {"status": "resolved"}), "-o", "json"]) == 0
    assert explained(capsys)[0]["request"] is None


def test_an_alert_without_a_usable_namespace_goes_to_the_fallback(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = {"labels": {"alertname": "A", "namespace": "Not A Name"}}
    words = ["explain", write(body, alert), "-o", "json", "--set", "kubernetes.fallback_namespace=elsewhere"]
    assert main(words) == 0
    assert explained(capsys)[0]["request"]["metadata"]["namespace"] == "elsewhere"


def test_an_alert_that_would_be_denied_is_a_finding_and_names_the_rule(
    body: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "policy: {rules: [{matchers: ['namespace=\"prod-api\"'], action: deny, reason: frozen}]}\n"
    )
    assert main(["explain", write(body, GOOD), "--config", str(config)]) == 1
    shown = capsys.readouterr().out
    assert "policy.rules[0]" in shown
    assert "frozen" in shown


def test_an_invalid_alert_is_a_finding_and_its_siblings_are_explained(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", write(body, {"labels": {}}, GOOD)]) == 1
    shown = capsys.readouterr().out
    assert "$.alerts[0].labels" in shown
    assert "PodOOMKilled" in shown


@pytest.mark.parametrize(("text", "status"), [("{", "400"), ("[]", "400"), ('{"alerts": 1}', "422")])
def test_a_body_that_would_be_refused_is_a_finding_with_its_status(
    body: Path, text: str, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body.write_text(text)
    assert main(["explain", str(body)]) == 1
    assert f"would answer {status}" in capsys.readouterr().err
    assert main(["explain", str(body), "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == int(status)


def test_standard_input_and_the_long_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"alerts": [GOOD]}).encode())))
    assert main(["explain", "-v", "-"]) == 0
    decisions, request = capsys.readouterr().out.split("# the request", 1)
    assert yaml.safe_load(decisions)["resource"] == "prod-api:Pod:web-1"
    assert yaml.safe_load(request.partition("\n")[2].removesuffix("---\n"))["kind"] == "RemediationRequest"


def test_a_file_that_is_not_there_is_code_2(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(body)]) == 2
    assert "webhook.json" in capsys.readouterr().err
