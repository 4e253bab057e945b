"""The rules in force follow the file of the configuration, and survive one that cannot be used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from chaos.rig.waiting import eventually
from gateway.config.reload import Source
from gateway.intake.payload import decode
from gateway.intake.reading import Rejected
from gateway.rules import Rules
from gateway.telemetry.metrics import Metrics

NOW = "2026-01-31T09:00:00.000000000Z"
DENY_B = """{matchers: ['team="b"'], action: deny, reason: team_b}"""
ALERT: dict[str, Any] = {"startsAt": "2026-01-31T08:00:00Z", "status": "firing"}

Start = Callable[..., Rules]


class File:
    """The file of a configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holds(self, text: str | None) -> None:
        """Put another text into it; None: there is none any more."""
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)


@pytest.fixture
def file(tmp_path: Path) -> File:
    file = File(tmp_path / "gateway.yaml")
    file.holds("policy: {default: allow}\n")
    return file


@pytest.fixture
async def start(file: File) -> AsyncIterator[Start]:
    """Starts rules that look at the file all the time."""
    async with AsyncExitStack() as exits:

        def started(path: Path | None = file.path, pause: float = 0.02) -> Rules:
            source = Source(path, {}, ("log.level=debug",))
            rules = Rules(
                source.load(), lambda _namespace: None, Metrics(CollectorRegistry()), source, pause=pause
            )
            task = asyncio.create_task(rules.run())

            async def end() -> None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

            exits.push_async_callback(end)
            return rules

        yield started


def denied(rules: Rules, sender: str = "", **labels: str) -> str:
    """Why the rules deny an alert with these labels, empty where they take it."""
    alert = {**ALERT, "labels": {"alertname": "A", **labels}}
    webhook = decode(json.dumps({"alerts": [alert]}).encode())
    [found] = rules.intake.read(webhook, received_at=NOW, identity=sender)
    return found.reason if isinstance(found, Rejected) else ""


async def test_a_new_policy_is_in_force_soon_also_for_alerts_that_were_here_before(
    start: Start, file: File
) -> None:
    rules = start()
    assert denied(rules, team="b") == ""
    file.holds(f"policy: {{rules: [{DENY_B}]}}\n")
    await eventually(lambda: denied(rules, team="b") == "team_b", "the new policy")
    assert denied(rules, team="a") == ""
    file.holds("policy: {default: deny}\n")
    await eventually(lambda: denied(rules, team="a") == "default_deny", "the new policy")
    file.holds("log: {level: debug}\n")
    await eventually(lambda: denied(rules, team="b") == "", "no policy any more")
    assert rules.warnings() == []


async def test_the_same_bytes_are_judged_anew_for_each_sender(start: Start, file: File) -> None:
    rules = start()
    file.holds("""policy: {rules: [{matchers: ['identity="eve"'], action: deny, reason: eve}]}\n""")
    await eventually(lambda: denied(rules, "eve") == "eve", "the new policy")
    assert [denied(rules, sender) for sender in ("adam", "eve", "adam", "eve")] == ["", "eve", "", "eve"]
    assert denied(rules, "eve", identity="adam") == "eve"


async def test_the_rules_of_priorities_are_replaced_too(start: Start, file: File) -> None:
    rules = start()
    webhook = decode(json.dumps({"alerts": [{**ALERT, "labels": {"alertname": "A"}}]}).encode())

    def priority() -> str:
        [found] = rules.intake.read(webhook, received_at=NOW)
        assert not isinstance(found, Rejected)
        return found.signal().priority

    assert priority() == "P2"
    file.holds("""classify: {priority: [{matchers: ['alertname="A"'], priority: P0}]}\n""")
    await eventually(lambda: priority() == "P0", "the new rules")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("policy: {default: perhaps}\nstorm: {hold: 5}\n", ["policy.default", "storm.hold"]),
        ("""policy: {rules: [{matchers: ['a=~"("'], action: deny}]}\n""", ["policy.rules[0].matchers"]),
        ("policy: [\n", ["the file as a whole"]),
        ("", ["the file as a whole"]),
        (None, ["the file as a whole"]),
    ],
    ids=["bad keys", "a bad matcher", "no YAML", "an empty file", "no file"],
)
async def test_a_file_that_cannot_be_used_keeps_the_old_rules_and_warns_until_it_is_mended(
    start: Start, file: File, text: str | None, named: list[str]
) -> None:
    good = f"policy: {{rules: [{DENY_B}]}}\n"
    file.holds(good)
    rules = start()
    with structlog.testing.capture_logs() as lines:
        file.holds(text)
        await eventually(rules.warnings, "a warning")
    assert denied(rules, team="b") == "team_b"
    [warning] = rules.warnings()
    assert [name for name in named if name not in warning] == []
    assert str(file.path) not in warning, "everybody may read the warning"
    [told] = [line["faults"] for line in lines if "faults" in line]
    assert len(told) == len(named)
    file.holds(good)
    await eventually(lambda: not rules.warnings(), "the end of the warning")
    assert denied(rules, team="b") == "team_b"


async def test_what_only_a_restart_can_change_is_told_and_left_alone(start: Start, file: File) -> None:
    rules = start()
    with structlog.testing.capture_logs() as lines:
        file.holds("policy: {default: deny}\nredis: {url: 'redis://u:hush@h'}\nlog: {level: error}\n")
        await eventually(rules.warnings, "a warning")
    assert denied(rules) == "default_deny"
    # The log's level was given by a flag, which still wins.
    assert rules.warnings() == ["these settings wait for a restart: redis.url"]
    assert "hush" not in str(lines)
    file.holds("policy: {default: deny}\n")
    await eventually(lambda: not rules.warnings(), "the end of the warning")


async def test_a_file_is_read_once_nobody_writes_it_any_more(start: Start, file: File) -> None:
    file.holds(f"policy: {{rules: [{DENY_B}]}}\n")
    rules = start(pause=0.8)
    # A file that is being written holds less than it will, and less policy may take more.
    for number in range(100):
        file.holds(f"# {'x' * number}\n")
        await asyncio.sleep(0.02)
        assert denied(rules, team="b") == "team_b"
    file.holds(f"policy: {{rules: [{DENY_B}], default: deny}}\n")
    await eventually(lambda: denied(rules, team="a") == "default_deny", "the whole of it")


async def test_it_is_read_at_once_when_somebody_asks(start: Start, file: File) -> None:
    rules = start(pause=60)
    file.holds("policy: {default: deny}\n")
    rules.read_again()
    await eventually(lambda: denied(rules) == "default_deny", "the new policy", seconds=5)


async def test_without_a_file_nothing_changes(start: Start) -> None:
    rules = start(None)
    rules.read_again()
    await asyncio.sleep(0.1)
    assert (denied(rules), rules.warnings()) == ("", [])


def test_every_reason_is_known_to_the_metric_before_it_is_used(file: File) -> None:
    file.holds(f"policy: {{rules: [{DENY_B}]}}\n")
    metrics = Metrics(CollectorRegistry())
    source = Source(file.path, {})
    Rules(source.load(), lambda _namespace: None, metrics, source)
    name = "gateway_policy_denials_total"
    assert metrics.registry.get_sample_value(name, {"reason": "team_b"}) == 0
