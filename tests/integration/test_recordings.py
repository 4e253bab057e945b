"""Recordings end to end: what a gateway was sent is in its file, and played to another it counts exactly as often."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos.rig.api import Api
from chaos.rig.gateway_process import GatewayProcess
from chaos.rig.processes import Died, Process
from chaos.rig.redis_server import RedisServer
from chaos.rig.waiting import wait_until
from gateway.recording.lines import Entry
from gateway.recording.reading import read
from tests.integration.commands import COMMAND, ROOT, USAGE, environment, gateway, printed
from tests.integration.load import PATH, alert, flood, webhook
from tests.rig.fixtures import StartGateway


def entries(path: Path, warnings: list[str] | None = None) -> list[Entry]:
    warn = warnings.append if warnings is not None else lambda _: None
    return [record for record in read(path, warn) if isinstance(record, Entry)]


def state(replica: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(replica.get("/v1/status")[1])["recording"]
    return found


def audited(cluster: Api, replica: GatewayProcess, *logs: Path) -> dict[str, Any]:
    """The audit of these logs, once it is clean."""
    sent = [word for log in logs for word in ("--sent", str(log))]
    kubeconfig = ("--kubeconfig", str(cluster.kubeconfig))
    done = gateway("audit", *sent, *kubeconfig, "--url", replica.url, "--wait", "40s", "--output", "json")
    report: dict[str, Any] = printed(done)
    return report


def bodies(namespace: str, number: int, problems: int) -> list[bytes]:
    """Webhooks that differ from each other to the byte."""
    return [
        json.dumps(
            webhook(alert("Storm", namespace=namespace, pod=f"p-{at % problems}"), groupKey=f"{at}")
        ).encode()
        for at in range(number)
    ]


def test_a_recorded_storm_played_to_another_replica_is_counted_exactly(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    path, first, second = (tmp_path / name for name in ("webhooks.jsonl.gz", "first.jsonl", "second.jsonl"))
    recording = start_gateway(redis=redis_server, cluster=cluster, settings={"record": {"path": str(path)}})
    target = ("--url", recording.url, "--namespace", namespace, "--summary", "json")
    size = ("--count", "600", "--distinct", "40", "--batch", "3")
    printed(gateway("send", *target, *size, "--output", str(first)))
    assert recording.terminate(seconds=30) == 0
    warnings: list[str] = []
    assert len(entries(path, warnings)) == 200
    assert not warnings

    other = start_gateway(redis=redis_server, cluster=cluster)
    played = printed(
        gateway(
            "replay",
            str(path),
            "--url",
            other.url,
            "--speed",
            "max",
            "--output",
            str(second),
            "--summary",
            "json",
        )
    )
    assert (played["webhooks"], played["alerts"], played["failure"]) == (200, 600, None)
    assert {answer["recorded"] // 100 for answer in played["answers"]} == {2}
    report = audited(cluster, other, first, second)
    assert (report["clean"], report["counted"], report["fingerprints"]) == (True, 1200, 40)


async def test_under_load_everything_is_recorded_once_to_the_byte(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    path = tmp_path / "webhooks.jsonl.gz"
    settings = {"record": {"path": str(path)}}
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    sent = bodies(namespace, 3000, 50)
    books = await flood([replica.url], sent)
    assert books.accepted == 3000
    wait_until(lambda: state(replica)["waiting"] == 0, "everything to be written")
    assert state(replica)["leftOut"] == 0
    found = Counter(entry.body for entry in entries(path))
    assert sum(found.values()) == books.attempts - books.unanswered
    assert found.keys() == set(sent)


async def test_a_full_disk_hurts_no_webhook(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str
) -> None:
    replica = start_gateway(redis=redis_server, cluster=cluster, settings={"record": {"path": "/dev/full"}})
    books = await flood([replica.url], bodies(namespace, 300, 10))
    assert (books.accepted, books.refused) == (300, 0)
    assert "No space left" in state(replica)["error"]
    assert state(replica)["written"] == 0
    assert "the recording cannot be written" in replica.log()
    assert replica.terminate(seconds=30) == 0
    assert "webhooks left out of the recording" in replica.log()


def test_a_gateway_killed_while_it_records_leaves_a_readable_file_that_is_continued(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    path = tmp_path / "webhooks.jsonl.gz"
    settings = {"record": {"path": str(path)}}
    replica = start_gateway(redis=redis_server, cluster=cluster, settings=settings)
    sent = bodies(namespace, 400, 10)
    at_once = 8
    with ThreadPoolExecutor(at_once) as pool:
        assert {status for status, _ in pool.map(lambda body: replica.post(PATH, body), sent[:200])} <= {
            201,
            202,
        }
        wait_until(lambda: state(replica)["written"] == 200, "the first half to be written")
        rest = [pool.submit(replica.post, PATH, body) for body in sent[200:]]
        rest[50].result()
        replica.kill()
        answered = sum(one.result()[0] in {201, 202} for one in rest)
    warnings: list[str] = []
    found = [entry.body for entry in entries(path, warnings)]
    assert set(found[:200]) == set(sent[:200])
    assert len(found) == len(set(found)) <= 200 + answered + at_once
    assert warnings

    replica.restart()
    assert replica.post(PATH, b'{"alerts":[]}')[0] == 202
    assert replica.terminate(seconds=30) == 0
    assert [entry.body for entry in entries(path)] == [*found, b'{"alerts":[]}']


@contextmanager
def recorder(folder: Path, path: Path, forward: str) -> Iterator[str]:
    """`gateway record` before a gateway: its URL; it ends in order with the block."""
    words = ("record", "--output", str(path), "--listen", "127.0.0.1:0", "--forward", forward)
    process = Process("record", [*COMMAND, *words], folder=folder, env=environment(), cwd=ROOT)
    process.start()
    try:
        process.until(lambda: "Ctrl-C ends it" in process.log(), seconds=20)
        found = re.search(r"Recording (http://[^/]+)", process.log())
        assert found
        yield found[1]
        assert process.terminate(seconds=20) == 0, process.log()
    finally:
        process.kill()


def test_a_recorder_between_sender_and_gateway_changes_nothing_and_keeps_no_token(
    start_gateway: StartGateway, redis_server: RedisServer, cluster: Api, namespace: str, tmp_path: Path
) -> None:
    token = os.urandom(20).hex()
    (tmp_path / "tokens").write_text(f"sender:{token}\n")
    auth = {"mode": "bearer", "tokens_file": str(tmp_path / "tokens")}
    replica = start_gateway(redis=redis_server, cluster=cluster, settings={"auth": auth})
    path, log = tmp_path / "between.jsonl", tmp_path / "sent.jsonl"
    with recorder(tmp_path, path, replica.url) as url:
        size = ("--count", "300", "--distinct", "20", "--namespace", namespace, "--output", str(log))
        refused = gateway("send", "--url", url, "--namespace", namespace)
        assert "401" in refused.stderr
        printed(gateway("send", "--url", url, "--token", token, *size, "--summary", "json"))
    found = entries(path)
    assert Counter((entry.status or 0) // 100 for entry in found) == {2: 300, 4: 1}
    assert token not in path.read_text()
    options = (
        "--token",
        token,
        "--accepted-only",
        "--speed",
        "max",
        "--output",
        str(log),
        "--summary",
        "json",
    )
    played = printed(gateway("replay", str(path), "--url", replica.url, *options))
    assert played["webhooks"] == 300
    kubeconfig = ("--kubeconfig", str(cluster.kubeconfig))
    done = gateway("audit", "--sent", str(log), *kubeconfig, "--wait", "40s", "--output", "json")
    report = printed(done)
    assert (report["clean"], report["counted"]) == (True, 600)


def test_a_file_that_cannot_be_made_stops_the_start_with_its_key(cluster: Api, tmp_path: Path) -> None:
    replica = GatewayProcess(
        tmp_path,
        kubeconfig=cluster.kubeconfig,
        settings={"record": {"path": str(tmp_path / "no" / "r.gz")}},
    )
    with pytest.raises(Died):
        replica.start()
    assert replica.returncode == USAGE
    assert "record.path: " in replica.log()
    assert "No such file or directory" in replica.log()
