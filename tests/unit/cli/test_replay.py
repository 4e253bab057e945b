"""`gateway replay`: what it posts and when, what it logs, and what it exits with."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import gateway
from chaos.rig.processes import Process
from chaos.rig.waiting import wait_until
from gateway.cli import main, sending
from gateway.cli.playing import alerts_of
from gateway.cli.sentlog import read
from gateway.recording.lines import Entry, Header, encode
from tests.unit.cli.fakes import FakeGateway, Post, accepted, fingerprint

UNAVAILABLE = (503, {"detail": "neither Redis nor Kubernetes could take it"})
ROOT = Path(gateway.__file__).parents[1]
STARTED = datetime(2026, 1, 31, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_URL", raising=False)
    monkeypatch.delenv("GATEWAY_TOKEN", raising=False)


def webhook(*names: str, status: str = "firing", starts_at: str = "2026-01-31T08:59:00Z") -> bytes:
    alerts = [
        {
            "status": status,
            "labels": {"alertname": name, "namespace": "n"},
            "startsAt": starts_at,
            "endsAt": "0001-01-01T00:00:00Z",
        }
        for name in names
    ]
    return json.dumps({"version": "4", "alerts": alerts}, indent=1).encode()


def recording(path: Path, *webhooks: tuple[float, bytes], **more: Any) -> Path:
    lines = [encode(Header(recording=1, started_at="2026-01-31T09:00:00Z"))]
    for offset, body in webhooks:
        came = (STARTED + timedelta(seconds=offset)).isoformat()
        details = {"status": 202, "content_type": "application/json", **more}
        lines.append(encode(Entry(offset=offset, time=came, body=body, **details)))
    path.write_bytes(b"".join(lines))
    return path


def replay(fake: FakeGateway, path: Path, *options: str) -> int:
    return main(["replay", str(path), "--url", fake.url, *options])


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_bodies_and_their_headers_are_sent_as_they_were_recorded(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    bodies = [webhook("A", "B"), b"\xff no JSON", b'{"alerts":[]}']
    path = recording(
        tmp_path / "r",
        *((index / 100, body) for index, body in enumerate(bodies)),
        content_type="application/json; charset=utf-8",
        user_agent="Alertmanager/0.28.0",
    )
    fake_gateway.script = [accepted, lambda _: (202, {"alerts": []})] * 2
    assert replay(fake_gateway, path, "--token", "secret", "--concurrency", "1") == 0
    assert [post.body for post in fake_gateway.posts] == bodies
    for post in fake_gateway.posts:
        assert post.path == "/v1/webhooks/prometheus"
        assert post.headers["Content-Type"] == "application/json; charset=utf-8"
        assert post.headers["User-Agent"] == "Alertmanager/0.28.0"
        assert post.headers["Authorization"] == "Bearer secret"


def test_what_was_sent_without_a_content_type_is_sent_without_one(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    path = recording(tmp_path / "r", (0, webhook("A")), content_type="", user_agent="x\ny")
    assert replay(fake_gateway, path) == 0
    (post,) = fake_gateway.posts
    assert "Content-Type" not in post.headers
    assert post.headers["User-Agent"].startswith("gateway-replay/")


def test_the_gaps_are_those_of_the_recording_divided_by_the_speed(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r", *((offset, webhook("A")) for offset in (7, 9, 10)))
    began = time.monotonic()
    assert replay(fake_gateway, path, "--speed", "10", "--summary", "json") == 0
    _, second, third = (post.at - began for post in fake_gateway.posts)
    assert second > 0.2
    assert third > 0.3
    shown = summary(capsys)
    assert 0.3 < shown["seconds"] < 5
    assert (shown["recordedSeconds"], shown["speed"]) == (3, 10)


def test_slow_answers_hold_nothing_up(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    all_there = threading.Barrier(6)

    def slow(post: Post) -> Any:
        all_there.wait(20)
        return accepted(post)

    fake_gateway.script = [slow] * 6
    path = recording(tmp_path / "r", *((offset / 100, webhook("A")) for offset in range(6)))
    assert replay(fake_gateway, path, "--summary", "json") == 0
    assert not all_there.broken
    assert summary(capsys)["seconds"] < 20


def test_a_webhook_that_must_wait_for_others_is_late_and_that_is_said(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(post: Post) -> Any:
        time.sleep(0.3)
        return accepted(post)

    fake_gateway.script = [slow]
    path = recording(tmp_path / "r", (0, webhook("A")), (0.01, webhook("A")))
    assert replay(fake_gateway, path, "--concurrency", "1") == 0
    assert re.search(r"1 webhook left late, up to \d+\.\d s", capsys.readouterr().out)
    assert replay(fake_gateway, path, "--concurrency", "1", "--speed", "max", "--summary", "json") == 0
    assert summary(capsys)["late"]["webhooks"] == 0


def test_speed_max_repeat_and_limit(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    path = recording(tmp_path / "r", *((offset * 1000, webhook(str(offset))) for offset in range(4)))
    assert replay(fake_gateway, path, "--speed", "max", "--repeat", "3", "--limit", "2") == 0
    names = [post.alerts[0]["labels"]["alertname"] for post in fake_gateway.posts]
    assert sorted(names) == ["0"] * 3 + ["1"] * 3


def test_shifted_times_begin_now_and_later_rounds_come_after_earlier_ones(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    path = recording(
        tmp_path / "r",
        (0, webhook("A", starts_at="2026-01-31T09:00:00Z")),
        (60, webhook("A", starts_at="2026-01-31T09:01:00Z")),
    )
    options = ("--shift-times", "--speed", "max", "--repeat", "2", "--concurrency", "1")
    assert replay(fake_gateway, path, *options) == 0
    times = [datetime.fromisoformat(post.alerts[0]["startsAt"]) for post in fake_gateway.posts]
    assert abs(times[0] - datetime.now(UTC)) < timedelta(seconds=20)
    assert times[1] - times[0] == timedelta(seconds=60)
    assert times[2] > times[1]
    assert times[3] - times[2] == timedelta(seconds=60)
    assert {post.alerts[0]["endsAt"] for post in fake_gateway.posts} == {"0001-01-01T00:00:00Z"}


def test_the_log_names_each_alert_and_what_was_answered(
    fake_gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_FIRST_PAUSE", 0.001)
    fake_gateway.script = [UNAVAILABLE, (0, None)]
    log = tmp_path / "sent.jsonl"
    path = recording(tmp_path / "r", (0, webhook("A", "B")))
    assert replay(fake_gateway, path, "--retries", "3", "--output", str(log)) == 0
    entries = list(read(log))
    assert [(one.attempt, one.index, one.status) for one in entries] == [
        (1, 0, 503),
        (1, 1, 503),
        (2, 0, None),
        (2, 1, None),
        (3, 0, 202),
        (3, 1, 202),
    ]
    assert len({one.delivery for one in entries}) == 1
    for one in entries:
        assert one.labels == {"alertname": "AB"[one.index], "namespace": "n"}
        assert one.fingerprint == (fingerprint(one.labels) if one.status == 202 else None)


def test_an_alert_that_cannot_be_read_has_a_place_in_the_log_and_a_body_that_cannot_has_none() -> None:
    (first, second, third) = alerts_of(
        b'{"alerts":[7,{"labels":{"a":"b"},"status":"resolved"},{"labels":null}]}'
    )
    assert (first.labels, second.labels, third.labels) == ({}, {"a": "b"}, {})
    assert (first.status, second.status, third.status) == ("firing", "resolved", "firing")
    for body in (b"", b"\xff", b"[]", b'{"alerts":7}'):
        assert alerts_of(body) == []


def test_what_is_not_accepted_is_a_finding_even_where_no_alert_can_be_named(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r", (0, b"no JSON"))
    fake_gateway.script = [(400, {"detail": "the body is not JSON"})]
    assert replay(fake_gateway, path) == 1
    captured = capsys.readouterr()
    assert "1 of 1 webhooks were not taken: 400" in captured.err
    assert "RECORDED   NOW   WEBHOOKS" in captured.out
    fake_gateway.script = [(202, {"alerts": [{"outcome": "denied"}]})]
    assert replay(fake_gateway, recording(tmp_path / "r", (0, webhook("A")))) == 1


def test_only_what_was_accepted_when_it_was_recorded(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    path = recording(tmp_path / "r", (0, webhook("A")), status=503)
    with path.open("ab") as file:
        file.write(encode(Entry(offset=1, time="2026-01-31T09:00:01Z", body=webhook("B"), status=202)))
    assert replay(fake_gateway, path, "--accepted-only") == 0
    assert [post.alerts[0]["labels"]["alertname"] for post in fake_gateway.posts] == ["B"]


def test_interrupted_it_ends_in_order_and_says_what_was_not_sent(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    path, log = recording(tmp_path / "r", (0, webhook("A")), (3600, webhook("B"))), tmp_path / "sent.jsonl"
    words = ["replay", str(path), "--url", fake_gateway.url, "--output", str(log)]
    process = Process("replay", [sys.executable, "-m", "gateway", *words], folder=tmp_path, cwd=ROOT)
    process.start()
    try:
        wait_until(lambda: log.exists() and log.read_bytes(), "the first answer", seconds=20)
        process.signal(signal.SIGINT)
        assert process.wait(seconds=20) == 130
    finally:
        process.kill()
    assert "interrupted before the end: 1 webhook left" in process.log()
    assert [one.status for one in read(log)] == [202]


def test_nobody_there_is_code_3(tmp_path: Path) -> None:
    path = recording(tmp_path / "r", (0, webhook("A")))
    assert main(["replay", str(path), "--url", "http://127.0.0.1:9"]) == 3


@pytest.mark.parametrize("content", [None, b"", b"nonsense\n", b'{"alerts":[]}'])
def test_a_file_without_webhooks_stops_before_anything_is_sent(
    content: bytes | None, fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    assert replay(fake_gateway, path) == 2
    assert not fake_gateway.posts
    assert capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "inf", "nan", ""])
def test_a_speed_that_is_none_is_a_usage_error(speed: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["replay", str(tmp_path), f"--speed={speed}"])


@pytest.mark.parametrize(("name", "webhooks"), [("incident", 16), ("storm", 40)])
def test_the_recordings_of_the_demo_can_be_played(
    fake_gateway: FakeGateway, name: str, webhooks: int
) -> None:
    path = Path(gateway.__file__).parent / "dev" / "recordings" / f"{name}.jsonl"
    assert replay(fake_gateway, path, "--speed", "max", "--shift-times") == 0
    assert len(fake_gateway.posts) == webhooks
