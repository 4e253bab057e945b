"""What is told about a server's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.errors import StoreRefused
from gateway.state.inspection import Ask, Inspector


def answers(told: Mapping[str, Any]) -> Ask:
    """Answers by the last word of the question; what is not there is forbidden."""

    async def ask(*arguments: str) -> Any:
        if arguments[-1] not in told:
            raise StoreRefused("forbidden", kind="auth")
        return told[arguments[-1]]

    return ask


def server(policy: str = "noeviction", aof: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "memory": f"# Memory\r\nmaxmemory_policy:{policy}\r\n".encode(),
        "persistence": f"# Persistence\r\naof_enabled:{aof}\r\n".encode(),
        **more,
    }


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (server(), []),
        (server(save=[b"save", b""]), []),
        (server(aof=0, save=[b"save", b"3600 1"]), []),
        (server(aof=0), []),
        (server(aof=0, save=[b"save", b""]), ["appendonly"]),
        (server("allkeys-lru"), ["allkeys-lru"]),
        (server("volatile-ttl", aof=0, save=[b"save", b""]), ["volatile-ttl", "appendonly"]),
    ],
)
async def test_what_may_lose_data_is_told_and_what_cannot_be_asked_is_not(
    told: dict[str, Any], words: list[str]
) -> None:
    inspector = Inspector()

    await inspector.inspect(answers(told))

    assert len(inspector.warnings) == len(words)
    assert all(word in line for word, line in zip(words, inspector.warnings, strict=True))
    assert inspector.complete


async def test_a_server_that_tells_nothing_changes_nothing() -> None:
    inspector = Inspector()
    await inspector.inspect(answers(server("allkeys-lru")))

    await inspector.inspect(answers({}))

    assert len(inspector.warnings) == 1
    assert not inspector.complete
