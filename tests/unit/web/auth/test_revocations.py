from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.telemetry.metrics import Metrics
from gateway.web.auth.revocations import (
    Revocations,
    Standing,
    UnreadableListError,
    add_to_file,
    entry,
    read_entries,
)
from tests.unit.web.auth.tokens import MemoryRegister, exists, read, write

LATER = time.time() + 3600


def text(expires: float = LATER) -> str:
    return entry(expires, time.time())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "revoked"


@pytest.fixture
def register() -> MemoryRegister:
    return MemoryRegister()


async def test_a_revocation_survives_redis_and_a_restart(
    path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    register.entries["a"] = text()
    first = Revocations(path, register, metrics)
    assert first.standing(["a"]) is Standing.UNKNOWN
    await first.merge()
    register.entries.clear()  # a flush: what is known comes back
    await first.merge()
    assert set(register.entries) == {"a"}
    register.up = False
    await first.merge()
    assert first.standing(["x", "a"]) is Standing.REVOKED
    again = Revocations(path, register, metrics)
    await again.merge()
    assert again.standing(["a"]) is Standing.REVOKED
    assert again.standing(["b"]) is Standing.CLEAR


async def test_without_redis_and_file_nothing_is_known(
    path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    register.up = False
    fresh = Revocations(path, register, metrics)
    await fresh.merge()
    assert fresh.standing(["a"]) is Standing.UNKNOWN
    assert not exists(path)
    register.up = True
    await fresh.merge()
    assert fresh.standing(["a"]) is Standing.CLEAR
    register.up = False
    again = Revocations(path, register, metrics)  # an empty list that was read is a list
    await again.merge()
    assert again.standing(["a"]) is Standing.CLEAR


@pytest.mark.parametrize("broken", ["", "soon", "1 x", "-5 3", "\ufffd\ufffd"])
async def test_an_entry_that_cannot_be_read_stands_for_its_token(
    path: Path, register: MemoryRegister, metrics: Metrics, broken: str
) -> None:
    register.entries["a"] = broken
    write(path, f"b {broken}\n".encode())
    kept = Revocations(path, register, metrics)
    await kept.merge()
    assert kept.standing(["a"]) is Standing.REVOKED
    assert kept.standing(["b"]) is Standing.REVOKED
    assert kept.standing(["c"]) is Standing.CLEAR
    assert set(read_entries(read(path).decode())) == {"a", "b"}


@pytest.mark.parametrize("line", [" leading", "\x00\x01", "ä 1 2", "a/b 1 2"])
async def test_a_line_that_names_no_token_puts_all_in_doubt_and_is_not_overwritten(
    path: Path, register: MemoryRegister, metrics: Metrics, line: str
) -> None:
    write(path, f"a {text()}\n{line}\n".encode())
    kept = Revocations(path, register, metrics)
    await kept.merge()
    assert kept.standing(["c"]) is Standing.UNKNOWN
    assert "names no token" in " ".join(kept.warnings())
    assert line in read(path).decode()
    write(path, f"a {text()}\n".encode())
    await kept.merge()
    assert kept.standing(["c"]) is Standing.CLEAR
    assert kept.standing(["a"]) is Standing.REVOKED


async def test_what_somebody_adds_to_the_file_counts_and_reaches_redis(
    path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    kept = Revocations(path, register, metrics)
    await kept.merge()
    add_to_file(path, {"a": text()})
    await kept.merge()
    assert kept.standing(["a"]) is Standing.REVOKED
    assert "a" in register.entries


async def test_what_has_expired_is_forgotten_everywhere(
    path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    register.entries |= {"old": text(time.time() - 7200), "new": text()}
    register.made |= {"old": f"{text(time.time() - 7200)} me"}
    kept = Revocations(path, register, metrics)
    await kept.merge()
    assert set(register.entries) == {"new"}
    assert register.made == {}
    assert set(read_entries(read(path).decode())) == {"new"}


async def test_tokens_issued_while_it_runs_are_counted_once(
    path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    register.made["before"] = f"{int(LATER)} {int(time.time()) - 60} me"
    kept = Revocations(path, register, metrics)
    await kept.merge()
    assert metrics.registry.get_sample_value("gateway_token_generations_total") == 0
    register.made |= {
        "one": f"{int(LATER)} {int(time.time())} me",
        "two": f"{int(LATER)} {int(time.time())} me",
    }
    for _ in range(3):
        await kept.merge()
    assert metrics.registry.get_sample_value("gateway_token_generations_total") == 2


async def test_a_file_that_cannot_be_written_is_warned_of_and_memory_holds(
    tmp_path: Path, register: MemoryRegister, metrics: Metrics
) -> None:
    register.entries["a"] = text()
    kept = Revocations(tmp_path / "none" / "revoked", register, metrics)
    await kept.merge()
    assert kept.standing(["a"]) is Standing.REVOKED
    assert "cannot be kept" in " ".join(kept.warnings())


def test_two_who_write_at_once_lose_nothing(path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(20):
            add_to_file(path, {f"{writer}-{number}": text()})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_entries(read(path).decode())) == 80


def test_a_line_without_a_name_is_refused() -> None:
    with pytest.raises(UnreadableListError, match="line 2"):
        read_entries("a 1 2\n/ 1 2\n")
