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
    assert (alert["severity"], alert["mode"], alert["policy"]) == ("critical", "hold", "allow")
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


def pods(number: int, **labels: str) -> list[Any]:
    return [{"labels": {**GOOD["labels"], "pod": f"web-{at}", **labels}} for at in range(number)]


IMMEDIATE = """storm.rules=[{matchers: ['severity="critical"'], mode: immediate}]"""


def test_how_it_would_be_held_is_told_with_what_decides(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", write(body, *pods(1), *pods(1, severity="info")), "--set", IMMEDIATE]
    assert main([*words, "--set", "storm.hold=1500ms", "-o", "json"]) == 0
    immediate, held = explained(capsys)
    assert (immediate["mode"], immediate["modeRule"], immediate["hold"]) == (
        "immediate",
        "storm.rules[0]",
        None,
    )
    assert (held["mode"], held["modeRule"]) == ("hold", "storm")
    assert held["hold"] == {
        "threshold": 3,
        "hold": "1500ms",
        "inactivity": "60s",
        "maxWindow": "5m",
        "emit": "on_close",
    }
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "immediate" in shown
    assert "hold 60s" in shown


def test_a_body_with_enough_of_a_group_is_a_storm(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = {"labels": {"alertname": "Other", "namespace": "prod-api"}}
    assert main(["explain", write(body, *pods(3), alone), "-o", "json"]) == 0
    *members, other = explained(capsys)
    assert [(alert["storm"], alert["request"]) for alert in members] == [(True, None)] * 3
    assert other["storm"] is False
    assert other["request"] is not None
    assert main(["explain", "-v", str(body)]) == 0
    assert capsys.readouterr().out.count("a member of an aggregated request") == 3
    assert main(["explain", str(body)]) == 0
    assert capsys.readouterr().out.count(" storm") == 3


def test_the_same_problem_again_is_no_storm_and_neither_is_what_is_not_held(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", write(body, *pods(2), *pods(2)), "-o", "json"]) == 0
    assert not any(alert["storm"] for alert in explained(capsys))
    assert main(["explain", write(body, *pods(5)), "-o", "json", "--set", IMMEDIATE]) == 0
    assert not any(alert["storm"] for alert in explained(capsys))


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
