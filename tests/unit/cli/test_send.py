"""`gateway send`: what it posts, how it tries again, what it logs, and what it exits with."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main, sending
from gateway.cli.balance import Span, delivered
from gateway.cli.sentlog import read
from tests.unit.cli.fakes import FakeGateway, fingerprint

UNAVAILABLE = (503, {"title": "not durable", "detail": "neither Redis nor Kubernetes could take it"})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_URL", raising=False)
    monkeypatch.delenv("GATEWAY_TOKEN", raising=False)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 0.001)


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_one_alert_is_sent_by_default_in_alertmanagers_form(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--token", "secret"]) == 0
    (post,) = fake_gateway.posts
    assert post.path == "/v1/webhooks/prometheus"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Authorization"] == "Bearer secret"
    body = json.loads(post.body)
    assert body["version"] == "4"
    assert body["status"] == "firing"
    (alert,) = body["alerts"]
    assert alert["labels"]["alertname"] == "GatewayTestAlert"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert body["commonLabels"] == alert["labels"]


def test_the_same_problem_is_sent_again_by_default(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--count", "5"]) == 0
    assert len(fake_gateway.posts) == 5
    assert len({json.dumps(post.alerts) for post in fake_gateway.posts}) == 1


def test_distinct_problems_take_turns_and_batches_are_filled(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--count", "10", "--distinct", "4", "--batch", "4"]) == 0
    assert sorted(len(post.alerts) for post in fake_gateway.posts) == [2, 4, 4]
    alerts = [alert for post in fake_gateway.posts for alert in post.alerts]
    pods = [alert["labels"]["pod"] for alert in alerts]
    assert sorted(pods.count(pod) for pod in set(pods)) == [2, 2, 3, 3]
    assert len({alert["labels"]["deployment"] for alert in alerts}) == 4


def test_a_storm_is_thirty_pods_of_one_deployment(fake_gateway: FakeGateway) -> None:
    assert (
        main(["send", "--url", fake_gateway.url, "--storm", "--alert-name", "Oom", "--namespace", "prod"])
        == 0
    )
    alerts = [alert for post in fake_gateway.posts for alert in post.alerts]
    assert len({alert["labels"]["pod"] for alert in alerts}) == 30
    assert {alert["labels"]["deployment"] for alert in alerts} == {"demo-app"}
    assert {(alert["labels"]["alertname"], alert["labels"]["namespace"]) for alert in alerts} == {
        ("Oom", "prod")
    }


def test_labels_of_the_command_line_win(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--label", "team=a=b", "--label", "deployment="]) == 0
    labels = fake_gateway.posts[0].alerts[0]["labels"]
    assert labels["team"] == "a=b"
    assert labels["deployment"] == ""


def test_one_pod_for_distinct_problems_is_a_usage_error(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "--url", fake_gateway.url, "--storm", "--label", "pod=web"]) == 2
    assert not fake_gateway.posts
    assert "one problem" in capsys.readouterr().err


def test_resolve_ends_each_problem_once_with_the_start_it_was_sent_with(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--count", "6", "--distinct", "2", "--resolve"]) == 0
    alerts = [alert for post in fake_gateway.posts for alert in post.alerts]
    ended = [alert for alert in alerts if alert["status"] == "resolved"]
    assert len(ended) == 2
    assert alerts[-2:] == ended
    assert len({alert["startsAt"] for alert in alerts}) == 1
    assert all(alert["endsAt"] > alert["startsAt"] for alert in ended)


def test_count_0_with_resolve_sends_only_the_end(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--count", "0", "--resolve"]) == 0
    assert [post.alerts[0]["status"] for post in fake_gateway.posts] == ["resolved"]


def test_a_rate_spreads_the_alerts_over_the_duration(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--rate", "50/s", "--duration", "200ms"]) == 0
    assert len(fake_gateway.posts) == 10
    assert fake_gateway.posts[-1].at - fake_gateway.posts[0].at > 0.1


def test_a_count_ends_a_rate(fake_gateway: FakeGateway) -> None:
    assert main(["send", "--url", fake_gateway.url, "--rate", "1000/s", "--count", "3"]) == 0
    assert len(fake_gateway.posts) == 3


def test_a_503_is_sent_again_with_the_identical_body(
    fake_gateway: FakeGateway, tmp_path: Path, quick_retries: None, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gateway.script = [UNAVAILABLE, UNAVAILABLE]
    log = tmp_path / "sent.jsonl"
    arguments = [
        "send",
        "--url",
        fake_gateway.url,
        "--retries",
        "5",
        "--output",
        str(log),
        "--summary",
        "json",
    ]
    assert main(arguments) == 0
    assert len({post.body for post in fake_gateway.posts}) == 1
    logged = list(read(log))
    assert [(entry.attempt, entry.status, entry.outcome) for entry in logged] == [
        (1, 503, None),
        (2, 503, None),
        (3, 202, "duplicate"),
    ]
    assert len({entry.delivery for entry in logged}) == 1
    assert delivered(logged) == Span(1, 1)
    shown = summary(capsys)
    assert shown["statuses"] == {"503": 2, "202": 1}
    assert shown["outcomes"] == {"duplicate": 1}


def test_without_retries_a_503_is_final_and_a_finding(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gateway.script = [UNAVAILABLE]
    assert main(["send", "--url", fake_gateway.url]) == 1
    assert "neither Redis nor Kubernetes" in capsys.readouterr().err


def test_a_4xx_is_never_sent_again(fake_gateway: FakeGateway, quick_retries: None) -> None:
    fake_gateway.script = [(403, {"detail": "denied by policy"})]
    assert main(["send", "--url", fake_gateway.url, "--retries", "5"]) == 1
    assert len(fake_gateway.posts) == 1


def test_a_401_says_where_the_token_goes(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gateway.script = [(401, {"title": "a token is needed"})]
    assert main(["send", "--url", fake_gateway.url]) == 1
    assert "GATEWAY_TOKEN" in capsys.readouterr().err


def test_a_redirect_is_not_followed(fake_gateway: FakeGateway) -> None:
    fake_gateway.script = [(302, {})]
    assert main(["send", "--url", fake_gateway.url]) == 1


def test_a_connection_that_ends_without_an_answer_is_logged_and_tried_again(
    fake_gateway: FakeGateway, tmp_path: Path, quick_retries: None
) -> None:
    fake_gateway.script = [(0, None)]
    log = tmp_path / "sent.jsonl"
    assert main(["send", "--url", fake_gateway.url, "--retries", "5", "--output", str(log)]) == 0
    logged = list(read(log))
    assert [(entry.status, entry.fingerprint is None) for entry in logged] == [(None, True), (202, False)]
    assert logged[0].labels == logged[1].labels
    assert logged[0].connected  # it was sent, and may have been counted


def test_an_answer_that_makes_no_sense_is_neither_taken_nor_a_crash(fake_gateway: FakeGateway) -> None:
    answers: list[Any] = [None, [], {"alerts": "?"}, {"alerts": []}, {"alerts": [None]}]
    answers.append({"alerts": [{"request": 1}]})
    fake_gateway.script.extend((202, answer) for answer in answers)
    assert main(["send", "--url", fake_gateway.url, "--count", "6"]) == 1


def test_denied_and_invalid_alerts_are_a_finding(
    fake_gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gateway.script = [
        (202, {"alerts": [{"outcome": "created"}, {"outcome": "denied"}, {"outcome": "invalid"}]})
    ]
    assert main(["send", "--url", fake_gateway.url, "--count", "3", "--batch", "3", "--summary", "json"]) == 1
    assert summary(capsys)["outcomes"] == {"created": 1, "denied": 1, "invalid": 1}


def test_a_gateway_that_is_not_there_is_code_3_and_every_alert_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        log = tmp_path / "sent.jsonl"
        assert main(["send", "--url", url, "--count", "4", "--batch", "2", "--output", str(log)]) == 3
    assert [(entry.status, entry.connected) for entry in read(log)] == [(None, False)] * 4
    assert url in capsys.readouterr().err


def test_the_log_has_one_line_for_each_alert_with_the_words_of_the_answer(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    log = tmp_path / "sent.jsonl"
    assert main(["send", "--url", fake_gateway.url, "--storm", "--batch", "10", "--output", str(log)]) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 30
    assert {line["index"] for line in lines} == set(range(10))
    for line in lines:
        assert line["fingerprint"] == fingerprint(line["labels"])
        assert line["request"] == f"default/rr-{line['fingerprint'][:10]}"
        assert line["time"] <= line["answered"]


def test_a_log_is_continued(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    log = tmp_path / "sent.jsonl"
    for _ in range(2):
        assert main(["send", "--url", fake_gateway.url, "--output", str(log)]) == 0
    assert len(list(read(log))) == 2


def test_a_log_that_cannot_be_written_stops_before_anything_is_sent(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "--url", fake_gateway.url, "--output", str(tmp_path / "no" / "sent.jsonl")]) == 2
    assert not fake_gateway.posts
    assert "sent.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "count", "warned"),
    [
        ("http://gateway.invalid", "1001", True),
        ("http://gateway.invalid", "1000", False),
        ("http://localhost:1", "1001", False),
        ("http://[::1]:1", "1001", False),
    ],
)
def test_many_alerts_for_another_machine_make_a_warning(
    url: str, count: str, warned: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> sending.Tally:
        return sending.Tally()

    monkeypatch.setattr("gateway.cli.send._send", nothing)
    assert main(["send", "--url", url, "--count", count]) == 0
    assert ("not this machine" in capsys.readouterr().err) is warned
