"""`gateway audit`: it reads the whole cluster, waits as long as it should, and says what it found."""

from __future__ import annotations

import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import audit, main
from gateway.cli.sentlog import Attempt, Writer
from gateway.cli.status import is_idle
from tests.unit.cli.fakes import FakeKubernetes

FINGERPRINTS = [digit * 64 for digit in "abcde"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "POLL", 0.02)


@pytest.fixture
def sent(tmp_path: Path) -> str:
    """Five problems, accepted once each."""
    path = tmp_path / "sent.jsonl"
    with Writer(path) as writer:
        writer.write(
            [
                Attempt(
                    time="t1",
                    answered="t2",
                    delivery=f"d{fingerprint[0]}",
                    labels={"alertname": "Down", "namespace": "prod", "pod": fingerprint[0]},
                    status=201,
                    outcome="created",
                    fingerprint=fingerprint,
                )
                for fingerprint in FINGERPRINTS
            ]
        )
    return str(path)


def stored(fingerprint: str, count: int = 1, *, marked: int | None = None) -> dict[str, Any]:
    marks = json.dumps({fingerprint: {"p.1": f"0-{count if marked is None else marked}"}})
    return {
        "metadata": {
            "namespace": "prod",
            "name": f"rr-down-{fingerprint[:10]}-1",
            "annotations": {"remediation.kubernaut.io/applied": marks},
        },
        "spec": {"signalFingerprint": fingerprint, "deduplication": {"occurrenceCount": count}},
    }


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_everything_counted_is_code_0(
    fake_kubernetes: FakeKubernetes, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_kubernetes.items = [stored(fingerprint) for fingerprint in FINGERPRINTS]
    assert main(["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig]) == 0
    shown = capsys.readouterr().out
    assert shown == "Everything adds up: 5 accepted, 5 counted, 5 fingerprints.\n"
    assert len(fake_kubernetes.paths) == 3  # pages


def test_losses_surpluses_and_faults_are_code_1_and_listed(
    fake_kubernetes: FakeKubernetes, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, surplus, wrong, *rest = FINGERPRINTS
    fake_kubernetes.items = [stored(surplus, 3), stored(wrong, marked=0), *map(stored, rest)]
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig]
    assert main([*words, "-o", "json"]) == 1
    found = result(capsys)
    assert (found["clean"], found["lost"], found["surplus"], found["openTwice"]) == (False, 1, 2, 0)
    assert [(row["fingerprint"], row["difference"]) for row in found["findings"]] == [
        (lost, -1),
        (surplus, 2),
    ]
    assert [fault["request"] for fault in found["faults"]] == ["prod/rr-down-cccccccccc-1"]
    assert main(words) == 1
    shown = capsys.readouterr().out
    for word in ("loss", "surplus", lost[:10], "rr-down-cccccccccc-1", "1 lost, 2 too many"):
        assert word in shown


def test_what_a_window_may_still_hold_is_said_with_what_to_do(
    fake_kubernetes: FakeKubernetes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "held.jsonl"
    held = [
        Attempt(
            time="t1",
            answered="t2",
            delivery=f"d{at}",
            labels={"alertname": "Down", "pod": str(at)},
            status=202,
            outcome="buffered",
            fingerprint=fingerprint,
        )
        for at, fingerprint in enumerate(FINGERPRINTS)
    ]
    with Writer(log) as writer:
        writer.write(held)
    fake_kubernetes.items = [stored(FINGERPRINTS[0])]
    words = ["audit", "--sent", str(log), "--kubeconfig", fake_kubernetes.kubeconfig]
    assert main([*words, "-o", "json"]) == 1
    found = result(capsys)
    assert (found["lost"], found["inWindows"]) == (4, 4)
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "4 alerts of the lost may still be held in windows" in shown
    assert "--wait" in shown


def test_what_deleted_requests_counted_is_in_the_file_of_whoever_deleted_them(
    fake_kubernetes: FakeKubernetes, sent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *rest = map(stored, FINGERPRINTS)
    for number, request in enumerate((first, second)):
        request["metadata"]["uid"] = f"uid-{number}"
    stale = {**second, "spec": {**second["spec"], "deduplication": {"occurrenceCount": 7}}}
    deleted = tmp_path / "deleted.jsonl"
    deleted.write_text("".join(json.dumps(line) + "\n" for line in (first, first, stale)))
    fake_kubernetes.items = [second, *rest]
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig, "--exclusive"]

    assert main(words) == 1
    assert "1 lost" in capsys.readouterr().out
    assert main([*words, "--deleted", str(deleted)]) == 0


def test_a_line_of_deleted_requests_that_is_none_is_code_2(
    fake_kubernetes: FakeKubernetes, sent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted = tmp_path / "deleted.jsonl"
    deleted.write_text('{"kind": "Status"}\n')
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig]

    assert main([*words, "--deleted", str(deleted)]) == 2
    assert f"{deleted}:1: no request" in capsys.readouterr().err


def test_a_list_that_expires_between_its_pages_is_begun_again(
    fake_kubernetes: FakeKubernetes, sent: str
) -> None:
    fake_kubernetes.items = [stored(fingerprint) for fingerprint in FINGERPRINTS]
    fake_kubernetes.expire_once = True
    assert main(["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig]) == 0


def test_only_the_configured_namespaces_are_listed(fake_kubernetes: FakeKubernetes, sent: str) -> None:
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig]
    main([*words, "--set", "kubernetes.namespaces=[prod, other]"])
    root = "/apis/remediation.kubernaut.io/v1alpha1/namespaces"
    assert fake_kubernetes.paths == [f"{root}/{name}/remediationrequests" for name in ("prod", "other")]


def test_it_waits_until_the_counts_have_arrived_and_stay(fake_kubernetes: FakeKubernetes, sent: str) -> None:
    fake_kubernetes.changes = [
        partial(fake_kubernetes.items.append, stored(fingerprint)) for fingerprint in FINGERPRINTS
    ]
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig, "--wait", "30s"]
    assert main(words) == 0
    assert not fake_kubernetes.changes


def test_a_surplus_that_comes_late_is_seen(fake_kubernetes: FakeKubernetes, sent: str) -> None:
    fake_kubernetes.items = [stored(fingerprint) for fingerprint in FINGERPRINTS]
    fake_kubernetes.changes = [
        lambda: None,
        lambda: fake_kubernetes.items.__setitem__(0, stored(FINGERPRINTS[0], 2)),
    ]
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig, "--wait", "200ms"]
    assert main(words) == 1


def test_it_waits_no_longer_than_it_was_told(fake_kubernetes: FakeKubernetes, sent: str) -> None:
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig, "--wait", "100ms"]
    assert main(words) == 1


def test_with_a_gateway_it_waits_until_that_is_idle(fake_kubernetes: FakeKubernetes, sent: str) -> None:
    fake_kubernetes.items = [stored(fingerprint) for fingerprint in FINGERPRINTS]
    fake_kubernetes.status = {"unconfirmed": 2, "queue": {"depth": 0}}

    def settle() -> None:
        fake_kubernetes.status = {"unconfirmed": 0, "queue": {"depth": 0}}

    fake_kubernetes.changes = [lambda: None] * 3 + [settle]
    words = ["audit", "--sent", sent, "--kubeconfig", fake_kubernetes.kubeconfig, "--wait", "30s"]
    assert main([*words, "--url", fake_kubernetes.url]) == 0
    assert not fake_kubernetes.changes


@pytest.mark.parametrize(
    ("status", "idle"),
    [
        ({}, True),
        ({"unconfirmed": 0, "queue": {"depth": 0}}, True),
        ({"unconfirmed": 1}, False),
        ({"queue": {"depth": 3}}, False),
        ({"queue": "?"}, True),
    ],
)
def test_idle_is_nothing_unconfirmed_and_nothing_queued(status: dict[str, Any], idle: bool) -> None:
    assert is_idle(status) is idle


def test_an_api_server_that_is_not_there_is_code_3(
    fake_kubernetes: FakeKubernetes, sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        config = Path(fake_kubernetes.kubeconfig)
        here = f"http://127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(config.read_text().replace(fake_kubernetes.url, here))
        assert main(["audit", "--sent", sent, "--kubeconfig", str(config)]) == 3
    assert "--kubeconfig" in capsys.readouterr().err


def test_a_kubeconfig_that_is_not_there_is_code_2(
    sent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--sent", sent, "--kubeconfig", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_logs_that_hold_nothing_make_a_warning(
    fake_kubernetes: FakeKubernetes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "sent.jsonl"
    empty.touch()
    assert main(["audit", "--sent", str(empty), "--kubeconfig", fake_kubernetes.kubeconfig]) == 0
    assert "nothing to compare" in capsys.readouterr().err
