"""`gateway record`: what it keeps, what it answers, and what a kill leaves of it; as a process, as people start it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.processes import Process
from chaos.rig.waiting import wait_until
from gateway.cli import main
from gateway.cli.receiving import size
from gateway.cli.record import _address
from gateway.recording.lines import Entry
from gateway.recording.reading import read
from tests.unit.cli.fakes import FakeGateway

PATH = "/v1/webhooks/prometheus"
ROOT = Path(__file__).parents[3]


class Recording:
    """A running `gateway record`."""

    def __init__(self, process: Process, path: Path) -> None:
        self.process = process
        self.path = path
        found = re.search(r"Recording (http://\S+)" + PATH, process.log())
        assert found, process.log()
        self.url = found[1]

    def post(self, body: bytes, path: str = PATH, **headers: str) -> tuple[int, bytes, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json", **named})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    def end(self, number: int = signal.SIGINT) -> dict[str, Any]:
        """End it in order; what it printed as its summary."""
        self.process.signal(number)
        assert self.process.wait(seconds=20) == 0, self.process.log()
        return summary(self.process)

    def entries(self) -> list[Entry]:
        return [one for one in read(self.path, lambda _: None) if isinstance(one, Entry)]


def summary(process: Process) -> dict[str, Any]:
    log = process.log()
    result: dict[str, Any] = json.JSONDecoder().raw_decode(log, log.index("{\n"))[0]
    return result


Start = Callable[..., Recording]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `gateway record` on a free port."""
    started: list[Process] = []

    def start(*options: str, name: str = "webhooks.jsonl.gz", blocks: str = "unlimited") -> Recording:
        path = tmp_path / name
        limited = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"]
        words = [sys.executable, "-m", "gateway", "record", "--output", str(path), "--listen", "127.0.0.1:0"]
        process = Process(
            f"record{len(started)}",
            [*limited, *words, "--summary", "json", *options],
            folder=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
        )
        started.append(process)
        process.start()
        # Or until it has ended: one of a short duration may be over before that is seen.
        wait_until(lambda: "Ctrl-C ends it" in process.log() or not process.alive, "it to record", seconds=20)
        return Recording(process, path)

    yield start
    for process in started:
        process.kill()


def test_webhooks_of_both_routes_are_kept_and_answered_with_202(start: Start) -> None:
    recording = start()
    bodies = [b'{"alerts":[]}', b"\xff\x00 no JSON", b" " * 200_000, b""]
    paths = (PATH, PATH + "/", "/api/v1/signals/prometheus", "/api/v1/signals/prometheus/")
    for body, path in zip(bodies, paths, strict=True):
        assert recording.post(body, path, User_Agent="Alertmanager/0.28.0")[0] == 202
    status, _, headers = recording.post(b"{}", "/elsewhere")
    assert (status, headers["Server"]) == (404, None)
    shown = recording.end()
    assert (shown["webhooks"], shown["answers"]) == (4, {"202": 4})
    assert shown["bodyBytes"] == sum(map(len, bodies))
    assert shown["fileBytes"] == recording.path.stat().st_size
    entries = recording.entries()
    assert [entry.body for entry in entries] == bodies
    assert {(entry.status, entry.user_agent) for entry in entries} == {(202, "Alertmanager/0.28.0")}
    assert [entry.offset for entry in entries] == sorted(entry.offset for entry in entries)


def test_it_stands_between_a_sender_and_a_gateway(start: Start, fake_gateway: FakeGateway) -> None:
    recording = start("--forward", fake_gateway.url, name="r.jsonl")
    body = b'{"alerts":[{"status":"firing","labels":{"a":"b"}}]}'
    fake_gateway.script = [
        (201, {"alerts": ["first"]}),
        (422, {"detail": "refused"}),
        (302, {}),
        (0, None),
    ]
    headers = {
        "Authorization": "Bearer very-secret",
        "User_Agent": "Alertmanager/0.28.0",
        "X_Request_Id": "7",
    }
    status, answer, _ = recording.post(body, **headers)
    assert (status, json.loads(answer)) == (201, {"alerts": ["first"]})
    status, answer, answered = recording.post(body, "/api/v1/signals/prometheus/", **headers)
    assert (status, answered["Content-Type"]) == (422, "application/json")
    assert [recording.post(body, **headers)[0] for _ in range(2)] == [302, 502]
    shown = recording.end(signal.SIGTERM)
    assert shown["answers"] == {"201": 1, "302": 1, "422": 1, "502": 1}
    assert [post.path for post in fake_gateway.posts[:2]] == [PATH, "/api/v1/signals/prometheus/"]
    for post in fake_gateway.posts:
        assert post.body == body
        assert post.headers["Authorization"] == "Bearer very-secret"
        assert (post.headers["User-Agent"], post.headers["X-Request-Id"]) == ("Alertmanager/0.28.0", "7")
    assert [entry.status for entry in recording.entries()] == [201, 422, 302, 502]
    assert b"very-secret" not in recording.path.read_bytes()


def test_a_url_with_a_path_is_forwarded_to_as_it_is(start: Start, fake_gateway: FakeGateway) -> None:
    recording = start("--forward", fake_gateway.url + "/hook")
    assert recording.post(b'{"alerts":[]}')[0] == 202
    recording.end()
    assert [post.path for post in fake_gateway.posts] == ["/hook"]


def test_nobody_behind_it_is_a_502_and_recorded(start: Start) -> None:
    recording = start("--forward", "http://127.0.0.1:9")
    assert recording.post(b"{}")[0] == 502
    recording.end()
    assert [entry.status for entry in recording.entries()] == [502]


@pytest.mark.parametrize("name", ["r.jsonl.gz", "r.jsonl"])
def test_killed_under_load_it_leaves_all_but_the_last_moment_and_is_continued(
    name: str, start: Start
) -> None:
    recording = start(name=name)
    answered = 0

    def send(number: int) -> int:
        return recording.post(b'{"alerts":[],"number":%d}' % number)[0]

    with ThreadPoolExecutor(4) as pool:
        for status in pool.map(send, range(200)):
            answered += status == 202
        assert answered == 200
        wait_until(lambda: len(recording.entries()) == 200, "the file to hold what was answered")
        late = [pool.submit(send, number) for number in range(200, 260)]
        late[20].result()
        recording.process.kill()
        for one in late:
            one.exception()
    found = recording.entries()
    assert len(found) >= 200
    assert {entry.body for entry in found} >= {b'{"alerts":[],"number":%d}' % n for n in range(200)}

    again = start(name=name)
    assert again.post(b"after")[0] == 202
    again.end()
    assert [entry.body for entry in again.entries()] == [*(entry.body for entry in found), b"after"]


def test_at_its_size_it_ends_by_itself(start: Start) -> None:
    recording = start("--max-size", "5KiB")
    for _ in range(20):
        before = recording.path.stat().st_size
        assert recording.post(os.urandom(1000))[0] == 202
        wait_until(lambda size=before: recording.path.stat().st_size > size, "a flush")
        if recording.path.stat().st_size >= 5 * 1024:
            break
    assert recording.process.wait(seconds=20) == 0
    shown = summary(recording.process)
    assert shown["full"]
    assert shown["webhooks"] == len(recording.entries()) >= 4
    assert main(["record", "--output", str(recording.path), "--max-size", "5KiB"]) == 2


def test_at_its_size_it_goes_on_forwarding(start: Start, fake_gateway: FakeGateway) -> None:
    recording = start("--max-size", "1KiB", "--forward", fake_gateway.url)
    body = b'{"alerts":[],"x":"' + os.urandom(1000).hex().encode() + b'"}'
    assert recording.post(body)[0] == 202
    wait_until(lambda: "forwarding goes on" in recording.process.log(), "the warning")
    assert [recording.post(body)[0] for _ in range(3)] == [202] * 3
    shown = recording.end()
    assert (shown["webhooks"], shown["answers"]) == (1, {"202": 4})
    assert len(fake_gateway.posts) == 4


def test_a_file_that_cannot_be_written_further_ends_it_with_what_is_there(start: Start) -> None:
    recording = start(name="r.jsonl", blocks="40")
    assert recording.post(b"small")[0] == 202
    wait_until(lambda: len(recording.entries()) == 1, "the first to be written")
    assert recording.post(os.urandom(60_000))[0] == 202
    assert recording.process.wait(seconds=20) == 3
    assert "could not be written to its end: File too large" in recording.process.log()
    assert summary(recording.process)["bodyBytes"] == 5
    assert [entry.body for entry in recording.entries()] == [b"small"]


def test_before_a_gateway_it_goes_on_forwarding_when_its_file_fails(
    start: Start, fake_gateway: FakeGateway
) -> None:
    recording = start("--forward", fake_gateway.url, name="r.jsonl", blocks="40")
    body = b'{"alerts":[],"x":"' + os.urandom(40_000).hex().encode() + b'"}'
    assert recording.post(body)[0] == 202
    wait_until(lambda: "forwarding goes on" in recording.process.log(), "the warning")
    assert recording.post(body)[0] == 202
    recording.process.signal(signal.SIGINT)
    assert recording.process.wait(seconds=20) == 3
    assert len(fake_gateway.posts) == 2


def test_the_duration_ends_it(start: Start) -> None:
    recording = start("--duration", "300ms")
    assert recording.process.wait(seconds=20) == 0
    assert summary(recording.process)["webhooks"] == 0


def test_one_file_has_one_writer_and_a_taken_port_is_told(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = start()
    assert main(["record", "--output", str(recording.path), "--listen", "127.0.0.1:0"]) == 2
    assert "another process writes" in capsys.readouterr().err
    other = str(recording.path.with_name("other.gz"))
    address = recording.url.removeprefix("http://")
    assert main(["record", "--output", other, "--listen", address]) == 2
    assert "cannot listen" in capsys.readouterr().err
    assert main(["record", "--output", str(recording.path / "no")]) == 2


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8", ("::1", 8)), (":0", ("0.0.0.0", 0)), ("h:1", ("h", 1))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert _address(text) == address


@pytest.mark.parametrize("text", ["", "8081", "host", "host:", "host:http", "host:70000"])
def test_what_is_no_address_is_a_usage_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["record", "--output", str(tmp_path / "r"), f"--listen={text}"])


def test_sizes_are_told_as_people_read_them() -> None:
    assert [size(n) for n in (0, 1023, 1536, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]
