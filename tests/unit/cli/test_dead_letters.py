"""`gateway dead-letters`: what is kept is shown with its reason, and is queued again on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from chaos.rig.redis_server import RedisServer
from gateway.cli import main
from gateway.model import Severity, Signal
from gateway.state.client import Client
from gateway.state.keys import Keys
from gateway.state.records import Admission, Kind
from gateway.state.store import RedisStore

FIRST, SECOND = "1a" * 32, "2b" * 32


def signal(fingerprint: str) -> Signal:
    return Signal(
        fingerprint=fingerprint,
        alertname="PodOOMKilled",
        namespace="prod-api",
        group="prod-api/PodOOMKilled",
        labels={},
        annotations={},
        severity=Severity.CRITICAL,
        environment="production",
        priority="P0",
        starts_at="2026-01-31T09:00:00.000000000Z",
        received_at="2026-01-31T09:00:00.000000000Z",
    )


async def bury(store: RedisStore, fingerprint: str, payload: str) -> None:
    admission = Admission(
        fingerprint=fingerprint,
        kind=Kind.FIRING,
        slot="p.1",
        value=3,
        starts_at="2026-01-31T09:00:00.000000000Z",
        payload=payload,
    )
    await store.admit(0, [admission], notes_taken=True)
    await store.bury(0, fingerprint, "spec.severity: Unsupported value")


@pytest.fixture
def words(redis_server: RedisServer) -> list[str]:
    """Options that lead to a Redis with two dead letters, one of which has an unreadable payload."""
    _run(_two_letters(redis_server.url))
    return ["--set", f"redis.url={redis_server.url}"]


async def _two_letters(url: str) -> None:
    client = Client(url, timeout=10.0, pool_size=1)
    store = RedisStore(client, Keys("gw:", 1), write_interval=1.0)
    await bury(store, FIRST, msgspec.json.encode(signal(FIRST)).decode())
    await bury(store, SECOND, "nonsense")
    await client.close()


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["dead-letters", "list", *words, "-o", "json"]) == 0
    letters: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return letters


def test_each_letter_is_listed_with_its_alert_and_reason(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(listed(words, capsys), key=lambda letter: str(letter["fingerprint"]))
    assert first["fingerprint"] == FIRST
    assert (first["alert"], first["namespace"], first["occurrences"]) == ("PodOOMKilled", "prod-api", 3)
    assert "Unsupported value" in first["reason"]
    assert second["alert"] == ""
    assert main(["dead-letters", *words]) == 0
    assert "PodOOMKilled" in capsys.readouterr().out


def test_one_is_retried_by_the_start_of_its_fingerprint(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dead-letters", "retry", *words, FIRST[:8].upper()]) == 0
    assert capsys.readouterr().out == "1 queued again.\n"
    assert [letter["fingerprint"] for letter in listed(words, capsys)] == [SECOND]


def test_all_are_retried_where_none_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "retry", *words, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told["retried"]) == [FIRST, SECOND]
    assert listed(words, capsys) == []
    assert main(["dead-letters", *words]) == 0
    assert capsys.readouterr().out == "No dead letters.\n"


def test_one_that_is_not_there_is_a_finding(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "retry", "ffff", *words]) == 1
    assert "no dead letter ffff" in capsys.readouterr().err
    assert len(listed(words, capsys)) == 2
